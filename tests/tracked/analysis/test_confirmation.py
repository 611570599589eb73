"""The winner of a search on values with a known answer, and how often a lead is called confirmed without one."""

import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tracked.analysis.confirmation import Candidate, Confirmation, choose_seeds, confirm
from tracked.analysis.trials import Direction

pytestmark = pytest.mark.unit

SEEDS = [11, 12, 13]
MAX_SEED = 2**32 - 1
VALUES = st.dictionaries(
    st.sampled_from(SEEDS), st.none() | st.floats(-50, 50) | st.sampled_from([math.nan, math.inf, 1e300])
)


def by_seed(*values: float | None) -> dict[int, float | None]:
    return dict(zip(SEEDS, values, strict=True))


def missing(values: Mapping[int, float | None]) -> int:
    return sum(values.get(seed) is None or not abs(values[seed] or 0) < 1e100 for seed in SEEDS)


def test_confirm_of_a_clear_lead_gives_the_figures_of_the_new_seeds() -> None:
    candidates = [Candidate(4, 0.20, by_seed(0.31, 0.29, 0.33)), Candidate(9, 0.22, by_seed(0.24, 0.25, 0.23))]
    result = confirm(candidates, by_seed(0.52, 0.50, 0.51), SEEDS, "min")
    assert (result.winner.number, result.confirmed, result.seeds) == (9, True, 3)
    assert result.winner.mean == pytest.approx(0.24)
    assert result.winner.difference == pytest.approx(0.27)
    assert 0 < result.winner.low < 0.27 < result.winner.high
    assert result.winner.optimism == pytest.approx(0.02)
    assert result.optimism == pytest.approx((0.11 + 0.02) / 2)
    assert (result.seed, result.winner.values[result.seed]) == (11, 0.24)
    assert result.defaults.mean == pytest.approx(0.51)


def test_confirm_of_the_first_in_the_search_lets_new_seeds_decide() -> None:
    candidates = [Candidate(0, 0.1, by_seed(0.6, 0.6, 0.7)), Candidate(1, 0.3, by_seed(0.4, 0.5, 0.5))]
    assert confirm(candidates, by_seed(0.8, 0.9, 0.8), SEEDS, "min").winner.number == 1


def test_confirm_of_worse_candidates_gives_the_defaults() -> None:
    result = confirm([Candidate(0, 0.1, by_seed(0.6, 0.6, 0.7))], by_seed(0.5, 0.5, 0.6), SEEDS, "min")
    assert (result.winner.number, result.confirmed, result.winner) == (None, False, result.defaults)
    assert result.candidates[0].difference == pytest.approx(-0.1)


def test_confirm_of_an_equal_candidate_gives_the_defaults() -> None:
    values = by_seed(0.5, 0.5, 0.6)
    assert confirm([Candidate(0, 0.1, values)], values, SEEDS, "min").winner.number is None


def test_confirm_of_a_small_lead_names_the_candidate_and_does_not_confirm_it() -> None:
    result = confirm([Candidate(0, 0.1, by_seed(0.4, 0.7, 0.5))], by_seed(0.5, 0.6, 0.6), SEEDS, "min")
    assert (result.winner.number, result.confirmed) == (0, False)
    assert result.winner.low < 0 < result.winner.difference


@pytest.mark.parametrize("lost", [None, math.nan, math.inf, -math.inf])
def test_confirm_of_a_candidate_without_a_value_does_not_let_it_win(lost: float | None) -> None:
    candidates = [Candidate(0, 0.1, by_seed(0.1, lost, 0.1)), Candidate(1, 0.3, by_seed(0.45, 0.4, 0.4))]
    result = confirm(candidates, by_seed(0.5, 0.5, 0.6), SEEDS, "min")
    assert result.winner.number == 1
    first = result.candidates[0]
    assert (first.missing, first.mean, first.difference) == (1, pytest.approx(0.1), pytest.approx(0.45))
    assert math.isnan(first.low)


def test_confirm_where_the_defaults_lack_a_value_pairs_the_other_seeds() -> None:
    result = confirm([Candidate(0, 0.1, by_seed(0.1, 0.2, 0.8))], by_seed(0.5, 0.7, None), SEEDS, "min")
    assert result.winner.number == 0
    assert result.winner.difference == pytest.approx(0.45)
    assert result.winner.mean == pytest.approx(1.1 / 3)
    assert not math.isnan(result.winner.low)


def test_confirm_with_one_seed_has_no_interval_and_confirms_nothing() -> None:
    result = confirm([Candidate(0, None, {11: 0.1})], {11: 9.0}, [11], "min")
    assert (result.winner.number, result.confirmed, result.seed) == (0, False, 11)
    assert math.isnan(result.winner.low)
    assert math.isnan(result.optimism)


@pytest.mark.parametrize(("direction", "expected"), [("min", 0.3), ("max", 0.2)])
def test_confirm_of_an_even_number_of_trainings_takes_the_less_good_median(
    direction: Direction, expected: float
) -> None:
    seeds, base = [1, 2, 3, 4], {"min": 9.0, "max": -9.0}[direction]
    winner = Candidate(0, None, {1: 0.4, 2: 0.2, 3: 0.3, 4: 0.1})
    result = confirm([winner], dict.fromkeys(seeds, base), seeds, direction)
    assert (result.winner.number, result.winner.values[result.seed]) == (0, expected)


@pytest.mark.parametrize(
    ("candidates", "defaults", "seeds"),
    [
        ([], by_seed(1, 2, 3), SEEDS),
        ([Candidate(0, 0.1, by_seed(None, math.nan, None))], {}, SEEDS),
        ([Candidate(0, 0.1, {})], {}, []),
    ],
)
def test_confirm_without_a_value_is_refused(
    candidates: list[Candidate], defaults: dict[int, float | None], seeds: list[int]
) -> None:
    with pytest.raises(ValueError, match="allowed: 1 or more, with a value"):
        confirm(candidates, defaults, seeds, "min")


@given(st.lists(VALUES, min_size=1, max_size=3), VALUES, st.floats(-50, 50))
def test_confirm_keeps_its_rules_on_any_values(
    values: list[dict[int, float | None]], defaults: dict[int, float | None], searched: float
) -> None:
    candidates = [Candidate(number, searched, one) for number, one in enumerate(values)]
    if all(missing(one) == 3 for one in (defaults, *values)):
        return
    result = confirm(candidates, defaults, SEEDS, "min")
    everyone = [result.defaults, *result.candidates]
    assert [one.missing for one in everyone] == [missing(one) for one in (defaults, *values)]
    complete = [one for one in everyone if one.missing == result.winner.missing]
    assert result.winner.missing == min(one.missing for one in everyone)
    assert result.winner.mean == min(one.mean for one in complete)
    kept = sorted(result.winner.values.values())
    assert result.winner.values[result.seed] == kept[len(kept) // 2]
    assert not (result.confirmed and result.winner.number is None)
    assert not result.confirmed or result.winner.low > 0
    for one in result.candidates:
        assert math.isnan(one.low) or one.low <= one.difference <= one.high

    # The other direction says the same of the negated values.
    def negated(given: Mapping[int, float | None]) -> dict[int, float | None]:
        return {seed: None if one is None else -one for seed, one in given.items()}

    mirrored = [Candidate(one.number, -searched, negated(one.values)) for one in candidates]
    other = confirm(mirrored, negated(defaults), SEEDS, "max")
    assert figures(other) == figures(result)


def figures(result: Confirmation) -> list[str]:
    """Give the figures that do not depend on the direction; as text, since NaN differs from itself."""
    gaps = [
        figure + 0.0  # -0.0 is 0.0
        for one in result.candidates
        for figure in (one.difference, one.low, one.high, one.optimism)
    ]
    return [repr(one) for one in (result.winner.number, result.confirmed, result.optimism + 0.0, result.seed, gaps)]


def test_confirm_without_a_better_candidate_rarely_calls_a_lead_confirmed() -> None:
    """Trials and defaults are alike: the search's best three look better, and 1 lead in 20 at most is confirmed."""
    rng, samples = np.random.default_rng(3), 3000
    confirmed, held, optimism = 0, 0, []
    for _ in range(samples):
        searched = np.sort(rng.normal(size=20))[:3]
        new = rng.normal(size=(4, 10))
        candidates = [Candidate(at, searched[at], dict(enumerate(new[at]))) for at in range(3)]
        result = confirm(candidates, dict(enumerate(new[3])), range(10), "min")
        best = min(result.candidates, key=lambda one: one.mean)
        confirmed += result.confirmed
        held += best.low <= 0 <= best.high
        optimism.append(result.optimism)
    assert 0.005 < confirmed / samples < 0.022  # without the correction for three choices: 0.029
    assert held / samples > 0.978  # without it: 0.970
    assert np.mean(optimism) == pytest.approx(1.47, abs=0.05)  # the mean of the best three of 20 normal values


@given(st.integers(0, MAX_SEED), st.integers(0, 25), st.integers(0, 5))
@example(seed=7, count=3, more=2)
def test_choose_seeds_gives_distinct_new_seeds_and_extends_them(seed: int, count: int, more: int) -> None:
    chosen = choose_seeds(seed, count)
    assert len({seed, *chosen}) == count + 1
    assert all(0 <= one <= MAX_SEED for one in chosen)
    assert choose_seeds(seed, count + more)[:count] == chosen


def test_choose_seeds_of_a_given_seed_never_changes() -> None:
    assert choose_seeds(7, 3) == [1747094326, 3062443354, 705078523]
