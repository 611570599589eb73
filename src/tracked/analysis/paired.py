"""Two models' losses of the same rows: how far they differ, and whether chance explains it."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest

from tracked.analysis.intervals import average_by_key, compute_interval
from tracked.console.lines import format_count
from tracked.experiment import Terms

CHANCE = 0.05  # shared by the figures that a verdict is given on: each is tested at its part (Bonferroni)


@dataclass(frozen=True)
class PairedComparison:
    """The first model less the second, on ``rows`` distinct rows.

    ``loss`` and ``correct``, the share of rows that are right, are differences of means with 95 % intervals over the
    rows, NaN where too few differ. ``loss_is_real`` says whether an interval leaves 0 out that is as wide as the
    number of figures asks. ``copies`` are the rows that only repeated a key. ``first_only`` and ``second_only`` are the
    rows that one alone gets right, ``p_value`` is McNemar's exact test of them (1947). Where a prediction is neither
    right nor wrong, ``correct`` and ``p_value`` are NaN.
    """

    rows: int
    loss: float
    loss_low: float
    loss_high: float
    loss_is_real: bool
    copies: int = 0
    correct: float = np.nan
    correct_low: float = np.nan
    correct_high: float = np.nan
    first_only: int = 0
    second_only: int = 0
    p_value: float = np.nan

    def describe(self, first: str, second: str, terms: Terms) -> str:
        """Say in one plain sentence what that means; of equal models at most one verdict in twenty is false."""
        digits = terms.digits
        told = f"{self.loss:+.{digits}f} of {terms.loss} ({_interval(self.loss_low, self.loss_high, digits)})"
        if self._tells_right:
            points = _interval(100 * self.correct_low, 100 * self.correct_high, 2)
            right = f"{self.correct * 100:+.2f} points of {terms.correct} ({points}; McNemar's p {self.p_value:.2g})"
            told = f"{right} and {told}"
        rows = f"{self.rows:,} {terms.rows}"
        if self.copies:
            rows += f", {format_count(self.copies, 'repeated row')} left out"
        return f"{first} against {second}: {told} on {rows}; {self._verdict(terms)}."

    def to_columns(self, terms: Terms) -> dict[str, float | int | bool]:
        """Name the figures for a table; those of what is right only where a prediction can be."""
        loss, right = terms.loss_key, terms.correct_key
        named: dict[str, float | int | bool] = {"rows": self.rows}
        if self._tells_right:
            named |= {right: self.correct, f"{right}_low": self.correct_low, f"{right}_high": self.correct_high}
        named |= {loss: self.loss, f"{loss}_low": self.loss_low, f"{loss}_high": self.loss_high}
        if self._tells_right:
            named |= {"first_only": self.first_only, "second_only": self.second_only, "p_value": self.p_value}
        return named | {f"{loss}_is_real": self.loss_is_real, "copies": self.copies}

    @property
    def _tells_right(self) -> bool:
        return not np.isnan(self.correct)

    def _verdict(self, terms: Terms) -> str:
        few, too_few = np.isnan(self.loss_low), f"too few {terms.rows} differ to tell"
        right_is_real = self._tells_right and self.p_value < CHANCE / 2
        if right_is_real and self.loss_is_real:
            return "both differences are more than chance does"
        if self._tells_right and (right_is_real or self.loss_is_real):
            other = f"{too_few} of {terms.loss}" if few else "the other is not"
            named = terms.correct if right_is_real else terms.loss
            return f"the difference in {named} is more than chance does{';' if few else ','} {other}"
        if self.loss_is_real:
            return "the difference is more than chance does"
        return f"{too_few} more than chance" if few else "the difference is within what chance does"


def _interval(low: float, high: float, digits: int) -> str:
    return "no interval" if np.isnan(low) else f"{low:+.{digits}f} to {high:+.{digits}f}"


def compare_losses(
    first: ArrayLike,
    second: ArrayLike,
    keys: ArrayLike | None = None,
    correct: tuple[ArrayLike, ArrayLike] | None = None,
) -> PairedComparison:
    """Compare two models' losses of the same rows.

    Args:
        first: losses of the rows, [n]; ``second`` likewise, in the same order.
        keys: of the rows, [n]: copies of a key are one row, the mean of theirs. None where all differ.
        right: whether each row is right, [n], of the first and of the second. None where none can be.

    Raises:
        ValueError: if there are fewer than two rows, or the lengths differ.
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    hits = [np.asarray(one, dtype=bool).astype(float) for one in correct or ()]
    if not all(2 <= len(a) == len(one) for one in (b, *hits)):
        raise ValueError("the same rows, two or more, are needed")
    losses = average_by_key(a - b, keys)
    low, high = compute_interval(losses, 1 - CHANCE / (2 if correct else 1))
    found = PairedComparison(
        len(losses), float(losses.mean()), *compute_interval(losses), bool(low > 0 or high < 0), len(a) - len(losses)
    )
    if not correct:
        return found
    ahead = average_by_key(hits[0] - hits[1], keys)
    first_only, second_only = int((ahead > 0).sum()), int((ahead < 0).sum())
    apart = first_only + second_only
    p_value = float(binomtest(first_only, apart).pvalue) if apart else 1.0
    low, high = compute_interval(ahead)
    return replace(
        found, correct=float(ahead.mean()), correct_low=low, correct_high=high,
        first_only=first_only, second_only=second_only, p_value=p_value,
    )  # fmt: skip
