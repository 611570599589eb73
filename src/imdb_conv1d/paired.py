"""Two classifiers' predictions of the same rows: how far they differ, and whether chance explains it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import xlog1py, xlogy
from scipy.stats import binomtest

from imdb_conv1d.resampling import interval

CHANCE = 0.05


@dataclass(frozen=True)
class Paired:
    """The first classifier less the second, on ``rows`` rows.

    ``accuracy`` and ``log_loss`` (nats a row) are differences of means with 95 % percentile bootstrap intervals over
    the rows; ``first_only`` and ``second_only`` are the rows that one alone gets right, ``p_value`` is McNemar's exact
    test of them (1947).
    """

    rows: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    log_loss: float
    log_loss_low: float
    log_loss_high: float
    first_only: int
    second_only: int
    p_value: float

    def sentence(self, first: str, second: str) -> str:
        """What that means, in one plain sentence."""
        right = f"{self.accuracy * 100:+.2f} points of accuracy ({self.accuracy_low * 100:+.2f} to "
        right += f"{self.accuracy_high * 100:+.2f}; McNemar's p {self.p_value:.2g})"
        loss = f"{self.log_loss:+.4f} of log loss ({self.log_loss_low:+.4f} to {self.log_loss_high:+.4f})"
        real = [
            name for name, is_real in (("accuracy", self.p_value < CHANCE), ("log loss", self._loss_is_real)) if is_real
        ]
        verdict = {
            0: "the difference is within what chance does",
            1: f"the difference in {''.join(real)} is more than chance does, the other is not",
            2: "both differences are more than chance does",
        }[len(real)]
        return f"{first} against {second}: {right} and {loss} on {self.rows:,} reviews; {verdict}."

    @property
    def _loss_is_real(self) -> bool:
        return not self.log_loss_low <= 0 <= self.log_loss_high


def log_losses(labels: ArrayLike, probabilities: ArrayLike) -> np.ndarray:
    """Binary cross-entropy of each row in nats, [n]; clipped as scikit-learn's ``log_loss``, whose mean this is.

    Args:
        labels: 0 or 1, [n].
        probabilities: probability of 1, [n].
    """
    y, p = np.asarray(labels, dtype=float), np.asarray(probabilities, dtype=float)
    p = np.clip(p, np.finfo(float).eps, 1 - np.finfo(float).eps)
    return np.asarray(-(xlogy(y, p) + xlog1py(1 - y, -p)))


def paired(labels: ArrayLike, first: ArrayLike, second: ArrayLike) -> Paired:
    """Compare two classifiers' probabilities of 1 on the same rows.

    Args:
        labels: 0 or 1, [n].
        first: probabilities [n]; ``second`` likewise, in the same order.

    Raises:
        ValueError: if there are fewer than two rows, or the lengths differ.
    """
    y = np.asarray(labels, dtype=int)
    a, b = (np.asarray(probabilities, dtype=float) for probabilities in (first, second))
    if not len(y) == len(a) == len(b) >= 2:
        raise ValueError("the same rows, two or more, are needed")
    right = [((p > 0.5) == (y == 1)) for p in (a, b)]
    first_only, second_only = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    hits = right[0].astype(float) - right[1]
    losses = log_losses(y, a) - log_losses(y, b)
    apart = first_only + second_only
    return Paired(
        len(y),
        float(hits.mean()),
        *interval(hits),
        float(losses.mean()),
        *interval(losses),
        first_only,
        second_only,
        float(binomtest(first_only, apart).pvalue) if apart else 1.0,
    )
