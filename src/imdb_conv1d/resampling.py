"""How sure a mean is: bootstrap samples of it (Efron 1979), the same ones at every call."""

import numpy as np
from scipy.stats import bootstrap

SAMPLES = 2000


def means_of_samples(values: np.ndarray) -> np.ndarray:
    """Means of ``SAMPLES`` bootstrap samples of values [n], n of at least 2."""
    found = bootstrap((values,), np.mean, n_resamples=SAMPLES, method="percentile", batch=20, rng=0)
    return np.asarray(found.bootstrap_distribution)


def interval(values: np.ndarray) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean of values [n]; NaN where it has none: of fewer than two values, or
    where one is not finite."""
    if len(values) < 2 or not np.isfinite(values).all():
        return np.nan, np.nan
    low, high = np.percentile(means_of_samples(values), [2.5, 97.5])
    return float(low), float(high)
