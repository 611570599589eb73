"""Drift: false alarms, what is found, intervals that hold all at once, and what the sentence says."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from tracked.analysis import drift
from tracked.analysis.intervals import bound_difference
from tracked.analysis.observations import CLASSES, UP_TO, count_classes, count_values

pytestmark = pytest.mark.unit

EDGES = (8, 16, 32, 64, 128, 256, 512)
COUNTS = st.lists(st.integers(0, 3000), min_size=4, max_size=4)


def sample(rng: np.random.Generator, rows: int, median: float = 174, positive: float = 0.5) -> dict[str, Any]:
    return {
        "words": count_values(rng.lognormal(math.log(median), 0.7, rows), EDGES),
        "label": count_classes(rng.random(rows) < positive, ["negative", "positive"]),
    }


def by_edges(counts: list[int]) -> dict[str, Any]:
    return {"n": {UP_TO: dict(zip(["1", "2", "3", "inf"], counts, strict=True))}}


def by_class(counts: list[int]) -> dict[str, Any]:
    return {"c": {CLASSES: dict(zip("abcd", counts, strict=True))}}


@pytest.mark.slow
@pytest.mark.parametrize("rows", [30, 300, 3000])
def test_same_population_is_said_to_drift_in_one_of_20_samples_at_most(rows: int) -> None:
    rng = np.random.default_rng(rows)
    verdicts = [drift.compare(sample(rng, 500), sample(rng, rows)).verdict for _ in range(200)]
    assert verdicts.count("drift") <= binom.ppf(0.99, 200, drift.ERROR)


@pytest.mark.slow
def test_difference_of_exactly_the_margin_is_said_to_drift_in_one_of_20_samples_at_most() -> None:
    rng = np.random.default_rng(1)
    pairs = [(sample(rng, 4000), sample(rng, 2000, positive=0.5 + drift.MARGIN)) for _ in range(200)]
    verdicts = [drift.compare(*pair).verdict for pair in pairs]
    assert verdicts.count("drift") <= binom.ppf(0.99, 200, drift.ERROR)


@pytest.mark.parametrize(("rows", "median", "positive"), [(300, 60, 0.5), (1000, 174, 0.65), (2000, 130, 0.5)])
def test_shift_that_matters_is_found(rows: int, median: float, positive: float) -> None:
    rng = np.random.default_rng(rows)
    found = [drift.compare(sample(rng, 4000), sample(rng, rows, median, positive)).verdict for _ in range(50)]
    assert found.count("drift") >= 45


def test_many_rows_of_the_same_population_are_said_to_be_alike() -> None:
    rng = np.random.default_rng(2)
    seen = drift.compare(sample(rng, 20_000), sample(rng, 20_000))
    assert seen.verdict == "alike"
    assert seen.describe("reviews").startswith("Drift: excluded beyond 5 points: the widest interval is ")


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.999, 0.97), (0.001, 0.0), (0.02, 0.05), (0.3, 0.9)])
@pytest.mark.parametrize("rows", [(150, 40), (4000, 200), (4000, 100_000)])
@pytest.mark.parametrize("error", [0.05, 0.001])
def test_interval_misses_the_difference_as_seldom_as_said(
    shares: tuple[float, float], rows: tuple[int, int], error: float
) -> None:
    samples, rng = 20_000, np.random.default_rng(3)
    hits = [rng.binomial(count, share, samples) for count, share in zip(rows, shares, strict=True)]
    low, high = bound_difference(hits[0], rows[0], hits[1], rows[1], error)
    missed = (low > shares[1] - shares[0]) | (high < shares[1] - shares[0])
    assert missed.sum() <= binom.ppf(0.999, samples, error)


@given(COUNTS, COUNTS, st.sampled_from([by_edges, by_class]))
def test_shifts_of_any_counts_are_shares_within_their_intervals(first: list[int], second: list[int], name: Any) -> None:
    seen, back = drift.compare(name(first), name(second)), drift.compare(name(second), name(first))
    assert len(seen.shifts) == (3 if name is by_edges else 4)
    for shift, reverse in zip(seen.shifts, back.shifts, strict=True):
        assert -1 <= shift.low <= shift.after - shift.before <= shift.high <= 1
        assert 0 <= shift.least <= shift.most <= 1
        assert (reverse.low, reverse.high) == pytest.approx((-shift.high, -shift.low), abs=1e-12)
    assert seen.verdict == back.verdict
    assert (seen.verdict == "nothing") == (not sum(first) or not sum(second))
    assert seen.describe().startswith("Drift: ")
    assert "nan" not in seen.describe()
    assert len(seen.to_table()) == len(seen.shifts)


@given(COUNTS, COUNTS)
def test_copies_of_all_rows_narrow_the_intervals(first: list[int], second: list[int]) -> None:
    few = drift.compare(by_edges(first), by_edges(second))
    many = drift.compare(by_edges([4 * one for one in first]), by_edges([4 * one for one in second]))
    if few.verdict != "nothing":
        for a, b in zip(few.shifts, many.shifts, strict=True):
            assert a.low - 1e-12 <= b.low <= b.high <= a.high + 1e-12


def test_sentence_names_what_differs_most_with_both_shares_and_the_interval() -> None:
    before, after = {**by_edges([500, 500, 500, 500]), **by_class([1000, 1000, 0, 0])}, by_edges([0, 100, 100, 1800])
    seen = drift.compare(before, {**after, **by_class([1000, 1000, 0, 0])})
    assert seen.describe() == "Drift: shown beyond 5 points, in n at most 3: 75.0 % -> 10.0 % (-68.1 to -61.7 points)."
    assert [shift.name for shift in seen.drifted] == ["n"]
    assert [shift.name for shift in seen.largest] == ["n", "c"]


def test_too_few_rows_are_said_to_decide_nothing() -> None:
    rng = np.random.default_rng(4)
    seen = drift.compare(sample(rng, 4000), sample(rng, 30))
    assert seen.verdict == "undecided"
    assert seen.describe("reviews").startswith("Drift: not shown beyond 5 points, nor excluded by 30 reviews beside 4,")


def test_nothing_in_common_is_not_known() -> None:
    rng = np.random.default_rng(5)
    assert drift.compare({}, sample(rng, 30)).describe("reviews") == (
        "Drift: not known, as there are no reviews to compare."
    )


def test_only_what_both_have_is_compared() -> None:
    seen = drift.compare({**by_edges([1, 1, 1, 1]), "former": 3}, {**by_edges([1, 1, 1, 1]), **by_class([1, 1, 1, 1])})
    assert {shift.name for shift in seen.shifts} == {"n"}


def test_one_class_alone_has_no_event() -> None:
    assert drift.compare({"c": {CLASSES: {"a": 5}}}, {"c": {CLASSES: {"a": 7}}}).verdict == "nothing"
