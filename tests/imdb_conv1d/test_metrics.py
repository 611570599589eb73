import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, f1_score, log_loss

from helpers.scores import compute_scores
from imdb_conv1d.experiment import EXPERIMENT
from imdb_conv1d.metrics import compute_calibration, compute_log_losses
from tracked.analysis.intervals import compute_interval

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


def draw_binary(rows: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, rows)
    return labels, 1 / (1 + np.exp(-(2 * labels - 1) * rng.normal(1, 1, rows)))


def test_scores_of_two_classes_have_macro_f1_and_the_losss_interval() -> None:
    labels, probabilities = draw_binary(500)
    found = compute_scores(labels, probabilities)
    assert found["macro_f1"] == pytest.approx(f1_score(labels, probabilities > 0.5, average="macro"))
    assert found["macro_f1_low"] < found["macro_f1"] < found["macro_f1_high"]
    expected = compute_interval(compute_log_losses(labels, probabilities))
    assert (found["loss_low"], found["loss_high"]) == pytest.approx(expected)
    assert found["loss_low"] < found["loss"] < found["loss_high"]


def test_intervals_of_too_few_rows_are_left_out() -> None:
    found = compute_scores(LABELS, PROBABILITIES)
    missing = {f"{name}_{end}" for name in ("loss", "macro_f1") for end in ("low", "high")}
    assert not missing & set(found)
    assert set(found) == {
        "loss", "accuracy", "accuracy_low", "accuracy_high", "macro_f1", "precision", "recall", "f1", "roc_auc",
        "average_precision", "brier", "calibration_error",
    }  # fmt: skip


def test_interval_of_the_loss_counts_copies_as_one() -> None:
    labels, probabilities = draw_binary(300)
    once = compute_scores(labels, probabilities, np.arange(300))
    often = compute_scores(np.tile(labels, 4), np.tile(probabilities, 4), np.tile(np.arange(300), 4))
    for name in ("loss", "loss_low", "loss_high", "macro_f1_low", "macro_f1_high"):
        assert often[name] == pytest.approx(once[name])
    # One text is half of the rows, and the interval says so; if it is wrong, the others' mistakes count for little.
    labels[0], many = 1, np.append(np.arange(300), [0] * 300)
    for probability, is_given in ((0.99, True), (0.01, False)):
        values = np.append(probabilities, [probability] * 300)
        uneven = compute_scores(np.append(labels, [1] * 300), values, many)
        assert ("loss_low" in uneven) is is_given
        if is_given:
            assert uneven["loss_low"] < uneven["loss"] < uneven["loss_high"]
            assert uneven["loss_high"] - uneven["loss_low"] > 2 * (once["loss_high"] - once["loss_low"])


def make_classes(rows: int, classes: int = 5) -> pd.DataFrame:
    rng = np.random.default_rng(4)
    label = rng.integers(0, classes, rows)
    predicted = np.where(rng.random(rows) < 0.8, label, rng.integers(0, classes, rows))
    p = rng.uniform(0.3, 1, rows)
    ids = [f"row {i}" for i in range(rows)]
    return pd.DataFrame(
        {
            "id": ids, "key": ids, "label": label, "predicted_label": predicted, "probability": p,
            "loss": np.where(label == predicted, -np.log(p), 3.0),
            "class": label.astype(str), "predicted": predicted.astype(str),
        }
    )  # fmt: skip


def test_scores_of_more_classes_equal_scikit_learns() -> None:
    table = make_classes(600)
    found = EXPERIMENT.score(table)
    assert set(found) == {
        "loss", "loss_low", "loss_high", "accuracy", "accuracy_low", "accuracy_high", "macro_f1", "macro_f1_low",
        "macro_f1_high", "calibration_error",
    }  # fmt: skip
    assert found["accuracy"] == pytest.approx(accuracy_score(table["label"], table["predicted_label"]))
    assert found["macro_f1"] == pytest.approx(f1_score(table["label"], table["predicted_label"], average="macro"))
    assert found["loss"] == pytest.approx(table["loss"].mean())
    wilson = binomtest(round(600 * found["accuracy"]), 600).proportion_ci(0.95, method="wilson")
    assert (found["accuracy_low"], found["accuracy_high"]) == pytest.approx((wilson.low, wilson.high))
    right, bins = table["label"] == table["predicted_label"], (table["probability"] * 10).astype(int).clip(upper=9)
    gaps = [
        abs(right[bins == b].mean() - table["probability"][bins == b].mean()) * (bins == b).mean() for b in set(bins)
    ]
    assert found["calibration_error"] == pytest.approx(sum(gaps))


def test_scores_of_more_classes_with_rows_of_one_are_refused() -> None:
    table = make_classes(50)
    with pytest.raises(ValueError, match="all reviews have the same label; scores need two labels"):
        EXPERIMENT.score(table[table["label"] == 2])


def test_summary_of_two_classes_names_the_roc_and_of_more_macro_f1() -> None:
    scores = {"loss": 0.25, "accuracy": 0.9, "accuracy_low": 0.88, "accuracy_high": 0.92, "macro_f1": 0.8}
    begin = "test_loss 0.2500, test_accuracy 0.9000 (95 % interval 0.8800 to 0.9200), "
    assert EXPERIMENT.summarize(scores | {"roc_auc": 0.95}) == f"{begin}ROC AUC 0.9500"
    assert EXPERIMENT.summarize(scores) == f"{begin}test_macro_f1 0.8000"
    ends = {"macro_f1_low": 0.75, "macro_f1_high": 0.85}
    assert EXPERIMENT.summarize(scores | ends) == f"{begin}test_macro_f1 0.8000 (95 % interval 0.7500 to 0.8500)"


def test_interval_of_the_loss_needs_five_texts_that_are_predicted_wrong() -> None:
    labels = np.tile([0, 1], 100)
    for wrong, is_given in ((4, False), (5, True)):
        probabilities = np.where(labels == 1, 0.8, 0.3) + np.linspace(0, 0.1, 200)
        probabilities[:wrong] = 1 - probabilities[:wrong]
        assert ("loss_low" in compute_scores(labels, probabilities)) is is_given
        texts = np.append(np.arange(200), 0)  # a copy of a mistake: effectively fewer than five
        found = compute_scores(np.append(labels, labels[0]), np.append(probabilities, probabilities[0]), texts)
        assert "loss_low" not in found
