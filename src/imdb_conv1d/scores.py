"""Numbers from labels and probabilities, by scikit-learn and SciPy."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import binomtest
from sklearn import metrics

BINS = 10


def scores(labels: ArrayLike, probabilities: ArrayLike) -> dict[str, float]:
    """Scores of a binary classifier, at a threshold of one half where one is needed.

    Args:
        labels: 0 or 1, [n]; both must occur.
        probabilities: probability of 1, [n].

    Returns:
        loss (mean binary cross-entropy in nats); accuracy with ``accuracy_low`` and ``accuracy_high``, its 95 %
        interval after Wilson (1927); precision, recall and f1 of label 1; roc_auc; average_precision; brier; and
        calibration_error, the expected calibration error over ten bins of equal width (Naeini et al. 2015).

    Raises:
        ValueError: if only one label occurs.
    """
    y, p = np.asarray(labels, dtype=int), np.asarray(probabilities, dtype=float)
    if len(np.unique(y)) < 2:
        raise ValueError("reviews of both labels are needed to score a classifier")
    predicted = (p > 0.5).astype(int)
    right = int((predicted == y).sum())
    interval = binomtest(right, len(y)).proportion_ci(0.95, method="wilson")
    bins = calibration_bins(y, p)
    filled = bins[bins["reviews"] > 0]
    gaps = (filled["probability"] - filled["positive"]).abs()
    return {
        "loss": float(metrics.log_loss(y, p)),
        "accuracy": right / len(y),
        "accuracy_low": float(interval.low),
        "accuracy_high": float(interval.high),
        "precision": float(metrics.precision_score(y, predicted, zero_division=0)),
        "recall": float(metrics.recall_score(y, predicted)),
        "f1": float(metrics.f1_score(y, predicted)),
        "roc_auc": float(metrics.roc_auc_score(y, p)),
        "average_precision": float(metrics.average_precision_score(y, p)),
        "brier": float(metrics.brier_score_loss(y, p)),
        "calibration_error": float((gaps * filled["reviews"]).sum() / len(y)),
    }


def calibration_bins(labels: ArrayLike, probabilities: ArrayLike) -> pd.DataFrame:
    """Ten bins of equal width: low, high, reviews, mean probability and share of label 1 (NaN in an empty bin)."""
    y, p = np.asarray(labels, dtype=float), np.asarray(probabilities, dtype=float)
    places = np.minimum((p * BINS).astype(int), BINS - 1)
    count = np.bincount(places, minlength=BINS)
    with np.errstate(invalid="ignore"):
        return pd.DataFrame(
            {
                "low": np.arange(BINS) / BINS,
                "high": (np.arange(BINS) + 1) / BINS,
                "reviews": count,
                "probability": np.bincount(places, p, BINS) / count,
                "positive": np.bincount(places, y, BINS) / count,
            }
        )
