"""The promotion gate: a test that a version is not worse than the champion by more than a margin."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student

from tracked.analysis.intervals import average_by_key
from tracked.console.lines import format_count
from tracked.experiment import Terms

MIN_ROWS = 20  # distinct rows below which nothing is decided
MAX_STAKE = 0.95  # largest share of the capital that is bet on one row
PRIOR_VARIANCE = 0.1  # variance assumed for the first bets: that of two trainings' log losses, in squared nats
PRIOR_MAX_LOSS = math.log(1000)  # the max_loss, in nats, behind PRIOR_VARIANCE, which scales with its square
MIN_GROWTH = 1e-9  # growth of the capital a row below which no number of rows is given
BISECTIONS = 25  # to a ten-millionth of max_loss


@dataclass(frozen=True)
class Decision:
    """The outcome of the gate: ``promoted`` if ``upper``, the bound at ``confidence``, is within ``margin``.

    ``difference`` is the version's mean loss minus the champion's, on ``rows`` distinct rows; ``copies`` counts the
    rows left out because they repeat a key. ``enough`` is False where the rows are too few for any outcome, however
    small their variance. ``needed`` estimates how many rows suffice at this difference and variance; None where the
    difference itself exceeds the margin.
    """

    promoted: bool
    rows: int
    difference: float
    upper: float
    margin: float
    confidence: float
    enough: bool
    needed: int | None
    copies: int

    def describe(self, terms: Terms) -> str:
        """Describe the figures behind the decision, their rows and their limits.

        Args:
            terms: the terms whose ``max_loss`` the decision used.
        """
        position, digits = "within" if self.upper <= self.margin else "beyond", terms.digits
        rows = f"{self.rows:,} {terms.rows}"
        if self.copies:
            rows += f" ({format_count(self.copies, 'repeated row')} left out)"
        rows_needed = ""
        if not self.enough:
            rows_needed = f"; undecided: {self.needed or MIN_ROWS:,} distinct {terms.rows} are needed"
        elif not self.promoted and self.needed is not None:
            rows_needed = f"; about {self.needed:,} distinct {terms.rows} suffice at this variance"
        rarest = max(1, round(self.rows / -math.log(1 - self.confidence)))
        return (
            f"its {terms.loss} differs by {self.difference:+.{digits}f} on {rows}, at most {self.upper:+.{digits}f} at "
            f"{100 * self.confidence:g}% confidence: {position} the margin of {self.margin:g} (losses are capped at "
            f"{terms.max_loss:,.{max(0, digits - 3)}f} {terms.unit} a {terms.row}; failures rarer than 1 in {rarest:,} "
            f"may not show){rows_needed}"
        )


def decide(
    version: ArrayLike,
    champion: ArrayLike,
    margin: float,
    confidence: float,
    max_loss: float,
    keys: ArrayLike | None = None,
) -> Decision:
    """Test for non-inferiority: promote only if an upper bound of the mean difference in loss is within the margin.

    Of versions that are worse by the margin, at most 1 - confidence pass, whatever the losses and however few the rows:
    the bound is a theorem, not a simulation (see ``_bound``), and bench/gate.py checks it. The theorem holds for losses
    capped at ``max_loss``: without a cap no number of rows proves anything. Losses that do occur count in full, since
    Student's bound of the uncapped losses must be within the margin, too. The decision does not depend on the unit of
    the losses, the margin and ``max_loss``.

    Percentile and studentised bootstraps ignore losses that do not occur in the rows, and so pass models that fail
    rarely. An empirical Bernstein bound passes no equal version on 5,000 rows. Student's bound, with the worst that n
    rows can miss added, passes fewer than this bound.

    Args:
        version: the version's losses of the rows, [n], not capped; ``champion`` likewise, in the same order.
        margin: in the loss's unit.
        confidence: from 0.5 to 0.99.
        max_loss: the cap of a row's loss, in the loss's unit.
        keys: the rows' keys, [n]: rows with the same key count as one, with their mean. None where all differ.

    Raises:
        ValueError: if the numbers of rows are 0 or differ, a loss is negative or not finite, or ``max_loss`` is not a
            finite number above 0.
    """
    if not 0 < max_loss < math.inf:
        raise ValueError(f"max_loss: {max_loss:g} is not allowed; allowed: a finite number above 0")
    losses = [_check_losses(version, "the version"), _check_losses(champion, "the champion")]
    if not 1 <= len(losses[0]) == len(losses[1]):
        raise ValueError(
            f"the losses are of {len(losses[0])} and {len(losses[1])} rows; allowed: the same rows, 1 or more"
        )
    whole = average_by_key(losses[0] - losses[1], keys)
    capped = average_by_key(np.minimum(losses[0], max_loss) - np.minimum(losses[1], max_loss), keys)
    n, mean, difference, aim = len(whole), float(capped.mean()), float(whole.mean()), -math.log(1 - confidence)
    scatter = float(student.ppf(confidence, max(n - 1, 1)) * whole.std(ddof=min(1, n - 1)))
    upper = max(_bound(capped, confidence, max_loss), difference + scatter / math.sqrt(n))
    needed, enough = None, n >= MIN_ROWS
    if margin > max(mean, difference):
        max_stake = MAX_STAKE / max(max_loss - margin, max_loss / PRIOR_MAX_LOSS / PRIOR_MAX_LOSS)
        stakes = max_stake * np.geomspace(1e-3, 1, 20)
        growth = max(float(np.log1p(stake * (margin - capped)).mean()) for stake in stakes)
        if growth > MIN_GROWTH:
            enough = enough and n * math.log1p(max_stake * (margin - mean)) >= aim
            needed = max(MIN_ROWS, math.ceil(aim / growth), math.ceil((scatter / (margin - difference)) ** 2))
    promoted = enough and upper <= margin
    return Decision(promoted, n, difference, upper, margin, confidence, enough, needed, len(losses[0]) - n)


def _check_losses(values: ArrayLike, owner: str) -> np.ndarray:
    losses = np.asarray(values, dtype=float)
    invalid = losses[~((losses >= 0) & np.isfinite(losses))]
    if invalid.size:
        raise ValueError(f"{owner}'s loss of a row is {invalid[0]:g}; allowed: a finite number, 0 or more")
    return losses


def _bound(differences: np.ndarray, confidence: float, max_loss: float) -> float:
    """Bound the mean of values up to ``max_loss`` from above by betting (Waudby-Smith and Ramdas 2024).

    A gambler who bets, row by row, that the mean is below m wins stake × (m - value) of the capital. If the mean is m
    or more, no stakes computed from earlier rows win on average, so the capital reaches 1 / (1 - confidence) times its
    start with a probability of at most 1 - confidence (Ville's inequality). The bound is the least m at which the
    capital reaches that level; a larger m wins more. Stakes follow from the variance of the earlier rows, and no single
    row can take all of the capital.

    The order of the rows depends on their number alone.
    """
    n, aim, start = len(differences), -math.log(1 - confidence), PRIOR_VARIANCE * (max_loss / PRIOR_MAX_LOSS) ** 2
    x, seen = differences[np.random.default_rng(0).permutation(n)], np.arange(1, n + 1)
    variance = (start + np.cumsum((x - np.cumsum(x) / seen) ** 2)) / seen
    stakes = np.sqrt(2 * aim / (n * np.append(start, variance[:-1])))
    low, high = -max_loss, max_loss
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        won = np.cumsum(np.log1p(np.minimum(stakes, MAX_STAKE / (max_loss - middle)) * (middle - x))).max() >= aim
        low, high = (low, middle) if won else (middle, high)
    return high
