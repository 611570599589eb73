"""Two classifiers' predictions of the same rows: how far they differ, and whether chance explains it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import xlog1py, xlogy
from scipy.stats import binomtest

from tracked.analysis.intervals import interval, means_by_key
from tracked.console.lines import counted

CHANCE = 0.05
FIGURES = 2  # that a verdict is given on: each is tested at a half of it (Bonferroni)


@dataclass(frozen=True)
class Paired:
    """The first classifier less the second, on ``rows`` distinct rows.

    ``accuracy`` and ``log_loss`` (nats a row) are differences of means with 95 % intervals over the rows, NaN where too
    few differ; ``log_loss_is_real`` says whether an interval of 97.5 % leaves 0 out. ``first_only`` and ``second_only``
    are the rows that one alone gets right, ``p_value`` is McNemar's exact test of them (1947). ``copies`` are the rows
    that only repeated a text.
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
    log_loss_is_real: bool
    copies: int = 0

    def sentence(self, first: str, second: str) -> str:
        """Say in one plain sentence what that means; of equal classifiers at most one verdict in twenty is false."""
        points = _interval(100 * self.accuracy_low, 100 * self.accuracy_high, 2)
        right = f"{self.accuracy * 100:+.2f} points of accuracy ({points}; McNemar's p {self.p_value:.2g})"
        loss = f"{self.log_loss:+.4f} of log loss ({_interval(self.log_loss_low, self.log_loss_high, 4)})"
        rows = f"{self.rows:,} reviews"
        if self.copies:
            rows += f", {counted(self.copies, 'repeated row')} left out"
        return f"{first} against {second}: {right} and {loss} on {rows}; {self._verdict}."

    @property
    def _verdict(self) -> str:
        accuracy_is_real, few = self.p_value < CHANCE / FIGURES, np.isnan(self.log_loss_low)
        if accuracy_is_real and self.log_loss_is_real:
            return "both differences are more than chance does"
        if accuracy_is_real or self.log_loss_is_real:
            other = "too few reviews differ to tell of log loss" if few else "the other is not"
            named = "accuracy" if accuracy_is_real else "log loss"
            return f"the difference in {named} is more than chance does{';' if few else ','} {other}"
        return "too few reviews differ to tell more than chance" if few else "the difference is within what chance does"


def _interval(low: float, high: float, digits: int) -> str:
    return "no interval" if np.isnan(low) else f"{low:+.{digits}f} to {high:+.{digits}f}"


def log_losses(labels: ArrayLike, probabilities: ArrayLike) -> np.ndarray:
    """Binary cross-entropy of each row in nats, [n]; clipped as scikit-learn's ``log_loss``, whose mean this is.

    Args:
        labels: 0 or 1, [n].
        probabilities: probability of 1, [n].
    """
    y, p = np.asarray(labels, dtype=float), np.asarray(probabilities, dtype=float)
    p = np.clip(p, np.finfo(float).eps, 1 - np.finfo(float).eps)
    return np.asarray(-(xlogy(y, p) + xlog1py(1 - y, -p)))


def paired(labels: ArrayLike, first: ArrayLike, second: ArrayLike, texts: ArrayLike | None = None) -> Paired:
    """Compare two classifiers' probabilities of 1 on the same rows.

    Args:
        labels: 0 or 1, [n].
        first: probabilities [n]; ``second`` likewise, in the same order.
        texts: keys of the rows' texts, [n]: copies of a text are one row, the mean of theirs. None where all differ.

    Raises:
        ValueError: if there are fewer than two rows, or the lengths differ.
    """
    y = np.asarray(labels, dtype=int)
    a, b = (np.asarray(probabilities, dtype=float) for probabilities in (first, second))
    if not len(y) == len(a) == len(b) >= 2:
        raise ValueError("the same rows, two or more, are needed")
    right = [((p > 0.5) == (y == 1)).astype(float) for p in (a, b)]
    hits = means_by_key(right[0] - right[1], texts)
    losses = means_by_key(log_losses(y, a) - log_losses(y, b), texts)
    first_only, second_only = int((hits > 0).sum()), int((hits < 0).sum())
    apart = first_only + second_only
    low, high = interval(losses, 1 - CHANCE / FIGURES)
    return Paired(
        len(hits),
        float(hits.mean()),
        *interval(hits),
        float(losses.mean()),
        *interval(losses),
        first_only,
        second_only,
        float(binomtest(first_only, apart).pvalue) if apart else 1.0,
        bool(low > 0 or high < 0),
        len(y) - len(hits),
    )
