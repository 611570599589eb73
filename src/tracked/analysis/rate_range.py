"""Suggest a learning rate from a range test: a pure function of the losses at growing rates.

After Smith (2015), "Cyclical Learning Rates for Training Neural Networks": each step has a higher learning rate than
the one before. At first the loss hardly moves, then it falls, then it diverges. What is suggested is a tenth of the
rate at which the smoothed loss is least: the rate is growing all the while, so the least is reached beyond the best
rate. docs/log.md has the rules that were measured beside it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

NO_RATE = "no_rate"  # stop reason: a training with learning_rate=auto for which no rate can be suggested
DIVERGED, NOT_FINITE = "diverged", "not finite"  # why a range test ended before its last step
WINDOWS = 25  # a mean's window is this part of all steps: less than a third of a decade in a range of seven
LARGEST = 4.0  # times the least smoothed loss, at which the loss counts as diverged
DIVISOR = 10.0
ERRORS = 8.0  # standard errors of a mean, by which the loss must fall: noise fell by 7.7 at most in 7,400 simulations
ROUNDING = 1e-6  # of the least mean: losses are float32
DIGITS = 2  # of a suggestion: a rate is not known better


@dataclass
class RateRange:
    """The losses of a range test, as far as it went.

    Attributes:
        rates: all learning rates that the test has, growing.
        losses: of the batches so far, each before the step with its rate; only finite ones.
        smoothed: the exponential mean of the losses up to each, corrected for its start.
        end: why the test ended before the last rate: ``DIVERGED``, ``NOT_FINITE`` or empty.
    """

    rates: Sequence[float]
    losses: list[float] = field(default_factory=list)
    smoothed: list[float] = field(default_factory=list)
    end: str = ""
    _mean: float = 0.0
    _least: float = math.inf

    @property
    def window(self) -> int:
        """How many losses a mean is over, about."""
        return max(2, len(self.rates) // WINDOWS)

    def add(self, loss: float) -> bool:
        """Add the loss of the next batch; returns whether the test goes on."""
        keep = 1 - 1 / self.window
        mean = keep * self._mean + (1 - keep) * loss
        smoothed = mean / (1 - keep ** (len(self.losses) + 1))
        if not math.isfinite(smoothed):
            self.end = NOT_FINITE
            return False
        self._mean = mean
        self.losses.append(loss)
        self.smoothed.append(smoothed)
        self._least = min(self._least, smoothed)
        if len(self.losses) > self.window and smoothed - self._least > (LARGEST - 1) * abs(self._least):
            self.end = DIVERGED
        return not self.end and len(self.losses) < len(self.rates)


@dataclass(frozen=True)
class Suggestion:
    """A learning rate and its reason.

    Attributes:
        rate: None if no rate can be suggested.
        reason: a sentence without its full stop; without a rate it ends with what may help.
        least_at: the rate at which the smoothed loss is least; None likewise.
    """

    rate: float | None
    reason: str
    least_at: float | None = None


def spread_rates(lowest: float, highest: float, steps: int) -> list[float]:
    """Spread learning rates geometrically from ``lowest`` to ``highest``, both included."""
    low, high = math.log(lowest), math.log(highest)
    inner = [math.exp(low + (high - low) * step / (steps - 1)) for step in range(1, steps - 1)]
    return [lowest, *inner, highest]


def suggest(measured: RateRange) -> Suggestion:
    """Suggest a learning rate, or explain why there is none.

    The loss must have fallen by more than chance before it was least; the first window of losses, whose mean is over
    few of them, does not count.
    """
    window, taken = measured.window, len(measured.losses)
    if taken < 4 * window:
        return Suggestion(None, _explain_few(measured))
    means = measured.smoothed[window:]
    least = min(means)
    position = window + means.index(least)
    fall = max(measured.smoothed[window : position + 1]) - least
    chance = max(ERRORS * _standard_error(measured, position + 1), ROUNDING * abs(least))
    if not fall > chance:
        spread = f"at learning rates from {measured.rates[0]:.3g} to {measured.rates[taken - 1]:.3g}"
        compared = f"by more than its batches differ by chance ({fall:.3g} <= {chance:.3g})"
        advice = "other rates, larger batches or more steps may help"
        return Suggestion(None, f"the loss never falls {compared} {spread}; {advice}")
    at = measured.rates[position]
    rate = float(f"{at / DIVISOR:.{DIGITS - 1}e}")
    reason = f"{rate:g} is a tenth of the learning rate at which the smoothed loss is least ({least:.4g} at {at:.2g})"
    if position >= len(measured.rates) - window:
        reason += ", which is where the range ends: with a higher highest_rate it may be higher"
    return Suggestion(rate, reason, at)


def _explain_few(measured: RateRange) -> str:
    """Explain that a test took too few steps; without an early end, its trainee ended it."""
    causes = {DIVERGED: "the loss diverged", NOT_FINITE: "the loss was no longer a finite number"}
    ended = f"{causes.get(measured.end, 'the range test ended')} after {len(measured.losses)} of {len(measured.rates)}"
    return f"{ended} steps, too few to judge by; a lower lowest_rate may help"


def _standard_error(measured: RateRange, count: int) -> float:
    """The standard error of a smoothed loss, from how the first losses differ from the mean of those before them."""
    keep = 1 - 1 / measured.window
    pairs = zip(measured.losses[:count], measured.smoothed[:count], strict=True)
    differences = [(loss - mean) / keep for loss, mean in pairs]
    variance = sum(one * one for one in differences) / count  # a power would raise an error for a very large loss
    return math.sqrt(variance * (1 - keep) / (1 + keep))
