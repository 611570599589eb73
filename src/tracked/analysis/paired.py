"""Paired comparison of two models' losses on the same rows: the difference and its significance."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest

from tracked.analysis.intervals import average_by_key, compute_interval
from tracked.console.lines import format_count
from tracked.experiment import Terms

ERROR = 0.05  # of a verdict, shared by the figures that it tests (Bonferroni)


@dataclass(frozen=True)
class PairedComparison:
    """The first model minus the second, on ``rows`` distinct rows.

    ``loss`` and ``correct`` (the share of correct rows) are differences of means with 95 % intervals over the rows, NaN
    where too few rows differ. ``loss_is_real`` is True if the interval, widened for the number of figures tested,
    excludes 0. ``copies`` counts the rows left out because they repeat a key. ``first_only`` and ``second_only`` count
    the rows that only one model gets right; ``p_value`` is McNemar's exact test of them (1947). ``correct`` and
    ``p_value`` are NaN where a prediction is neither right nor wrong.
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
        """Describe the difference and its verdict in one sentence; for equal models 1 verdict in 20 errs at most."""
        digits = terms.digits
        figures = f"{self.loss:+.{digits}f} of {terms.loss} ({_interval(self.loss_low, self.loss_high, digits)})"
        if self._has_correct:
            points = _interval(100 * self.correct_low, 100 * self.correct_high, 2)
            right = f"{self.correct * 100:+.2f} points of {terms.correct} ({points}; McNemar's p {self.p_value:.2g})"
            figures = f"{right} and {figures}"
        rows = f"{self.rows:,} {terms.rows}"
        if self.copies:
            rows += f", {format_count(self.copies, 'repeated row')} left out"
        return f"{first} against {second}: {figures} on {rows}; {self._verdict(terms)}."

    def to_columns(self, terms: Terms) -> dict[str, float | int | bool]:
        """Name the figures as columns of a table; ``correct`` only where predictions can be right."""
        loss, right = terms.loss_key, terms.correct_key
        named: dict[str, float | int | bool] = {"rows": self.rows}
        if self._has_correct:
            named |= {right: self.correct, f"{right}_low": self.correct_low, f"{right}_high": self.correct_high}
        named |= {loss: self.loss, f"{loss}_low": self.loss_low, f"{loss}_high": self.loss_high}
        if self._has_correct:
            named |= {"first_only": self.first_only, "second_only": self.second_only, "p_value": self.p_value}
        return named | {f"{loss}_is_real": self.loss_is_real, "copies": self.copies}

    @property
    def _has_correct(self) -> bool:
        return not np.isnan(self.correct)

    def _verdict(self, terms: Terms) -> str:
        untested = f"too few {terms.rows} differ to test {terms.loss}" if np.isnan(self.loss_low) else ""
        correct_is_real = self._has_correct and self.p_value < ERROR / 2
        if correct_is_real and self.loss_is_real:
            return "both differences are significant"
        if self._has_correct and (correct_is_real or self.loss_is_real):
            figure = terms.correct if correct_is_real else terms.loss
            return f"the difference in {figure} is significant{f'; {untested}' if untested else ', the other is not'}"
        if self.loss_is_real:
            return "the difference is significant"
        return f"no significant difference{f'; {untested}' if untested else ''}"


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
        first: the first model's losses, [n]; ``second`` likewise, in the same order.
        keys: the rows' keys, [n]: rows with the same key count as one, with their mean. None where all differ.
        correct: whether each row is right, [n], for the first and the second model; None where no row can be.

    Raises:
        ValueError: if the lengths differ or are below 2.
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    hits = [np.asarray(flags, dtype=bool).astype(float) for flags in correct or ()]
    lengths = [len(values) for values in (a, b, *hits)]
    if min(lengths) < 2 or len(set(lengths)) > 1:
        raise ValueError(f"the lengths are {', '.join(map(str, lengths))}; allowed: the same rows, 2 or more")
    losses = average_by_key(a - b, keys)
    low, high = compute_interval(losses, 1 - ERROR / (2 if correct else 1))
    comparison = PairedComparison(
        len(losses), float(losses.mean()), *compute_interval(losses), bool(low > 0 or high < 0), len(a) - len(losses)
    )
    if not correct:
        return comparison
    ahead = average_by_key(hits[0] - hits[1], keys)
    first_only, second_only, p_value = compute_mcnemar(ahead)
    low, high = compute_interval(ahead)
    return replace(
        comparison, correct=float(ahead.mean()), correct_low=low, correct_high=high,
        first_only=first_only, second_only=second_only, p_value=p_value,
    )  # fmt: skip


def compute_mcnemar(ahead: np.ndarray) -> tuple[int, int, float]:
    """Count the rows that only the first and only the second model gets right, and test them exactly (McNemar 1947).

    Args:
        ahead: whether the first model is right less whether the second is, [n], averaged over rows with the same key.

    Returns:
        both counts and the p-value, 1 where no row differs.
    """
    first_only, second_only = int((ahead > 0).sum()), int((ahead < 0).sum())
    discordant = first_only + second_only
    return first_only, second_only, float(binomtest(first_only, discordant).pvalue) if discordant else 1.0
