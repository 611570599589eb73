"""Paired differences against other computations of the same numbers, and on data with a known answer."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from imdb_conv1d.experiment import TERMS
from imdb_conv1d.metrics import compute_log_losses
from tracked.analysis.paired import PairedComparison, compare_losses
from tracked.experiment import Terms

pytestmark = pytest.mark.unit


def predictions(rows: int, first: float, second: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels and the probabilities of two independent classifiers, right in these shares of the rows."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, rows)
    probabilities = [np.where(rng.random(rows) < share, labels, 1 - labels) * 0.6 + 0.2 for share in (first, second)]
    return labels, *probabilities


def compared(
    labels: np.ndarray, first: np.ndarray, second: np.ndarray, keys: list[str] | None = None
) -> PairedComparison:
    """Pair two classifiers' probabilities by their log losses and by what they get right."""
    losses = [compute_log_losses(labels, probabilities) for probabilities in (first, second)]
    right = [(np.asarray(p) > 0.5) == (np.asarray(labels) == 1) for p in (first, second)]
    return compare_losses(*losses, keys, (right[0], right[1]))


def test_compare_losses_of_a_classifier_with_itself_finds_no_difference() -> None:
    labels, first, _ = predictions(500, 0.8, 0.8)
    found = compared(labels, first, first)
    assert (found.correct, found.loss, found.first_only, found.second_only, found.p_value) == (0, 0, 0, 0, 1)
    assert math.isnan(found.loss_low)  # a bootstrap gave 0 to 0
    assert found.describe("a", "b", TERMS) == (
        "a against b: +0.00 points of accuracy (no interval; McNemar's p 1) and +0.0000 of log loss (no interval) on "
        "500 reviews; no significant difference; too few reviews differ to test log loss."
    )


def test_compare_losses_of_unequal_classifiers_gives_size_and_sign() -> None:
    labels, first, second = predictions(4000, 0.9, 0.8)
    found = compared(labels, first, second)
    right = [(p > 0.5) == (labels == 1) for p in (first, second)]
    assert found.correct == pytest.approx(right[0].mean() - right[1].mean())
    assert found.correct_low < 0.1 < found.correct_high
    assert found.loss == pytest.approx(log_loss(labels, first) - log_loss(labels, second))
    assert found.loss_low < -0.1 * math.log(4) < found.loss_high < 0  # right or wrong: log 0.8 or log 0.2
    assert found.p_value < 1e-10
    turned = compared(labels, second, first)
    assert (turned.correct, turned.first_only) == (-found.correct, found.second_only)
    assert found.describe("a", "b", TERMS).endswith("; both differences are significant.")
    assert found.describe("a", "b", TERMS).startswith("a against b: +")


def test_p_value_is_the_binomial_test_of_the_discordant_rows() -> None:
    labels = np.ones(20, dtype=int)
    first, second = np.full(20, 0.9), np.full(20, 0.9)
    second[:6], first[19] = 0.1, 0.1
    found = compared(labels, first, second)
    assert (found.first_only, found.second_only) == (6, 1)
    assert found.p_value == pytest.approx(2 * (1 + 7) / 2**7)


def noisy(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels and the probabilities of two equally good classifiers that agree in most rows."""
    rng = np.random.default_rng(seed)
    labels, shared = rng.integers(0, 2, rows), rng.normal(1.5, 1.5, rows)
    logits = [(2 * labels - 1) * (shared + rng.normal(0, 0.8, rows)) for _ in range(2)]
    return labels, *(1 / (1 + np.exp(-logit)) for logit in logits)


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "before"), [(2, 0.48), (10, 0.12), (100, 0.10), (1000, 0.065)])
def test_verdict_on_equal_models_errs_in_at_most_one_of_twenty(rows: int, before: float) -> None:
    """``before``: the share with each figure tested at 0.05, log loss by a percentile bootstrap."""
    verdicts = [compared(*noisy(rows, seed)).describe("a", "b", TERMS) for seed in range(1000)]
    wrong = [bool(re.search("(is|are) significant", verdict)) for verdict in verdicts]
    assert np.mean(wrong) <= 0.055 < before


def test_verdict_at_a_p_value_of_one_in_thirty_is_not_significant() -> None:
    labels, first, second = np.ones(150, dtype=int), np.full(150, 0.9), np.full(150, 0.9)
    second[:10], first[39], first[38] = 0.1, 0.1, 0.1
    found = compared(labels, first, second)
    assert found.p_value == pytest.approx(0.0386, abs=1e-4)
    assert "accuracy is significant" not in found.describe("a", "b", TERMS)
    first[38] = 0.9
    found = compared(labels, first, second)
    assert found.p_value == pytest.approx(0.0117, abs=1e-4)
    assert found.describe("a", "b", TERMS).endswith("; both differences are significant.")


def test_verdict_with_one_significant_difference_names_it() -> None:
    labels, first = np.ones(400, dtype=int), np.linspace(0.93, 0.97, 400)
    sentence = compared(labels, first, first - 0.05).describe("a", "b", TERMS)
    assert sentence.endswith("the difference in log loss is significant, the other is not.")
    labels, first, second = np.ones(20, dtype=int), np.full(20, 0.9), np.full(20, 0.1)
    sentence = compared(labels, first, second).describe("a", "b", TERMS)
    assert sentence.endswith("accuracy is significant; too few reviews differ to test log loss.")


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0.01, 0.99), st.floats(0.01, 0.99)), min_size=2, max_size=40),
    st.integers(2, 5),
)
def test_compare_losses_with_copied_rows_counts_them_once(rows: list[tuple[bool, float, float]], copies: int) -> None:
    labels, first, second = map(np.array, zip(*rows, strict=True))
    texts = [f"{number:03}" for number in range(len(rows))]
    once = compared(labels, first, second, texts)
    many = compared(np.tile(labels, copies), np.tile(first, copies), np.tile(second, copies), texts * copies)
    assert (once.rows, once.copies) == (len(rows), 0)
    assert (many.rows, many.copies) == (len(rows), len(rows) * (copies - 1))
    for name in ("correct", "correct_low", "loss", "loss_low", "loss_high", "p_value", "first_only"):
        assert getattr(many, name) == pytest.approx(getattr(once, name), nan_ok=True)


def test_compare_losses_of_a_text_under_both_labels_counts_one_undecided_row() -> None:
    found = compared([1, 0, 1, 1], [0.9, 0.9, 0.9, 0.8], [0.1, 0.1, 0.9, 0.9], ["a", "a", "b", "c"])
    assert (found.rows, found.copies, found.first_only, found.second_only) == (3, 1, 0, 0)
    assert "on 3 reviews, 1 repeated row left out;" in found.describe("x", "y", TERMS)


def test_compare_losses_of_different_lengths_or_one_row_is_refused() -> None:
    two = np.array([True, False])
    for first, second, right in (
        ([0.7], [0.7, 0.7], None),
        ([0.7, 0.7], [0.7], None),
        ([0.7], [0.7], None),
        ([0.7, 0.7], [0.7, 0.7], (two, two[:1])),
        ([0.7] * 3, [0.7] * 3, (two, two)),
    ):
        with pytest.raises(ValueError, match=r"the lengths are .*; allowed: the same rows, 2 or more"):
            compare_losses(first, second, correct=right)


def test_to_columns_uses_the_experiments_names_in_order() -> None:
    labels, first, second = predictions(400, 0.9, 0.8)
    found = compared(labels, first, second)
    figures = found.to_columns(TERMS)
    assert list(figures) == [
        "rows", "accuracy", "accuracy_low", "accuracy_high", "log_loss", "log_loss_low", "log_loss_high",
        "first_only", "second_only", "p_value", "log_loss_is_real", "copies",
    ]  # fmt: skip
    assert (figures["accuracy"], figures["log_loss"]) == (found.correct, found.loss)
    assert (figures["log_loss_is_real"], figures["p_value"]) == (found.loss_is_real, found.p_value)


PATIENTS = Terms(row="patient", loss="absolute error", unit="points", max_loss=200, margin=10)


def errors(rows: int, seed: int, worse_by: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Absolute errors, in tens, of two correlated models."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, 55, rows)
    return np.abs(shared + rng.normal(0, 20, rows)) + worse_by, np.abs(shared + rng.normal(0, 20, rows))


def test_compare_losses_of_regressions_compares_the_loss_alone() -> None:
    first, second = errors(1000, 1, worse_by=5)
    found = compare_losses(first, second)
    assert found.loss == pytest.approx(first.mean() - second.mean())
    assert found.loss_low < 5 < found.loss_high
    assert found.loss_is_real == (found.loss_low > 0)  # one figure is tested, so by the interval shown
    assert math.isnan(found.correct)
    assert math.isnan(found.p_value)
    assert found.describe("a", "b", PATIENTS) == (
        f"a against b: {found.loss:+.2f} of absolute error ({found.loss_low:+.2f} to {found.loss_high:+.2f}) on 1,000 "
        "patients; the difference is significant."
    )
    assert list(found.to_columns(PATIENTS)) == [
        "rows", "absolute_error", "absolute_error_low", "absolute_error_high", "absolute_error_is_real", "copies",
    ]  # fmt: skip
    within = compare_losses(second, second[::-1]).describe("a", "b", PATIENTS)
    assert within.endswith("patients; no significant difference.")
    few = compare_losses(first[:50], second[:50]).describe("a", "b", PATIENTS)
    assert few.endswith("on 50 patients; no significant difference; too few patients differ to test absolute error.")


@pytest.mark.slow
def test_verdict_on_the_loss_alone_of_equal_models_errs_in_at_most_one_of_twenty() -> None:
    wrong = [compare_losses(*errors(500, seed)).loss_is_real for seed in range(1000)]
    assert 0.03 <= np.mean(wrong) <= 0.065
