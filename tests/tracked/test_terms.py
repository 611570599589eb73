"""What an experiment calls its rows and their loss, in sentences and names."""

import math

import pytest

from imdb_conv1d.experiment import TERMS
from tracked.experiment import Terms


def test_terms_in_sentences_and_in_names() -> None:
    assert (TERMS.rows, TERMS.a_row, TERMS.loss_key, TERMS.correct_key) == (
        "reviews",
        "a review",
        "log_loss",
        "accuracy",
    )
    assert [Terms(row=row).a_row for row in ("example", "image", "user", "line")] == [
        "an example", "an image", "a user", "a line",
    ]  # fmt: skip
    assert Terms(correct="share of hits").correct_key == "share_of_hits"


@pytest.mark.parametrize(("most", "digits"), [(math.log(1000), 4), (1, 4), (200, 2), (0.05, 6), (1e7, 0)])
def test_digits_follow_from_the_most_that_a_row_counts_for(most: float, digits: int) -> None:
    assert Terms(max_loss=most).digits == digits


@pytest.mark.parametrize("most", [0, -1, math.inf, math.nan])
def test_terms_without_a_most_are_refused(most: float) -> None:
    with pytest.raises(ValueError, match=r"max_loss: .* is not allowed; allowed: a finite number above 0"):
        Terms(max_loss=most)


def test_a_row_is_called_otherwise_than_row() -> None:
    with pytest.raises(ValueError, match="row: 'row' is not allowed"):
        Terms(row="row")
