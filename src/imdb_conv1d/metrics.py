"""Scores of a binary classifier, computed by scikit-learn."""

import math

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import xlog1py, xlogy
from sklearn import metrics

from imdb_conv1d import schema

BINS = 10
NORMAL = 1.959964  # the 97.5 % quantile


def compute_scores(labels: ArrayLike, probabilities: ArrayLike, texts: ArrayLike | None = None) -> dict[str, float]:
    """Compute the scores of a binary classifier, at a threshold of one half.

    Args:
        labels: 0 or 1, [n]; both must occur.
        probabilities: probability of 1, [n].
        texts: keys of the rows' texts, [n]: the interval counts copies of a text as one. None where all texts differ.

    Returns:
        loss (mean binary cross-entropy in nats); accuracy with ``accuracy_low`` and ``accuracy_high``, its 95 %
        interval (Wilson 1927) for the effective number of rows; precision, recall and f1 of label 1; roc_auc;
        average_precision; brier; and calibration_error, the expected calibration error over ten bins of equal width
        (Naeini et al. 2015).

    Raises:
        ValueError: if only one label occurs.
    """
    y, p = np.asarray(labels, dtype=int), np.asarray(probabilities, dtype=float)
    if len(np.unique(y)) < 2:
        raise ValueError("all reviews have the same label; scores need both labels")
    predicted = (p > 0.5).astype(int)
    right = int((predicted == y).sum())
    copies = np.ones(len(y)) if texts is None else np.unique(np.asarray(texts), return_counts=True)[1]
    low, high = _compute_wilson(right / len(y), len(y) ** 2 / float((copies**2).sum()))
    bins = compute_calibration(y, p)
    filled = bins[bins["reviews"] > 0]
    gaps = (filled["probability"] - filled["positive"]).abs()
    return {
        schema.LOSS: float(metrics.log_loss(y, p)),
        schema.ACCURACY: right / len(y),
        schema.ACCURACY_LOW: low,
        schema.ACCURACY_HIGH: high,
        schema.PRECISION: float(metrics.precision_score(y, predicted, zero_division=0)),
        schema.RECALL: float(metrics.recall_score(y, predicted)),
        schema.F1: float(metrics.f1_score(y, predicted)),
        schema.ROC_AUC: float(metrics.roc_auc_score(y, p)),
        schema.AVERAGE_PRECISION: float(metrics.average_precision_score(y, p)),
        schema.BRIER: float(metrics.brier_score_loss(y, p)),
        schema.CALIBRATION_ERROR: float((gaps * filled["reviews"]).sum() / len(y)),
    }


def compute_log_losses(labels: ArrayLike, probabilities: ArrayLike) -> np.ndarray:
    """Compute the binary cross-entropy of each row in nats, [n], clipped as in scikit-learn's mean.

    Args:
        labels: 0 or 1, [n].
        probabilities: probability of 1, [n].
    """
    y, p = np.asarray(labels, dtype=float), np.asarray(probabilities, dtype=float)
    p = np.clip(p, np.finfo(float).eps, 1 - np.finfo(float).eps)
    return np.asarray(-(xlogy(y, p) + xlog1py(1 - y, -p)))


def _compute_wilson(share: float, n: float) -> tuple[float, float]:
    """Compute Wilson's interval of a share of n independent rows; unlike in ``binomtest``, n may be fractional."""
    square = NORMAL**2
    middle = share + square / (2 * n)
    half = NORMAL * math.sqrt(share * (1 - share) / n + square / (4 * n**2))
    return max(0.0, (middle - half) / (1 + square / n)), min(1.0, (middle + half) / (1 + square / n))


def compute_calibration(labels: ArrayLike, probabilities: ArrayLike) -> pd.DataFrame:
    """Compute ten bins of equal width: low, high, reviews, mean probability and share of label 1 (NaN if empty)."""
    y, p = np.asarray(labels, dtype=float), np.asarray(probabilities, dtype=float)
    bins = np.minimum((p * BINS).astype(int), BINS - 1)
    count = np.bincount(bins, minlength=BINS)
    with np.errstate(invalid="ignore"):
        return pd.DataFrame(
            {
                "low": np.arange(BINS) / BINS,
                "high": (np.arange(BINS) + 1) / BINS,
                "reviews": count,
                "probability": np.bincount(bins, p, BINS) / count,
                "positive": np.bincount(bins, y, BINS) / count,
            }
        )
