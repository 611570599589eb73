"""Paired differences against other ways to the same numbers, and on data whose answer is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from imdb_conv1d.experiment import TERMS
from imdb_conv1d.metrics import compute_log_losses
from tracked.analysis.paired import PairedComparison, compare_losses
from tracked.experiment import Terms


def predictions(rows: int, first: float, second: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels and the probabilities of two classifiers that are right in these shares of the rows, independently."""
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


def test_a_classifier_against_itself_differs_in_nothing() -> None:
    labels, first, _ = predictions(500, 0.8, 0.8)
    found = compared(labels, first, first)
    assert (found.correct, found.loss, found.first_only, found.second_only, found.p_value) == (0, 0, 0, 0, 1)
    assert math.isnan(found.loss_low)  # which was 0 to 0
    assert found.describe("a", "b", TERMS) == (
        "a against b: +0.00 points of accuracy (no interval; McNemar's p 1) and +0.0000 of log loss (no interval) on "
        "500 reviews; too few reviews differ to tell more than chance."
    )


def test_a_real_difference_is_found_with_its_size_and_sign() -> None:
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
    assert found.describe("a", "b", TERMS).endswith("both differences are more than chance does.")
    assert found.describe("a", "b", TERMS).startswith("a against b: +")


def test_mcnemars_test_is_the_binomial_one_of_the_rows_that_one_alone_gets_right() -> None:
    labels = np.ones(20, dtype=int)
    first, second = np.full(20, 0.9), np.full(20, 0.9)
    second[:6], first[19] = 0.1, 0.1
    found = compared(labels, first, second)
    assert (found.first_only, found.second_only) == (6, 1)
    assert found.p_value == pytest.approx(2 * (1 + 7) / 2**7)


def noisy(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels and the probabilities of two classifiers that are equally good, and agree in most rows."""
    rng = np.random.default_rng(seed)
    labels, shared = rng.integers(0, 2, rows), rng.normal(1.5, 1.5, rows)
    logits = [(2 * labels - 1) * (shared + rng.normal(0, 0.8, rows)) for _ in range(2)]
    return labels, *(1 / (1 + np.exp(-logit)) for logit in logits)


@pytest.mark.parametrize(("rows", "before"), [(2, 0.48), (10, 0.12), (100, 0.10), (1000, 0.065)])
def test_verdict_on_equal_models_errs_in_at_most_one_of_twenty(rows: int, before: float) -> None:
    """``before`` is the share when each figure was tested at one in twenty, log loss by a percentile bootstrap."""
    wrong = ["more than chance does" in compared(*noisy(rows, seed)).describe("a", "b", TERMS) for seed in range(1000)]
    assert np.mean(wrong) <= 0.055 < before


def test_a_difference_at_one_in_thirty_is_not_called_more_than_chance() -> None:
    labels, first, second = np.ones(150, dtype=int), np.full(150, 0.9), np.full(150, 0.9)
    second[:10], first[39], first[38] = 0.1, 0.1, 0.1
    found = compared(labels, first, second)
    assert found.p_value == pytest.approx(0.0386, abs=1e-4)
    assert "accuracy is more" not in found.describe("a", "b", TERMS)
    first[38] = 0.9
    found = compared(labels, first, second)
    assert found.p_value == pytest.approx(0.0117, abs=1e-4)
    assert found.describe("a", "b", TERMS).endswith("both differences are more than chance does.")


def test_one_difference_alone_is_named() -> None:
    labels, first = np.ones(400, dtype=int), np.linspace(0.93, 0.97, 400)
    sentence = compared(labels, first, first - 0.05).describe("a", "b", TERMS)
    assert sentence.endswith("the difference in log loss is more than chance does, the other is not.")
    labels, first, second = np.ones(20, dtype=int), np.full(20, 0.9), np.full(20, 0.1)
    sentence = compared(labels, first, second).describe("a", "b", TERMS)
    assert sentence.endswith("accuracy is more than chance does; too few reviews differ to tell of log loss.")


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0.01, 0.99), st.floats(0.01, 0.99)), min_size=2, max_size=40),
    st.integers(2, 5),
)
def test_copies_of_texts_count_once(rows: list[tuple[bool, float, float]], copies: int) -> None:
    labels, first, second = map(np.array, zip(*rows, strict=True))
    texts = [f"{number:03}" for number in range(len(rows))]
    once = compared(labels, first, second, texts)
    many = compared(np.tile(labels, copies), np.tile(first, copies), np.tile(second, copies), texts * copies)
    assert (once.rows, once.copies) == (len(rows), 0)
    assert (many.rows, many.copies) == (len(rows), len(rows) * (copies - 1))
    for name in ("correct", "correct_low", "loss", "loss_low", "loss_high", "p_value", "first_only"):
        assert getattr(many, name) == pytest.approx(getattr(once, name), nan_ok=True)


def test_a_text_under_both_labels_is_one_row_that_tells_the_two_not_apart() -> None:
    found = compared([1, 0, 1, 1], [0.9, 0.9, 0.9, 0.8], [0.1, 0.1, 0.9, 0.9], ["a", "a", "b", "c"])
    assert (found.rows, found.copies, found.first_only, found.second_only) == (3, 1, 0, 0)
    assert "on 3 reviews, 1 repeated row left out;" in found.describe("x", "y", TERMS)


def test_other_lengths_and_single_rows_are_refused() -> None:
    two = np.array([True, False])
    for first, second, right in (
        ([0.7], [0.7, 0.7], None),
        ([0.7, 0.7], [0.7], None),
        ([0.7], [0.7], None),
        ([0.7, 0.7], [0.7, 0.7], (two, two[:1])),
        ([0.7] * 3, [0.7] * 3, (two, two)),
    ):
        with pytest.raises(ValueError, match="the same rows, two or more, are needed"):
            compare_losses(first, second, correct=right)


def test_figures_have_the_experiments_names_in_the_order_of_the_table() -> None:
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
    """Absolute errors, in tens, of two models that share most of what they know."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, 55, rows)
    return np.abs(shared + rng.normal(0, 20, rows)) + worse_by, np.abs(shared + rng.normal(0, 20, rows))


def test_losses_in_tens_with_no_right_or_wrong_are_compared_by_the_loss_alone() -> None:
    first, second = errors(1000, 1, worse_by=5)
    found = compare_losses(first, second)
    assert found.loss == pytest.approx(first.mean() - second.mean())
    assert found.loss_low < 5 < found.loss_high
    assert found.loss_is_real == (found.loss_low > 0)  # one figure is tested, so by the interval that is told
    assert math.isnan(found.correct)
    assert math.isnan(found.p_value)
    assert found.describe("a", "b", PATIENTS) == (
        f"a against b: {found.loss:+.2f} of absolute error ({found.loss_low:+.2f} to {found.loss_high:+.2f}) on 1,000 "
        "patients; the difference is more than chance does."
    )
    assert list(found.to_columns(PATIENTS)) == [
        "rows", "absolute_error", "absolute_error_low", "absolute_error_high", "absolute_error_is_real", "copies",
    ]  # fmt: skip
    within = compare_losses(second, second[::-1]).describe("a", "b", PATIENTS)
    assert within.endswith("; the difference is within what chance does.")
    few = compare_losses(first[:50], second[:50]).describe("a", "b", PATIENTS)
    assert few.endswith("(no interval) on 50 patients; too few patients differ to tell more than chance.")


def test_verdict_on_the_loss_alone_of_equal_models_errs_in_at_most_one_of_twenty() -> None:
    wrong = [compare_losses(*errors(500, seed)).loss_is_real for seed in range(1000)]
    assert 0.03 <= np.mean(wrong) <= 0.065
