"""Whether a version may take the champion's place: a test that it is not worse by more than a margin."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student

from tracked.analysis.intervals import means_by_key
from tracked.analysis.paired import log_losses
from tracked.console.lines import counted

CAP = math.log(1000)  # nats that a review counts at most: a probability of its true label below 0.001 counts as that
FEWEST = 20  # distinct reviews
BOLD = 0.95  # of the capital, staked at most
START = 0.1  # the variance that the first stakes expect: that of two trainings' losses
SLOWEST = 1e-9  # growth of the capital a row, below which no number of rows is told
STEPS = 25  # halvings, to a millionth of a nat


@dataclass(frozen=True)
class Decision:
    """``promoted`` if ``upper``, the bound of the difference in log loss at ``confidence``, is within the margin.

    ``difference`` is the mean log loss of the version less the champion's, in nats a review, on ``rows`` distinct
    reviews; ``copies`` are the rows that only repeated a text. ``enough`` is False where so few rows decide nothing,
    however little they scatter; ``needed`` is about how many would do at this difference and scatter, None where the
    difference itself is not within the margin.
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

    @property
    def sentence(self) -> str:
        """Say which figures decided, what they are of, and what they cannot show."""
        where = "within" if self.upper <= self.margin else "beyond"
        rows = f"{self.rows:,} reviews"
        if self.copies:
            rows += f" ({counted(self.copies, 'repeated row')} left out)"
        more = ""
        if not self.enough:
            more = f"; nothing is decided, as {self.needed or FEWEST:,} distinct reviews are needed"
        elif not self.promoted and self.needed is not None:
            more = f"; about {self.needed:,} distinct reviews would do at this spread"
        one_of = max(1, round(self.rows / -math.log(1 - self.confidence)))
        return (
            f"its log loss differs by {self.difference:+.4f} on {rows}, at {100 * self.confidence:g}% confidence by at "
            f"most {self.upper:+.4f}, which is {where} the margin of {self.margin:g} (a review counts for at most "
            f"{CAP:.1f} nats, and what fails in fewer than one of {one_of:,} may not show){more}"
        )


def decide(
    labels: ArrayLike,
    version: ArrayLike,
    champion: ArrayLike,
    margin: float,
    confidence: float,
    texts: ArrayLike | None = None,
) -> Decision:
    """Test for non-inferiority: promote only if an upper bound of the mean difference in log loss is within the margin.

    Of versions that are worse by the margin, at most 1 - confidence pass, whatever the losses and however few the rows:
    the bound is a theorem, not a simulation (see ``_bound``), and bench/gate.py shows it. What is proven is of losses
    counted up to ``CAP``, since without a cap no number of rows proves anything. Losses that the rows do show count in
    full: Student's bound of the whole losses must be within the margin, too.

    Bootstraps, of percentiles or studentised, know nothing of losses that the rows do not show, and let pass what fails
    rarely. An empirical Bernstein bound lets no equal version pass on 5,000 rows, and Student's bound with the worst
    that n rows cannot show on top fewer than this one.

    Args:
        labels: 0 or 1, [n].
        version: probabilities of 1, [n]; ``champion`` likewise, in the same order.
        margin: in nats a review.
        confidence: from 0.5 to 0.99.
        texts: keys of the rows' texts, [n]: copies of a text are one row, the mean of theirs. None where all differ.
    """
    losses = [log_losses(labels, probabilities) for probabilities in (version, champion)]
    whole = means_by_key(losses[0] - losses[1], texts)
    capped = means_by_key(np.minimum(losses[0], CAP) - np.minimum(losses[1], CAP), texts)
    n, mean, difference, aim = len(whole), float(capped.mean()), float(whole.mean()), -math.log(1 - confidence)
    scatter = float(student.ppf(confidence, max(n - 1, 1)) * whole.std(ddof=min(1, n - 1)))
    upper = max(_bound(capped, confidence), difference + scatter / math.sqrt(n))
    needed, enough = None, n >= FEWEST
    if margin > max(mean, difference):
        most = BOLD / max(CAP - margin, 1 / CAP)
        grows = max(float(np.log1p(stake * (margin - capped)).mean()) for stake in most * np.geomspace(1e-3, 1, 20))
        if grows > SLOWEST:
            enough = enough and n * math.log1p(most * (margin - mean)) >= aim
            needed = max(FEWEST, math.ceil(aim / grows), math.ceil((scatter / (margin - difference)) ** 2))
    promoted = enough and upper <= margin
    return Decision(promoted, n, difference, upper, margin, confidence, enough, needed, len(np.ravel(labels)) - n)


def _bound(differences: np.ndarray, confidence: float) -> float:
    """Give the upper bound of the mean of values up to ``CAP`` by betting (Waudby-Smith and Ramdas 2024).

    Who bets, row by row, that the mean is below m wins stake × (m - value) of the capital. If the mean is m or more, no
    stakes that follow from the rows before win on average, so the capital ever reaches 1 / (1 - confidence) times what
    it began with at a chance of 1 - confidence at most (Ville's inequality). The bound is the least m at which it does;
    the larger m, the more is won. Stakes follow from the variance of the rows before, and no single row takes all.

    The rows come in an order that depends on nothing but their number.
    """
    n, aim = len(differences), -math.log(1 - confidence)
    x, seen = differences[np.random.default_rng(0).permutation(n)], np.arange(1, n + 1)
    variance = (START + np.cumsum((x - np.cumsum(x) / seen) ** 2)) / seen
    stakes = np.sqrt(2 * aim / (n * np.append(START, variance[:-1])))
    low, high = -CAP, CAP
    for _ in range(STEPS):
        middle = (low + high) / 2
        won = np.cumsum(np.log1p(np.minimum(stakes, BOLD / (CAP - middle)) * (middle - x))).max() >= aim
        low, high = (low, middle) if won else (middle, high)
    return high
