"""Paired differences against other ways to the same numbers, and on data whose answer is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from imdb_conv1d.paired import log_losses, paired


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
    assert found.sentence("a", "b").endswith("on 500 reviews; the difference is within what chance does.")


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


def test_intervals_cover_no_difference_as_often_as_they_say() -> None:
    inside = significant = 0
    for seed in range(200):
        found = paired(*predictions(300, 0.8, 0.8, seed))
        inside += found.log_loss_low <= 0 <= found.log_loss_high
        significant += found.p_value < 0.05
    assert 0.9 <= inside / 200 <= 0.99
    assert significant / 200 <= 0.08


def test_one_difference_alone_is_named() -> None:
    labels = np.ones(400, dtype=int)
    found = paired(labels, np.full(400, 0.95), np.full(400, 0.9))
    assert found.sentence("a", "b").endswith("the difference in log loss is more than chance does, the other is not.")


def test_other_lengths_and_single_rows_are_refused() -> None:
    for labels, first, second in (([1, 0], [0.5], [0.5, 0.5]), ([1], [0.5], [0.5])):
        with pytest.raises(ValueError, match="the same rows, two or more, are needed"):
            paired(labels, first, second)
