import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import log_loss

from imdb_conv1d.metrics import compute_calibration, compute_log_losses, compute_scores

LABELS = [1, 1, 1, 0, 0]
PROBABILITIES = [0.9, 0.8, 0.4, 0.6, 0.1]


def test_compute_scores_equals_a_calculation_by_hand() -> None:
    found = compute_scores(LABELS, PROBABILITIES)
    # At threshold 0.5: two true positives, one false negative, one false positive, one true negative.
    assert found["accuracy"] == 3 / 5
    assert found["precision"] == pytest.approx(2 / 3)
    assert found["recall"] == pytest.approx(2 / 3)
    assert found["f1"] == pytest.approx(2 / 3)
    assert found["loss"] == pytest.approx(-sum(map(math.log, [0.9, 0.8, 0.4, 0.4, 0.9])) / 5)
    assert found["brier"] == pytest.approx((0.01 + 0.04 + 0.36 + 0.36 + 0.01) / 5)
    assert found["roc_auc"] == pytest.approx(5 / 6)  # of six pairs only (0.4, 0.6) is in the wrong order
    assert found["average_precision"] == pytest.approx((1 + 1 + 3 / 4) / 3)
    # 0.9, 0.8, 0.4, 0.6 and 0.1 fall into separate bins.
    assert found["calibration_error"] == pytest.approx((0.1 + 0.2 + 0.6 + 0.6 + 0.1) / 5)


def test_accuracy_interval_is_newcombes_example() -> None:
    # Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662.
    found = compute_scores([1] * 81 + [0] * 182, [0.9] * 263)
    assert (round(found["accuracy_low"], 4), round(found["accuracy_high"], 4)) == (0.2553, 0.3662)


def test_accuracy_interval_with_copies_is_not_narrower() -> None:
    labels, probabilities, texts = [1] * 81 + [0] * 182, [0.9] * 263, [f"text {n}" for n in range(263)]
    found = compute_scores(labels * 5, probabilities * 5, texts * 5)  # counted as separate rows: 0.2840 to 0.3333
    assert found["accuracy"] == pytest.approx(81 / 263)
    assert (round(found["accuracy_low"], 4), round(found["accuracy_high"], 4)) == (0.2553, 0.3662)
    # One text fifty times and fifty others: effectively (50 + 50)² / (50² + 50) = 3.9 rows.
    found = compute_scores([1] * 99 + [0], [0.9] * 100, ["a"] * 50 + texts[:50])
    assert found["accuracy"] == 0.99
    assert found["accuracy_low"] < 0.5


@given(st.integers(0, 30), st.integers(1, 30))
@settings(max_examples=30, deadline=None)
def test_accuracy_interval_without_copies_is_scipys(right: int, wrong: int) -> None:
    found = compute_scores([1] * right + [1] * wrong + [0], [0.9] * right + [0.1] * wrong + [0.1])
    expected = binomtest(right + 1, right + wrong + 1).proportion_ci(0.95, method="wilson")
    assert (found["accuracy_low"], found["accuracy_high"]) == pytest.approx((expected.low, expected.high))


def test_compute_scores_at_probability_one_half_predicts_negative() -> None:
    assert compute_scores([0, 1], [0.5, 0.6])["accuracy"] == 1


def test_compute_scores_of_certain_mistakes_is_finite() -> None:
    assert all(math.isfinite(value) for value in compute_scores([0, 1], [1.0, 0.0]).values())


def test_compute_scores_of_one_label_is_refused() -> None:
    with pytest.raises(ValueError, match="both labels"):
        compute_scores([1, 1], [0.1, 0.9])


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=50))
@settings(max_examples=100, deadline=None)
def test_compute_calibration_counts_every_review_once(rows: list[tuple[int, float]]) -> None:
    labels, probabilities = map(np.array, zip(*rows, strict=True))
    bins = compute_calibration(labels, probabilities)
    assert bins["reviews"].sum() == len(rows)
    for low, high, count in bins[["low", "high", "reviews"]].itertuples(index=False):
        inside = (probabilities >= low - 1e-12) & ((probabilities < high) | ((high == 1) & (probabilities == 1)))
        assert count <= inside.sum() + 1e-9
    filled = bins[bins["reviews"] > 0]
    assert (filled["positive"] * filled["reviews"]).sum() == pytest.approx(labels.sum())


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=2, max_size=30))
def test_compute_log_losses_have_scikit_learns_mean(rows: list[tuple[bool, float]]) -> None:
    labels, probabilities = [int(label) for label, _ in rows], [value for _, value in rows]
    expected = log_loss(labels, probabilities, labels=[0, 1])
    assert compute_log_losses(labels, probabilities).mean() == pytest.approx(expected, rel=1e-9, abs=1e-12)
