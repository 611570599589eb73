"""Replayed rules for giving up: equal to searches that decide after each epoch; intervals of what they save."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracked.analysis.intervals import bound_share
from tracked.analysis.pruning import RULES, PruningRule, decide
from tracked.analysis.pruning_estimate import NEEDED, estimate, estimate_rules
from tracked.analysis.pruning_replay import Curves, judge, replay_trials, run_searches
from tracked.analysis.rule_replay import History

pytestmark = pytest.mark.unit

VALUE = st.one_of(st.floats(width=32), st.sampled_from([0.0, 0.1, 0.2, 0.3]))
HISTORIES = st.lists(st.lists(VALUE, min_size=1, max_size=9), min_size=1, max_size=14)


def make(values: list[float], mode: Any = "min", name: str = "a") -> History:
    return History(name, name, "val_loss", mode, np.array(values), np.arange(1, len(values) + 1) * 2.0)


def search(histories: list[list[float]], rule: PruningRule, direction: Any) -> list[int]:
    """A search as the trainer runs it: the decision after each epoch but the last, on what was trained so far."""
    known: list[list[float]] = []
    for values in histories:
        epochs = range(1, len(values))
        ends = (epoch for epoch in epochs if decide(rule, values[:epoch], known, direction))
        known.append(values[: next(ends, len(values))])
    return [len(values) for values in known]


@given(HISTORIES, st.sampled_from(RULES), st.sampled_from(["min", "max"]))
def test_searches_at_once_equal_decisions_epoch_by_epoch(
    values: list[list[float]], rule: PruningRule, mode: Any
) -> None:
    curves = Curves.read([make(own, mode) for own in values])
    orders = np.array([range(len(values)), range(len(values))[::-1]])
    trained = run_searches(curves, rule, orders)
    assert trained.tolist() == [search(values, rule, mode), search(values[::-1], rule, mode)]


GOOD = [[0.5, 0.4, 0.3, 0.35]] * 6


def test_recorded_order_tells_what_was_saved_and_whether_the_winner_was_lost() -> None:
    late_winner = [0.9, 0.8, 0.7, 0.1, 0.05]
    histories = [make(values, name=str(number)) for number, values in enumerate([*GOOD, late_winner])]
    trials, rules = replay_trials(histories, ["median"])
    assert trials["given_up_epoch"].isna().tolist() == [True] * 6 + [False]
    last = trials.iloc[-1]
    assert (last["given_up_epoch"], last["epochs_saved"], last["seconds_saved"]) == (2, 3, 6.0)
    assert bool(last["is_winner"])
    row = rules.iloc[0]
    assert (row["trainings"], row["given_up"], row["epochs"], row["epochs_saved"]) == (7, 1, 29, 3)
    assert bool(row["winner_lost"])
    assert row["regret"] == pytest.approx(0.3 - 0.05)


def test_winner_that_an_equal_one_replaces_is_not_lost() -> None:
    curves = Curves.read([make(values) for values in [*GOOD, [0.9, 0.8, 0.3]]])
    order = np.arange(7)[None, :]
    trained = run_searches(curves, "median", order)
    assert trained[0, -1] == 2
    outcomes = judge(curves, order, trained)
    assert (outcomes.lost[0], outcomes.regret[0]) == (False, 0)


def test_few_histories_have_no_intervals() -> None:
    rng = np.random.default_rng(1)
    histories = [make(list(rng.random(6)), name=str(n)) for n in range(NEEDED)]
    few, enough = (estimate_rules(some, RULES) for some in (histories[:-1], histories))
    for name in ("saved", "lost"):
        assert few[[f"search_{name}_low", f"search_{name}_high"]].isna().all().all()
        low, mean, high = (enough[f"search_{name}{end}"] for end in ("_low", "", "_high"))
        assert ((low < mean) & (mean < high)).all()
    assert few["search_trials"].tolist() == [NEEDED - 1] * 2
    assert enough["search_trials"].tolist() == [NEEDED // 3] * 2
    assert enough["rule"].tolist() == list(RULES)


def test_estimate_repeats_to_the_bit_and_equal_histories_show_no_loss() -> None:
    curves = Curves.read([make([0.5, 0.4, 0.3])] * 30)
    found = estimate(curves, "median")
    assert found == estimate(curves, "median")
    assert (found.saved, found.lost, found.regret, found.regret_worst) == (0, 0, 0, 0)
    assert found.saved_low == found.lost_low == 0
    assert found.saved_high == found.lost_high == pytest.approx(1 - 0.025 ** (1 / 3))


@given(st.floats(0, 1), st.integers(1, 1000))
def test_bound_of_a_share_holds_it_and_narrows_with_more_groups(mean: float, groups: int) -> None:
    low, high = bound_share(mean, groups)
    assert 0 <= low <= mean <= high <= 1
    closer = bound_share(mean, groups * 2)
    assert low <= closer[0] + 1e-9
    assert closer[1] <= high + 1e-9
    mirrored = bound_share(1 - mean, groups)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-6)


def test_bound_of_a_share_never_seen_is_that_of_clopper_and_pearson() -> None:
    assert bound_share(0.0, 10) == (0, pytest.approx(1 - 0.025 ** (1 / 10)))
