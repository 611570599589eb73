"""How sure a mean is: an interval for means of skewed values, and what counts as one value."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student

# Chosen by simulation (bench/intervals.py): from here on at least 93 of 100 intervals of 95 % hold the mean, also where
# one value in fifty, or in a hundred, lies ten deviations away. With 50 values these are 90.
LEAST = 120  # values
DIFFERENT = 3  # values other than the most frequent one
DIGITS = 9  # of the largest, in which two values may differ only by rounding
SYMMETRIC = 1e-6  # a skewness below this is none


def compute_interval(values: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Give an interval for the mean that values [n] are drawn around, NaN and NaN where they cannot tell.

    It spans Student's interval and Hall's (1992), which undoes the skewness of the t statistic by a cubic: Student's
    alone misses the mean of skewed values, Hall's alone is too narrow for heavy tails. There is none of fewer than
    ``LEAST`` values, where fewer than ``DIFFERENT`` of them differ from the most frequent one (all-zero regrets prove
    no zero), or where one is not finite. Of values so rare that none of n shows them, no interval knows.
    """
    n = len(values)
    if n < LEAST or not np.isfinite(values).all():
        return np.nan, np.nan
    x = np.sort(values)  # the same values in another order have the same interval to the last bit
    alike = np.round(x / (np.abs(x).max() or 1.0), DIGITS)
    if n - np.unique(alike, return_counts=True)[1].max() < DIFFERENT:
        return np.nan, np.nan
    mean, deviation, root = x.mean(), x.std(ddof=1), np.sqrt(n)
    if not 0 < deviation < np.inf:  # squares under- or overflow
        return np.nan, np.nan
    skewness = (((x - mean) / x.std()) ** 3).mean()
    t = student.ppf(0.5 + confidence / 2, n - 1)
    ends = np.array([-t, t])
    if abs(skewness) > SYMMETRIC:
        cubes = 1 + skewness * (ends / root - skewness / (6 * n))
        ends = np.array([[-t, t], root * 3 / skewness * (np.cbrt(cubes) - 1)])
    return float(mean - ends.max() * deviation / root), float(mean - ends.min() * deviation / root)


def average_by_key(values: np.ndarray, keys: ArrayLike | None) -> np.ndarray:
    """Make one row of rows with the same key: the mean of their values [n], in the order of the sorted keys.

    Args:
        keys: [n], such as hashes of the inputs; None where every row has its own.
    """
    if keys is None:
        return values
    _, places, counts = np.unique(np.asarray(keys), return_inverse=True, return_counts=True)
    return np.asarray(np.bincount(places, values) / counts)
