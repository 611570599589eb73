"""Scores of a classifier, computed by scikit-learn where it has them."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import logsumexp, xlog1py, xlogy
from sklearn import metrics

from imdb_conv1d import schema
from imdb_conv1d.class_scores import compute_macro_f1
from imdb_conv1d.outcomes import Outcomes
from imdb_conv1d.row_intervals import compute_mean_interval, compute_wilson, count_effective

BINS = 10
# Texts, effectively. Mistakes make most of the loss: by simulation (bench/class_intervals.py), with fewer of them 83 to
# 90 of 100 intervals hold the mean, and from here on 93 or more.
MIN_MISTAKES = 5


def score(outcomes: Outcomes) -> dict[str, float]:
    """Compute the scores of a classifier; an interval is left out where the rows allow none.

    Returns:
        loss (mean cross-entropy in nats) with ``loss_low`` and ``loss_high``, its 95 % interval; accuracy with
        ``accuracy_low`` and ``accuracy_high`` (Wilson 1927) for the effective number of rows; macro_f1 with
        ``macro_f1_low`` and ``macro_f1_high``; and calibration_error, the expected calibration error over ten bins of
        equal width (Naeini et al. 2015), of more than two classes for the predicted one. Of two classes also
        precision, recall and f1 of the positive label, roc_auc, average_precision and brier.

    Raises:
        ValueError: if only one label occurs.
    """
    if len(np.unique(outcomes.true)) < 2:
        needed = "both labels" if outcomes.is_binary else "two labels"
        raise ValueError(f"all reviews have the same label; scores need {needed}")
    y, p = outcomes.true, outcomes.probability
    accuracy = int(outcomes.right.sum()) / len(y)
    loss = float(metrics.log_loss(y, p)) if outcomes.is_binary else float(outcomes.loss.mean())
    macro, *macro_ends = compute_macro_f1(outcomes)
    bins = compute_calibration(y if outcomes.is_binary else outcomes.right, p)
    filled = bins[bins["reviews"] > 0]
    gaps = (filled["probability"] - filled["positive"]).abs()
    scores = {schema.LOSS: loss}
    scores |= _keep_interval((schema.LOSS_LOW, schema.LOSS_HIGH), compute_loss_interval(outcomes))
    scores[schema.ACCURACY] = accuracy
    ends = compute_wilson(accuracy, count_effective(outcomes.texts, len(y)))
    scores |= _keep_interval((schema.ACCURACY_LOW, schema.ACCURACY_HIGH), ends)
    scores[schema.MACRO_F1] = macro
    scores |= _keep_interval((schema.MACRO_F1_LOW, schema.MACRO_F1_HIGH), macro_ends)
    if outcomes.is_binary:
        scores |= _score_positive(y, outcomes.predicted, p)
    return scores | {schema.CALIBRATION_ERROR: float((gaps * filled["reviews"]).sum() / len(y))}


def compute_loss_interval(outcomes: Outcomes) -> tuple[float, float]:
    """Compute the 95 % interval of the mean loss; (NaN, NaN) with fewer mistakes than ``MIN_MISTAKES``."""
    wrong = outcomes.texts[~outcomes.right]
    if not len(wrong) or count_effective(wrong, len(wrong)) < MIN_MISTAKES:
        return math.nan, math.nan
    return compute_mean_interval(outcomes.loss, outcomes.texts)


def _score_positive(y: np.ndarray, predicted: np.ndarray, p: np.ndarray) -> dict[str, float]:
    """Compute the scores that take one of two labels as the positive one."""
    return {
        schema.PRECISION: float(metrics.precision_score(y, predicted, zero_division=0)),
        schema.RECALL: float(metrics.recall_score(y, predicted)),
        schema.F1: float(metrics.f1_score(y, predicted)),
        schema.ROC_AUC: float(metrics.roc_auc_score(y, p)),
        schema.AVERAGE_PRECISION: float(metrics.average_precision_score(y, p)),
        schema.BRIER: float(metrics.brier_score_loss(y, p)),
    }


def _keep_interval(names: tuple[str, str], ends: Sequence[float]) -> dict[str, float]:
    return {} if math.isnan(ends[0]) else dict(zip(names, ends, strict=True))


def compute_log_losses(labels: ArrayLike, probabilities: ArrayLike) -> np.ndarray:
    """Compute the binary cross-entropy of each row in nats, [n], clipped as in scikit-learn's mean.

    Args:
        labels: 0 or 1, [n].
        probabilities: probability of 1, [n].
    """
    y, p = np.asarray(labels, dtype=float), np.asarray(probabilities, dtype=float)
    p = np.clip(p, np.finfo(float).eps, 1 - np.finfo(float).eps)
    return np.asarray(-(xlogy(y, p) + xlog1py(1 - y, -p)))


def compute_logit_losses(codes: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Compute the cross-entropy of each row in nats, float64 [n], from float64 logits: nothing is clipped.

    Args:
        codes: the true classes, [n].
        logits: the log odds of class 1, [n], or each class's logit, [n, classes].
    """
    if logits.ndim == 1:
        return np.asarray(np.logaddexp(0, logits) - codes * logits)
    true = np.take_along_axis(logits, np.asarray(codes, dtype=np.int64)[:, np.newaxis], axis=1)[:, 0]
    return np.asarray(logsumexp(logits, axis=1) - true)


def compute_class_losses(probabilities: ArrayLike) -> np.ndarray:
    """Compute the cross-entropy of each row in nats, [n], clipped as that of two classes.

    Args:
        probabilities: of the row's true class, [n].
    """
    return np.asarray(-np.log(np.clip(probabilities, np.finfo(float).eps, 1 - np.finfo(float).eps)))


def compute_calibration(labels: ArrayLike, probabilities: ArrayLike) -> pd.DataFrame:
    """Compute ten bins of equal width: low, high, reviews, mean probability and share of label 1 (NaN if empty).

    Args:
        labels: 0 or 1, [n]; for the calibration of the predicted class, whether it is right.
        probabilities: probability of 1, [n].
    """
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
