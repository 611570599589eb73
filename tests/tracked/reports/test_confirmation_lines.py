"""What people read about the winner of a search."""

import math

import pytest

from tracked.analysis.confirmation import Candidate, confirm
from tracked.reports.confirmation_lines import describe_confirmation, describe_unconfirmed

pytestmark = pytest.mark.unit

DEFAULTS = {1: 0.52, 2: 0.50, 3: 0.51}


def test_description_of_a_confirmed_lead_gives_its_interval_bias_and_version() -> None:
    candidates = [
        Candidate(4, 0.20, {1: 0.31, 2: 0.29, 3: 0.33}),
        Candidate(9, 0.22, {1: 0.24, 2: 0.25, 3: 0.23}),
    ]
    result = confirm(candidates, DEFAULTS, [1, 2, 3], "min")
    assert describe_confirmation(result, "val_loss") == (
        "Trial 9 wins: with 3 new seeds it has val_loss 0.24, the defaults 0.51 "
        f"(better by 0.27, 95 % interval {result.winner.low:.2g} to {result.winner.high:.2g}); its lead is confirmed. "
        "In the search, val_loss of the best 2 trials looked better by 0.065 than with the new seeds on average, that "
        "of trial 9 better by 0.02. The version is the median of its trainings, with seed 1: val_loss 0.24."
    )


def test_description_of_one_seed_says_that_nothing_is_confirmed() -> None:
    result = confirm([Candidate(4, 0.5, {1: 0.3})], {1: 0.52}, [1], "min")
    assert describe_confirmation(result, "val_loss") == (
        "Trial 4 wins: with 1 new seed it has val_loss 0.3, the defaults 0.52 (better by 0.22; the trainings allow no "
        "interval); its lead is not confirmed. In the search, val_loss of trial 4 looked worse by 0.2 than with the "
        "new seeds. The version is its only training, with seed 1: val_loss 0.3."
    )


def test_description_of_defaults_that_win_names_the_best_candidate_and_its_failures() -> None:
    candidates = [Candidate(4, None, {1: 0.1, 2: math.nan, 3: 0.1}), Candidate(5, None, {})]
    result = confirm(candidates, DEFAULTS, [1, 2, 3], "min")
    assert describe_confirmation(result, "val_loss") == (
        "No trial is better than the defaults: with 3 new seeds they have val_loss 0.51; trial 4, the best candidate, "
        "has 0.1 (1 training without a value). The version is the median of their trainings, with seed 3: val_loss "
        "0.51."
    )


def test_description_where_the_defaults_have_no_value_confirms_nothing() -> None:
    result = confirm([Candidate(4, 0.3, {1: 0.3, 2: 0.4})], {1: math.nan}, [1, 2], "min")
    assert "no training of the defaults has a value; its lead is not confirmed." in describe_confirmation(result, "x")


def test_description_without_confirmation_says_so() -> None:
    expected = "trial 7 is the best of the search; its lead is not confirmed (confirm=0)"
    assert describe_unconfirmed(7).startswith(expected)
