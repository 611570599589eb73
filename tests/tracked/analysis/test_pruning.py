"""The rules for giving up a trial: what they promise for any learning curves, and what they say."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracked.analysis.pruning import (
    ASHA_OTHERS,
    MEDIAN_FIRST_EPOCH,
    MEDIAN_OTHERS,
    RULES,
    PruningRule,
    decide,
    is_rung,
)

pytestmark = pytest.mark.unit

MINIMUM = {"median": MEDIAN_OTHERS, "asha": ASHA_OTHERS}
ANY = st.floats(width=32)  # with NaN and infinities
CURVE = st.lists(st.one_of(ANY, st.sampled_from([0.0, 0.1, 0.2, 0.3])), min_size=1, max_size=9)
CURVES = st.lists(CURVE, max_size=12)
RULE = st.sampled_from(RULES)
DIRECTION = st.sampled_from(["min", "max"])


def best(curve: list[float], direction: str, epoch: int) -> float:
    finite = [value if direction == "min" else -value for value in curve[:epoch] if math.isfinite(value)]
    return min(finite, default=math.inf)


@given(RULE, CURVE, CURVES, DIRECTION)
def test_the_best_so_far_of_all_is_never_given_up(
    rule: PruningRule, values: list[float], others: list[list[float]], direction: Any
) -> None:
    bests = [best(other, direction, len(values)) for other in others]
    leader = min(range(len(bests)), key=bests.__getitem__, default=None)
    if leader is not None and bests[leader] < best(values, direction, len(values)):
        values, others = others[leader][: len(values)], [*others[:leader], values, *others[leader + 1 :]]
    assert decide(rule, values, others, direction) == ""


@given(RULE, CURVE, CURVES, DIRECTION)
def test_median_gives_up_what_more_than_half_beat_and_asha_what_the_better_half_beats(
    rule: PruningRule, values: list[float], others: list[list[float]], direction: Any
) -> None:
    """Both rules once more, by counting."""
    epoch, own = len(values), best(values, direction, len(values))
    counted = others if rule == "median" else [other for other in others if len(other) >= epoch]
    better = sum(best(other, direction, epoch) < own for other in counted)
    if rule == "median":
        expected = epoch >= MEDIAN_FIRST_EPOCH and len(counted) >= MEDIAN_OTHERS and better > len(counted) / 2
    else:
        decides = epoch in (1, 2, 4, 8) and len(counted) >= ASHA_OTHERS
        expected = decides and better >= (len(counted) + 1) // 2
    assert bool(decide(rule, values, others, direction)) == expected


@given(RULE, CURVE, CURVES, DIRECTION)
def test_a_decision_needs_enough_others(
    rule: PruningRule, values: list[float], others: list[list[float]], direction: Any
) -> None:
    assert decide(rule, values, others[: MINIMUM[rule] - 1], direction) == ""


@given(RULE, CURVE, CURVES, DIRECTION)
def test_a_decision_depends_on_the_first_epochs_alone(
    rule: PruningRule, values: list[float], others: list[list[float]], direction: Any
) -> None:
    before = decide(rule, values, [other[: len(values)] for other in others], direction)
    assert decide(rule, values, others, direction) == before


@given(RULE, CURVE, CURVES, DIRECTION, st.randoms())
def test_the_order_of_the_others_does_not_matter(
    rule: PruningRule, values: list[float], others: list[list[float]], direction: Any, random: Any
) -> None:
    before = decide(rule, values, others, direction)
    shuffled = random.sample(others, len(others))
    assert decide(rule, values, shuffled, direction) == before


@given(RULE, CURVE, CURVES)
def test_a_metric_that_grows_is_decided_as_its_negative(
    rule: PruningRule, values: list[float], others: list[list[float]]
) -> None:
    mirrored = decide(rule, [-value for value in values], [[-value for value in other] for other in others], "max")
    assert bool(decide(rule, values, others, "min")) == bool(mirrored)


def test_median_tells_both_values_and_the_number_of_trials() -> None:
    others = [[0.5, level, 0.1] for level in (0.30, 0.31, 0.33, 0.34, 0.41)]
    assert decide("median", [0.45, 0.4], others, "min") == (
        "0.4 at best after epoch 2 is worse than the median 0.33 of 5 trials"
    )
    assert decide("median", [0.45, 0.33], others, "min") == ""
    assert decide("median", [0.45], others, "min") == ""
    assert decide("median", [0.45, 0.9], [*others, [0.6, 0.6]], "max") == ""


def test_median_takes_a_trial_that_has_ended_with_what_it_had_reached() -> None:
    others = [[0.3], [0.3], [0.3], [0.9, 0.9], [0.9, 0.9]]
    assert decide("median", [0.8, 0.4], others, "min") == (
        "0.4 at best after epoch 2 is worse than the median 0.3 of 5 trials"
    )


def test_asha_tells_the_last_of_those_that_go_on() -> None:
    others = [[0.30], [0.32], [0.35], [0.37], [0.2]]
    assert decide("asha", [0.36], others, "min") == (
        "0.36 at best after epoch 1 is worse than 0.32, the last of the best 3 of 6 trials"
    )
    assert decide("asha", [0.31], others, "min") == ""
    assert decide("asha", [0.36, 0.36], others, "min") == ""  # none of the others has reached that rung


def test_values_that_differ_late_are_told_with_the_digits_that_do() -> None:
    reason = decide("median", [0.5, 0.3333341], [[0.5, 0.3333339]] * 5, "min")
    assert reason == "0.3333341 at best after epoch 2 is worse than the median 0.3333339 of 5 trials"


def test_a_trial_without_a_finite_value_is_behind_all_that_have_one() -> None:
    reason = decide("median", [math.nan, math.inf], [[0.5, 0.3]] * 5, "max")
    assert reason == "without a finite value after epoch 2: worse than the median 0.5 of 5 trials"
    assert decide("median", [math.nan, math.inf], [[math.nan]] * 5, "max") == ""


@pytest.mark.parametrize(("epoch", "expected"), [(1, True), (2, True), (3, False), (4, True), (6, False), (64, True)])
def test_rungs_are_powers_of_two(epoch: int, expected: bool) -> None:
    assert is_rung(epoch) is expected


@pytest.mark.parametrize("direction", ["min", "max"])
def test_a_zero_has_no_sign(direction: Any) -> None:
    own = 0.1 if direction == "min" else -0.1
    others = [*([[0.0]] * 5), *([[-0.0]] * 5)]
    decisions = {decide("median", [own, own], order, direction) for order in (others, others[::-1])}
    assert decisions == {f"{own} at best after epoch 2 is worse than the median 0 of 10 trials"}
