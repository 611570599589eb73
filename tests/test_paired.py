"""Paired differences against other ways to the same numbers, and on data whose answer is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from tracked.analysis.paired import log_losses, paired


def predictions(rows: int, first: float, second: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels and the probabilities of two classifiers that are right in these shares of the rows, independently."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, rows)
    probabilities = [np.where(rng.random(rows) < share, labels, 1 - labels) * 0.6 + 0.2 for share in (first, second)]
    return labels, *probabilities


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=2, max_size=30))
def test_log_losses_have_scikit_learns_mean(rows: list[tuple[bool, float]]) -> None:
    labels, probabilities = [int(label) for label, _ in rows], [value for _, value in rows]
    expected = log_loss(labels, probabilities, labels=[0, 1])
    assert log_losses(labels, probabilities).mean() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_classifier_against_itself_differs_in_nothing() -> None:
    labels, first, _ = predictions(500, 0.8, 0.8)
    found = paired(labels, first, first)
    assert (found.accuracy, found.log_loss, found.first_only, found.second_only, found.p_value) == (0, 0, 0, 0, 1)
    assert math.isnan(found.log_loss_low)  # which was 0 to 0
    assert found.sentence("a", "b") == (
        "a against b: +0.00 points of accuracy (no interval; McNemar's p 1) and +0.0000 of log loss (no interval) on "
        "500 reviews; too few reviews differ to tell more than chance."
    )


def test_a_real_difference_is_found_with_its_size_and_sign() -> None:
    labels, first, second = predictions(4000, 0.9, 0.8)
    found = paired(labels, first, second)
    right = [(p > 0.5) == (labels == 1) for p in (first, second)]
    assert found.accuracy == pytest.approx(right[0].mean() - right[1].mean())
    assert found.accuracy_low < 0.1 < found.accuracy_high
    assert found.log_loss == pytest.approx(log_loss(labels, first) - log_loss(labels, second))
    assert found.log_loss_low < -0.1 * math.log(4) < found.log_loss_high < 0  # right or wrong: log 0.8 or log 0.2
    assert found.p_value < 1e-10
    turned = paired(labels, second, first)
    assert (turned.accuracy, turned.first_only) == (-found.accuracy, found.second_only)
    assert found.sentence("a", "b").endswith("both differences are more than chance does.")
    assert found.sentence("a", "b").startswith("a against b: +")


def test_mcnemars_test_is_the_binomial_one_of_the_rows_that_one_alone_gets_right() -> None:
    labels = np.ones(20, dtype=int)
    first, second = np.full(20, 0.9), np.full(20, 0.9)
    second[:6], first[19] = 0.1, 0.1
    found = paired(labels, first, second)
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
    wrong = ["more than chance does" in paired(*noisy(rows, seed)).sentence("a", "b") for seed in range(1000)]
    assert np.mean(wrong) <= 0.055 < before


def test_a_difference_at_one_in_thirty_is_not_called_more_than_chance() -> None:
    labels, first, second = np.ones(150, dtype=int), np.full(150, 0.9), np.full(150, 0.9)
    second[:10], first[39], first[38] = 0.1, 0.1, 0.1
    found = paired(labels, first, second)
    assert found.p_value == pytest.approx(0.0386, abs=1e-4)
    assert "accuracy is more" not in found.sentence("a", "b")
    first[38] = 0.9
    assert paired(labels, first, second).p_value == pytest.approx(0.0117, abs=1e-4)
    assert paired(labels, first, second).sentence("a", "b").endswith("both differences are more than chance does.")


def test_one_difference_alone_is_named() -> None:
    labels, first = np.ones(400, dtype=int), np.linspace(0.93, 0.97, 400)
    sentence = paired(labels, first, first - 0.05).sentence("a", "b")
    assert sentence.endswith("the difference in log loss is more than chance does, the other is not.")
    labels, first, second = np.ones(20, dtype=int), np.full(20, 0.9), np.full(20, 0.1)
    sentence = paired(labels, first, second).sentence("a", "b")
    assert sentence.endswith("accuracy is more than chance does; too few reviews differ to tell of log loss.")


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0.01, 0.99), st.floats(0.01, 0.99)), min_size=2, max_size=40),
    st.integers(2, 5),
)
def test_copies_of_texts_count_once(rows: list[tuple[bool, float, float]], copies: int) -> None:
    labels, first, second = map(np.array, zip(*rows, strict=True))
    texts = [f"{number:03}" for number in range(len(rows))]
    once = paired(labels, first, second, texts)
    many = paired(np.tile(labels, copies), np.tile(first, copies), np.tile(second, copies), texts * copies)
    assert (once.rows, once.copies) == (len(rows), 0)
    assert (many.rows, many.copies) == (len(rows), len(rows) * (copies - 1))
    for name in ("accuracy", "accuracy_low", "log_loss", "log_loss_low", "log_loss_high", "p_value", "first_only"):
        assert getattr(many, name) == pytest.approx(getattr(once, name), nan_ok=True)


def test_a_text_under_both_labels_is_one_row_that_tells_the_two_not_apart() -> None:
    found = paired([1, 0, 1, 1], [0.9, 0.9, 0.9, 0.8], [0.1, 0.1, 0.9, 0.9], ["a", "a", "b", "c"])
    assert (found.rows, found.copies, found.first_only, found.second_only) == (3, 1, 0, 0)
    assert "on 3 reviews, 1 repeated row left out;" in found.sentence("x", "y")


def test_other_lengths_and_single_rows_are_refused() -> None:
    for labels, first, second in (([1, 0], [0.5], [0.5, 0.5]), ([1], [0.5], [0.5])):
        with pytest.raises(ValueError, match="the same rows, two or more, are needed"):
            paired(labels, first, second)
