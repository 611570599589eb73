"""Intervals of shares and means over rows, of which copies of a text tell no more than one."""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import beta

from tracked.analysis.intervals import average_by_key, compute_interval

NORMAL = 1.959964  # the 97.5 % quantile


def compute_wilson(share: float, n: float) -> tuple[float, float]:
    """Compute Wilson's 95 % interval of a share of n independent rows; unlike in ``binomtest``, n may be fractional."""
    square = NORMAL**2
    middle = share + square / (2 * n)
    half = NORMAL * math.sqrt(share * (1 - share) / n + square / (4 * n**2))
    return max(0.0, (middle - half) / (1 + square / n)), min(1.0, (middle + half) / (1 + square / n))


def compute_exact(shares: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute 95 % intervals (Clopper and Pearson 1934) of shares of n independent rows; n may be fractional.

    They hold the true share at least 95 times in 100, however few the rows are; Wilson's only do on average over the
    shares, and 83 times for six rows and a share of 0.97. NaN where n is 0.
    """
    hits, misses = shares * n, (1 - shares) * n
    with np.errstate(invalid="ignore"):
        low = np.where(hits > 0, beta.ppf(0.025, hits, misses + 1), 0.0)
        high = np.where(misses > 0, beta.ppf(0.975, hits + 1, misses), 1.0)
    return np.where(n > 0, low, np.nan), np.where(n > 0, high, np.nan)


def count_effective(texts: ArrayLike | None, rows: int) -> float:
    """Compute the effective number of rows (Kish 1965): all rows squared, by the sum of each text's copies squared.

    Args:
        texts: keys of the rows' texts, [rows]; None where all texts differ.
    """
    if texts is None:
        return float(rows)
    copies = np.unique(np.asarray(texts), return_counts=True)[1].astype(float)
    return float(rows**2 / (copies**2).sum())


def compute_mean_interval(values: np.ndarray, texts: ArrayLike | None) -> tuple[float, float]:
    """Compute a 95 % interval of the mean over all rows [n]; (NaN, NaN) where the values allow none.

    The mean over rows is a ratio of two sums over texts, of values and of copies, and is linearised as such: each text
    counts with its rows' deviations from the mean. Without copies this is the interval of the values themselves.
    """
    if texts is None:
        return compute_interval(values)
    keys, copies = np.unique(np.asarray(texts), return_counts=True)
    if len(keys) == len(values):
        return compute_interval(values)
    mean = values.mean()
    deviations = average_by_key(values - mean, texts) * copies
    return compute_interval(mean + deviations * len(keys) / len(values))
