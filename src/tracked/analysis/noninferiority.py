"""Whether a version may take the champion's place: a test that it is not worse by more than a margin."""

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
    """``promoted`` if ``upper``, the bound of the difference in loss at ``confidence``, is within the margin.

    ``difference`` is the mean loss of the version less the champion's, on ``rows`` distinct rows; ``copies`` are those
    that only repeated a key. ``enough`` is False where so few rows decide nothing, however little they scatter;
    ``needed`` is about how many would do at this difference and scatter, None where the difference itself is not within
    the margin.
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
        """Say which figures decided, what they are of, and what they cannot show.

        Args:
            terms: those with whose ``max_loss`` it was decided.
        """
        where, digits = "within" if self.upper <= self.margin else "beyond", terms.digits
        rows = f"{self.rows:,} {terms.rows}"
        if self.copies:
            rows += f" ({format_count(self.copies, 'repeated row')} left out)"
        more = ""
        if not self.enough:
            more = f"; nothing is decided, as {self.needed or MIN_ROWS:,} distinct {terms.rows} are needed"
        elif not self.promoted and self.needed is not None:
            more = f"; about {self.needed:,} distinct {terms.rows} would do at this spread"
        one_of = max(1, round(self.rows / -math.log(1 - self.confidence)))
        return (
            f"its {terms.loss} differs by {self.difference:+.{digits}f} on {rows}, at {100 * self.confidence:g}% "
            f"confidence by at most {self.upper:+.{digits}f}, which is {where} the margin of {self.margin:g} "
            f"({terms.a_row} counts for at most {terms.max_loss:,.{max(0, digits - 3)}f} {terms.unit}, and what fails "
            f"in fewer than one of {one_of:,} may not show){more}"
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
    the bound is a theorem, not a simulation (see ``_bound``), and bench/gate.py shows it. What is proven is of losses
    counted up to ``max_loss``, since without a cap no number of rows proves anything. Losses that the rows do show
    count in full: Student's bound of the whole losses must be within the margin, too. The unit in which the losses, the
    margin and ``max_loss`` are given makes no difference.

    Bootstraps, of percentiles or studentised, know nothing of losses that the rows do not show, and let pass what fails
    rarely. An empirical Bernstein bound lets no equal version pass on 5,000 rows, and Student's bound with the worst
    that n rows cannot show on top fewer than this one.

    Args:
        version: losses of the rows, [n], whole and not capped; ``champion`` likewise, in the same order.
        margin: in the loss's unit.
        confidence: from 0.5 to 0.99.
        most: what a row counts for at most, in the loss's unit.
        keys: of the rows, [n]: copies of a key are one row, the mean of theirs. None where all differ.

    Raises:
        ValueError: if there are no rows, their numbers differ, or a loss is negative or not finite: what is proven is
            of capped losses between 0 and ``max_loss``.
    """
    if not 0 < max_loss < math.inf:
        raise ValueError(f"most is {max_loss:g}; a finite number above 0 is needed")
    losses = [_losses(version, "the version"), _losses(champion, "the champion")]
    if not 1 <= len(losses[0]) == len(losses[1]):
        raise ValueError("the same rows, one or more, are needed")
    whole = average_by_key(losses[0] - losses[1], keys)
    capped = average_by_key(np.minimum(losses[0], max_loss) - np.minimum(losses[1], max_loss), keys)
    n, mean, difference, aim = len(whole), float(capped.mean()), float(whole.mean()), -math.log(1 - confidence)
    scatter = float(student.ppf(confidence, max(n - 1, 1)) * whole.std(ddof=min(1, n - 1)))
    upper = max(_bound(capped, confidence, max_loss), difference + scatter / math.sqrt(n))
    needed, enough = None, n >= MIN_ROWS
    if margin > max(mean, difference):
        boldest = MAX_STAKE / max(max_loss - margin, max_loss / PRIOR_MAX_LOSS / PRIOR_MAX_LOSS)
        grows = max(float(np.log1p(stake * (margin - capped)).mean()) for stake in boldest * np.geomspace(1e-3, 1, 20))
        if grows > MIN_GROWTH:
            enough = enough and n * math.log1p(boldest * (margin - mean)) >= aim
            needed = max(MIN_ROWS, math.ceil(aim / grows), math.ceil((scatter / (margin - difference)) ** 2))
    promoted = enough and upper <= margin
    return Decision(promoted, n, difference, upper, margin, confidence, enough, needed, len(losses[0]) - n)


def _losses(values: ArrayLike, whose: str) -> np.ndarray:
    losses = np.asarray(values, dtype=float)
    wrong = losses[~((losses >= 0) & np.isfinite(losses))]
    if wrong.size:
        raise ValueError(f"{whose}'s loss of a row is {wrong[0]:g}; a finite number of 0 or more is needed")
    return losses


def _bound(differences: np.ndarray, confidence: float, max_loss: float) -> float:
    """Give the upper bound of the mean of values up to ``max_loss`` by betting (Waudby-Smith and Ramdas 2024).

    Who bets, row by row, that the mean is below m wins stake × (m - value) of the capital. If the mean is m or more, no
    stakes that follow from the rows before win on average, so the capital ever reaches 1 / (1 - confidence) times what
    it began with at a chance of 1 - confidence at most (Ville's inequality). The bound is the least m at which it does;
    the larger m, the more is won. Stakes follow from the variance of the rows before, and no single row takes all.

    The rows come in an order that depends on nothing but their number.
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
