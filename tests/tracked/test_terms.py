"""An experiment's words for rows and loss, in sentences and names."""

import math

import pytest

from imdb_conv1d.experiment import TERMS
from tracked.experiment import Terms

pytestmark = pytest.mark.unit


def test_terms_derive_plural_article_and_keys() -> None:
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


@pytest.mark.parametrize(("max_loss", "digits"), [(math.log(1000), 4), (1, 4), (200, 2), (0.05, 6), (1e7, 0)])
def test_digits_of_any_max_loss_show_its_100000th(max_loss: float, digits: int) -> None:
    assert Terms(max_loss=max_loss).digits == digits


@pytest.mark.parametrize("max_loss", [0, -1, math.inf, math.nan])
def test_terms_without_a_finite_max_loss_are_refused(max_loss: float) -> None:
    with pytest.raises(ValueError, match=r"max_loss: .* is not allowed; allowed: a finite number above 0"):
        Terms(max_loss=max_loss)


def test_terms_whose_row_is_row_are_refused() -> None:
    with pytest.raises(ValueError, match="row: 'row' is not allowed"):
        Terms(row="row")
