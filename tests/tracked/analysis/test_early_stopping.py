import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers.keras_rules import VALUES, Mode, keras_checkpoint, keras_stop
from tracked.analysis.early_stopping import Rule, State, advance, follow

RULES = st.builds(
    Rule,
    st.sampled_from(["min", "max"]),
    st.integers(0, 5),
    st.one_of(st.sampled_from([0.0, 0.0001, 0.25, 1e-9]), st.floats(0, 2)),
)


@given(RULES, st.lists(VALUES, min_size=1, max_size=30))
@example(Rule("min", 0, 0.0), [0.5, 0.4, 0.3, 0.3])
@example(Rule("min", 2, 0.0), [math.nan, 0.5, 0.4, 0.3])
@example(Rule("min", 2, 0.0), [0.5, math.nan, 0.4, math.nan, math.nan])
@example(Rule("max", 1, 0.0), [-math.inf, math.inf, math.inf])
@example(Rule("min", 3, 0.25), [1.0, 0.75, 0.5, 0.25, 0.0])
def test_follow_of_any_values_stops_where_keras_stops(rule: Rule, values: list[float]) -> None:
    epoch, best_epoch, best, wait, stopped = keras_stop(rule, values)
    states = follow(rule, values)
    last = states[-1]
    assert (last.epoch, last.best_epoch, last.wait, last.stopped) == (epoch, best_epoch, wait, stopped)
    assert last.best is not None
    assert best is not None
    assert np.array_equal(last.best, best, equal_nan=True)
    assert len(states) == epoch


@given(st.sampled_from(["min", "max"]), st.lists(VALUES, min_size=1, max_size=30))
def test_best_epoch_without_min_delta_is_keras_checkpoints(mode: Mode, values: list[float]) -> None:
    never = Rule(mode, patience=len(values) + 1)
    assert follow(never, values)[-1].best_epoch == keras_checkpoint(mode, values)


def test_follow_of_the_articles_history_stops_at_epoch_32() -> None:
    values = [0.31446, 0.27188, 0.2733, *(0.28 + 0.016 * n for n in range(40))]
    last = follow(Rule("min", 30, 0.0001), values)[-1]
    assert (last.epoch, last.best_epoch, last.best, last.stopped, last.event) == (32, 2, 0.27188, True, "stopped")


def test_event_of_each_state_is_improved_waiting_or_stopped() -> None:
    states = follow(Rule("min", 2, 0.0), [1.0, 2.0, 0.5, 0.6, 0.7, 0.1])
    assert [state.event for state in states] == ["improved", "waiting", "improved", "waiting", "stopped"]
    assert [state.wait for state in states] == [0, 1, 0, 1, 2]


def test_advance_after_a_stop_is_refused() -> None:
    with pytest.raises(ValueError, match="stopped at epoch 3"):
        advance(Rule("min", 1), State(epoch=3, best=1.0, best_epoch=2, wait=1, stopped=True), 0.0)
