import json
import logging
import math
import random
import warnings
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracked.analysis.trials import Direction, Trial, TrialStatus
from tracked.console.dimensions import Choice, Range
from tracked.console.space import Space, grid_points
from tracked.search import proposals
from tracked.search.proposals import Sampler, propose

pytestmark = pytest.mark.unit

SPACE = Space((
    Range("rate", 1e-4, 1e-1, is_log=True),
    Range("share", 0.0, 0.6),
    Range("units", 8, 64),
    Range("words", 5000, 30000, step=5000),
    Range("drop", 0.0, 0.5, step=0.1),
    Choice("kind", ("a", "b")),
    Choice("sparse", (True, False)),
))  # fmt: skip
samplers = st.sampled_from(["tpe", "random", "grid"])
of_each_sampler = pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])


def measure(values: dict[str, Any]) -> float:
    """A made-up loss, 0 at its least: a rate of 0.01, a share of 0.2, kind b."""
    return (math.log10(values["rate"]) + 2) ** 2 + 10 * (values["share"] - 0.2) ** 2 + (values["kind"] == "a")


def finish(number: int, values: dict[str, Any], best: float, status: TrialStatus = "finished", **other: Any) -> Trial:
    return Trial(number, values, status=status, best=best, best_epoch=1, **({"history": (best, best)} | other))


def search(sampler: Sampler, seed: int, count: int, sign: int = 1, direction: Direction = "min") -> list[Trial]:
    trials: list[Trial] = []
    for number in range(count):
        values = propose(SPACE, sampler, seed, number, trials, direction)
        trials.append(finish(number, values, sign * measure(values)))
    return trials


def make_trials(seed: int, count: int, statuses: Sequence[TrialStatus] = ("finished",)) -> list[Trial]:
    """Trials at random points, the statuses in turn."""
    drawn = [propose(SPACE, "random", seed, number, [], "min") for number in range(count)]
    return [finish(n, one, measure(one), statuses[n % len(statuses)]) for n, one in enumerate(drawn)]


STATUSES: Sequence[TrialStatus] = ("finished", "pruned", "not_a_number", "failed", "running")


@given(samplers, st.integers(0, 2**32 - 1), st.integers(0, 10**6), st.integers(0, 40), st.randoms())
def test_proposal_is_in_the_space_and_the_same_in_any_order(
    sampler: Sampler, seed: int, number: int, count: int, shuffler: random.Random
) -> None:
    trials = make_trials(3, count, STATUSES)
    found = propose(SPACE, sampler, seed, number, trials, "min")
    assert SPACE.contains(found)
    assert json.loads(json.dumps(found)) == found
    assert {type(value) for value in found.values()} <= {int, float, str, bool}
    assert all(isinstance(found[name], kind) for name, kind in {"words": int, "drop": float, "sparse": bool}.items())
    shuffler.shuffle(trials)
    again = propose(SPACE, sampler, seed, number, [replace(one, run_id="x", seconds=9) for one in trials], "min")
    assert list(again.items()) == list(found.items())


@of_each_sampler
def test_running_and_failed_trials_do_not_count(sampler: Sampler) -> None:
    trials = make_trials(3, 25)
    for status in ("running", "failed"):
        others = [replace(one, number=one.number + 100, status=status) for one in make_trials(4, 9)]
        assert propose(SPACE, sampler, 1, 30, [*trials, *others], "min") == propose(
            SPACE, sampler, 1, 30, trials, "min"
        )


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_proposals_of_other_seeds_and_numbers_differ(sampler: Sampler) -> None:
    trials = make_trials(3, 25)
    found = [propose(SPACE, sampler, seed, number, trials, "min") for seed in range(5) for number in range(30, 35)]
    assert len({json.dumps(one) for one in found}) == len(found)


def test_proposal_is_the_same_in_later_versions_of_python() -> None:
    """Resumed on another machine, a search goes on as it would have."""
    found = propose(SPACE, "random", 7, 0, [], "min")
    assert found == {
        "rate": 0.0003699,
        "share": 0.3036,
        "units": 63,
        "words": 5000,
        "drop": 0.0,
        "kind": "a",
        "sparse": True,
    }


def test_results_turn_tpe_to_the_better_half_in_either_direction() -> None:
    drawn = [propose(SPACE, "random", 5, number, [], "min") for number in range(60)]
    trials = [finish(n, values, values["share"]) for n, values in enumerate(drawn)]
    low = fmean(propose(SPACE, "tpe", seed, 60, trials, "min")["share"] for seed in range(20))
    high = fmean(propose(SPACE, "tpe", seed, 60, trials, "max")["share"] for seed in range(20))
    assert low < 0.15
    assert high > 0.45


def test_tpe_finds_better_values_than_random_points() -> None:
    seeds = range(5)
    by_sampler = {
        sampler: fmean(min(one.best for one in search(sampler, seed, 40)) for seed in seeds)
        for sampler in ("tpe", "random")
    }
    assert by_sampler["tpe"] < 0.5 * by_sampler["random"], by_sampler


def test_search_for_the_highest_is_that_for_the_lowest_of_the_negative() -> None:
    lowest, highest = search("tpe", 2, 25), search("tpe", 2, 25, sign=-1, direction="max")
    assert [one.values for one in lowest] == [one.values for one in highest]


@pytest.mark.parametrize("status", ["not_a_number", "pruned"])
def test_tpe_turns_away_from_points_that_came_to_nothing(status: TrialStatus) -> None:
    """At high rates the metric was not a number, or the trial was given up: no finished trial has one."""
    drawn = [propose(SPACE, "random", 5, number, [], "min") for number in range(60)]
    trials = [
        finish(n, values, 0.5) if values["rate"] < 3e-3 else finish(n, values, 0.4, status, history=(math.nan,))
        for n, values in enumerate(drawn)
    ]
    assert 20 < sum(one.status == status for one in trials) < 40
    rates = [propose(SPACE, "tpe", seed, 60, trials, "min")["rate"] for seed in range(20)]
    assert sum(rate < 3e-3 for rate in rates) >= 17


@pytest.mark.parametrize("best", [None, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("direction", ["min", "max"])
def test_trial_without_a_finite_value_counts_as_the_worst(best: float | None, direction: Direction) -> None:
    trials = make_trials(3, 20)
    strange = replace(trials[7], best=best)
    expected = propose(
        SPACE, "tpe", 1, 30, [*trials[:7], replace(strange, status="not_a_number"), *trials[8:]], direction
    )
    assert propose(SPACE, "tpe", 1, 30, [*trials[:7], strange, *trials[8:]], direction) == expected


def test_tpe_with_pruned_trials_alone_proposes() -> None:
    trials = make_trials(3, 20, ["pruned", "not_a_number"])
    assert SPACE.contains(propose(SPACE, "tpe", 1, 20, trials, "min"))
    assert SPACE.contains(propose(SPACE, "tpe", 1, 20, [replace(one, history=()) for one in trials], "max"))


def test_grid_visits_each_point_once_in_an_order_of_the_seed() -> None:
    space = Space((Range("units", 8, 64), Range("drop", 0.0, 0.5, step=0.1), Choice("kind", ("a", "b"))))
    points = [json.dumps(one) for one in grid_points(space)]
    orders = [[json.dumps(propose(space, "grid", seed, n, [], "min")) for n in range(36)] for seed in (1, 2)]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(points)
    assert orders[0] != orders[1] != points


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_known_point_is_not_proposed_again_while_another_is_left(sampler: Sampler) -> None:
    space = Space((Choice("kind", ("a", "b", "c")), Range("units", 1, 4)))
    trials: list[Trial] = []
    for number in range(14):
        values = propose(space, sampler, 3, number, trials, "min")
        trials.append(finish(number, values, values["units"]))
    assert len({json.dumps(one.values) for one in trials[:12]}) == 12
    assert space.contains(trials[13].values)  # of a space that is used up, too


def test_trials_of_another_space_do_not_count() -> None:
    trials = make_trials(3, 20)
    others = [replace(one, number=50 + one.number, values={**one.values, "share": 0.9}) for one in trials]
    others.append(replace(trials[0], number=99, values={"rate": 0.01}))
    assert propose(SPACE, "tpe", 1, 30, [*trials, *others], "min") == propose(SPACE, "tpe", 1, 30, trials, "min")


def test_tpe_sees_the_best_and_the_newest_trials() -> None:
    trials = make_trials(3, 400, ["finished", "pruned"])
    known = proposals._choose_known(trials, "min")
    finished = sorted((one for one in trials if one.status == "finished"), key=lambda one: one.best or 0)
    best = {one.number for one in finished[: proposals.MAX_BEST]}
    newest = [one.number for one in trials if one.number not in best][proposals.MAX_BEST - proposals.MAX_KNOWN :]
    assert [one.number for one in known] == sorted([*best, *newest])
    assert len(known) == proposals.MAX_KNOWN
    assert proposals._choose_known(trials[:150], "min") == trials[:150]


def test_proposal_warns_of_nothing_and_logs_nothing(caplog: pytest.LogCaptureFixture, capfd: Any) -> None:
    with warnings.catch_warnings(), caplog.at_level(logging.DEBUG):
        warnings.simplefilter("error")
        propose(SPACE, "tpe", 1, 20, make_trials(3, 20, ["finished", "pruned"]), "min")
    assert capfd.readouterr() == ("", "")
