"""The plateau rule against Keras's own callback, on values given one by one."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers.keras_rules import VALUES, keras_plateau
from tracked.analysis import early_stopping
from tracked.analysis.early_stopping import Rule
from tracked.analysis.plateau import PlateauRule, advance, begin, follow

MIN_DELTAS = st.one_of(st.sampled_from([0.0, 0.0001, 0.25, 1e-9]), st.floats(0, 2))
RULES = st.builds(
    PlateauRule,
    st.sampled_from(["min", "max"]),
    st.integers(0, 5),
    st.one_of(st.sampled_from([0.1, 0.5, 0.999]), st.floats(0.001, 0.999)),
    MIN_DELTAS,
    st.integers(0, 3),
    st.one_of(st.sampled_from([0.0, 0.01, 0.001]), st.floats(1e-9, 0.1)),
)
RATES = st.one_of(st.sampled_from([0.1, 0.001, 1e-30]), st.floats(1e-6, 10))


@given(RULES, RATES, st.lists(VALUES, min_size=1, max_size=30))
@example(PlateauRule("min", 1, 0.1), 0.01, [0.5, 0.6, 0.7, 0.4, 0.4])
@example(PlateauRule("min", 2, 0.5), 0.01, [math.nan, 0.5, 0.4, 0.3])
@example(PlateauRule("max", 1, 0.5, cooldown=2), 0.01, [math.inf, 0.5, 0.4, 0.3, 0.2, 0.1])
@example(PlateauRule("min", 1, 0.1, min_rate=0.005), 0.01, [0.5, 0.5, 0.5, 0.5, 0.4])
@example(PlateauRule("min", 1, 0.1, min_rate=0.1), 0.1, [0.5, 0.5, 0.5])
@example(PlateauRule("min", 3, 0.1, min_delta=0.25), 0.01, [1.0, 0.75, 0.5, 0.25, 0.0])
def test_follow_of_any_values_cuts_where_and_as_keras_cuts(rule: PlateauRule, rate: float, values: list[float]) -> None:
    expected = keras_plateau(rule, rate, values)
    states = follow(rule, rate, values)
    assert [(state.rate, state.wait, state.cooldown) for state in states] == [one[:3] for one in expected]
    for state, (*_, best) in zip(states, expected, strict=True):
        assert state.best is not None
        assert np.array_equal(state.best, best, equal_nan=True)
    before = [begin(rate), *states]
    assert [state.is_cut for state in states] == [old.rate > new.rate for old, new in zip(before, states, strict=False)]


@given(
    st.sampled_from(["min", "max"]), st.integers(0, 6), MIN_DELTAS, st.integers(0, 3),
    st.lists(VALUES, min_size=1, max_size=30),
)  # fmt: skip
def test_first_cut_of_any_values_comes_where_early_stopping_would_stop(
    mode: str, patience: int, min_delta: float, cooldown: int, values: list[float]
) -> None:
    """So a replay's stops are also the first cuts."""
    states = follow(PlateauRule(mode, patience, 0.1, min_delta, cooldown), 0.01, values)
    stop = early_stopping.follow(Rule(mode, patience, min_delta), values)[-1]
    assert next((state.epoch for state in states if state.is_cut), None) == (stop.epoch if stop.stopped else None)


def test_follow_of_a_plateau_cuts_again_without_an_improvement() -> None:
    states = follow(PlateauRule("min", 2, 0.5), 0.25, [1.0, 0.9, 0.9, 0.9, 0.95, 0.91, 0.8, 0.8])
    assert [state.rate for state in states] == [0.25, 0.25, 0.25, 0.125, 0.125, 0.0625, 0.0625, 0.0625]
    assert [state.epoch for state in states if state.is_cut] == [4, 6]
    assert states[-1].best == 0.8


def test_state_is_a_function_of_the_history_alone() -> None:
    rule, values = PlateauRule("min", 1, 0.1, cooldown=1), [0.5, 0.6, 0.7, 0.6, 0.4, 0.9]
    state = begin(0.01)
    for value in values:
        state = advance(rule, state, value)
    assert state == follow(rule, 0.01, values)[-1]


@pytest.mark.parametrize(("cooldown", "cuts"), [(0, [2, 3, 4, 5, 6]), (1, [2, 3, 4, 5, 6]), (2, [2, 4, 6])])
def test_cooldown_leaves_epochs_out_as_keras_does(cooldown: int, cuts: list[int]) -> None:
    """Keras counts the cooldown's last epoch."""
    states = follow(PlateauRule("min", 1, 0.5, cooldown=cooldown), 0.01, [0.5] * 6)
    assert [state.epoch for state in states if state.is_cut] == cuts
