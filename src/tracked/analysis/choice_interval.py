"""Intervals for the best of a few, each with few paired values beside one reference."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student

ERROR = 0.05  # largest share of intervals that miss, whichever row is chosen
DIGITS = 9  # of the largest value: smaller differences are rounding


def compute_half_widths(rows: ArrayLike, choices: int) -> Sequence[float]:
    """Compute half the widths of 95 % intervals of rows' mean differences to the first row, which hold all at once.

    With three values, the deviation of one row's differences has two degrees of freedom: corrected for three choices,
    only a lead of more than four deviations would show. All rows together have six. But where one row is noisier than
    the others, the common deviation is too small for it. So the larger deviation counts, and the larger factor: that
    of all rows, corrected for the choices (Bonferroni), and that of one row alone.

    Args:
        rows: [1 + k, n], the reference and k others, paired by column.
        choices: the number of rows that were chosen from, k or more.

    Returns:
        k half widths; NaN with fewer than two columns, or where no difference varies: then nothing tells by how much
        it might.
    """
    values = np.asarray(rows, dtype=float)
    others, n = len(values) - 1, values.shape[1] if values.ndim > 1 else 0
    if not others or n < 2:
        return [np.nan] * others
    # What is left of each value once the means of its row and of its column are removed.
    left = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
    freedom = others * (n - 1)
    common = np.sqrt(2 * (left**2).sum() / freedom)
    deviations = np.maximum((values[1:] - values[0]).std(axis=1, ddof=1), common)
    factor = max(_quantile(1 - ERROR / 2 / choices, freedom), _quantile(1 - ERROR / 2, n - 1))
    halves = factor * deviations / np.sqrt(n)
    halves[deviations <= 10.0**-DIGITS * np.abs(values).max()] = np.nan
    return list(map(float, halves))


@lru_cache
def _quantile(share: float, freedom: int) -> float:
    """Compute a quantile of Student's distribution."""
    return float(student.ppf(share, freedom))
