"""The interval of a mean: its coverage, and what it must not depend on."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap, ttest_1samp

from tracked.analysis.intervals import MIN_DISTINCT, MIN_VALUES, average_by_key, compute_interval

pytestmark = pytest.mark.unit

Draw = Callable[[np.random.Generator, int], np.ndarray]


def coverage(draw: Draw, mean: float, n: int, samples: int = 2000, confidence: float = 0.95) -> tuple[float, float]:
    """The share of the intervals that hold the mean, and of the samples that have an interval."""
    rng = np.random.default_rng(n)
    found = np.array([compute_interval(draw(rng, n), confidence) for _ in range(samples)])
    found = found[~np.isnan(found[:, 0])]
    inside = (found[:, 0] <= mean) & (mean <= found[:, 1])
    return float(inside.mean()) if len(found) else math.nan, len(found) / samples


def zero_inflated(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.where(rng.random(n) < 0.2, rng.lognormal(size=n), 0.0)


def three_valued(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.choice([-1.0, 0.0, 1.0], n, p=[0.01, 0.9, 0.09])


@pytest.mark.parametrize(
    ("draw", "mean", "before"),
    [
        (zero_inflated, 0.2 * math.exp(0.5), 0.856),
        (lambda rng, n: rng.lognormal(size=n), math.exp(0.5), 0.894),
        (lambda rng, n: rng.gamma(0.5, size=n), 0.5, 0.918),
        (three_valued, 0.08, 0.92),
        (lambda rng, n: np.where(rng.random(n) < 0.05, 10.0, 0.0) + rng.normal(size=n), 0.5, 0.906),
        (lambda rng, n: np.where(rng.random(n) < 0.02, 10.0, 0.0) + rng.normal(size=n), 0.2, 0.87),
        (lambda rng, n: rng.standard_t(3, n), 0.0, 0.941),
        (lambda rng, n: rng.normal(size=n), 0.0, 0.934),
    ],
)
@pytest.mark.parametrize("n", [MIN_VALUES, 200])
def test_interval_of_skewed_values_covers_the_mean(draw: Draw, mean: float, before: float, n: int) -> None:
    """``before``: coverage of the percentile bootstrap at ``MIN_VALUES`` values."""
    covered, share = coverage(draw, mean, n)
    assert covered >= max(0.92, before)  # the error of 2,000 samples is 0.006
    assert share > 0.5


def test_interval_at_confidence_80_covers_the_mean_as_often() -> None:
    covered, _ = coverage(lambda rng, n: rng.exponential(size=n), 1.0, 150, 600, confidence=0.8)
    assert 0.76 <= covered <= 0.87


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5, 8, MIN_VALUES - 1])
def test_interval_of_too_few_values_is_none(n: int) -> None:
    """The percentile bootstrap covered 51 % with 2 values, 75 % with 3, 80 % with 5, 91 % with 8."""
    assert np.isnan(compute_interval(np.random.default_rng(n).normal(size=n))).all()


def test_interval_where_too_few_values_differ_is_none() -> None:
    values = np.zeros(1000)
    assert np.isnan(compute_interval(values)).all()  # the percentile bootstrap gave 0 to 0
    values[: MIN_DISTINCT - 1] = [0.5, 0.7][: MIN_DISTINCT - 1]
    assert np.isnan(compute_interval(values)).all()
    values[MIN_DISTINCT - 1] = 0.6
    assert not np.isnan(compute_interval(values)).any()


def test_interval_of_values_that_differ_by_rounding_is_none() -> None:
    values = 0.1 + np.arange(80) / 1e17 * 7
    assert len(np.unique(values)) > MIN_DISTINCT
    assert np.isnan(compute_interval(values)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_interval_of_values_that_are_not_finite_is_none(bad: float) -> None:
    assert np.isnan(compute_interval(np.append(np.arange(50.0), bad))).all()


@given(
    st.lists(st.floats(-100, 100).map(lambda x: round(x, 3)), min_size=MIN_VALUES, max_size=MIN_VALUES + 20),
    st.randoms(),
)
def test_interval_of_any_values_ignores_order_and_follows_shift_and_scale(values: list[float], random: object) -> None:
    found = compute_interval(np.array(values))
    if math.isnan(found[0]):
        return
    assert found[0] <= np.mean(values) <= found[1]
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert compute_interval(np.array(shuffled)) == found
    low, high = compute_interval(-2 * np.array(values) + 5)
    assert (low, high) == pytest.approx((5 - 2 * found[1], 5 - 2 * found[0]), rel=1e-6, abs=1e-6)
    wider = compute_interval(np.array(values), 0.99)
    assert wider[0] <= found[0] < found[1] <= wider[1]
    students = ttest_1samp(values, 0).confidence_interval(0.95)  # never narrower than Student's
    assert found[0] <= students.low + 1e-9
    assert found[1] >= students.high - 1e-9


def test_interval_of_many_values_agrees_with_the_bca_bootstrap() -> None:
    values = np.random.default_rng(1).exponential(size=5_000)
    usual = bootstrap((values,), np.mean, method="BCa", n_resamples=4999, batch=10, rng=1).confidence_interval
    assert compute_interval(values) == pytest.approx((usual.low, usual.high), abs=0.003)


def test_interval_of_values_without_a_measurable_spread_is_none() -> None:
    assert np.isnan(compute_interval(np.array([1e-300] * MIN_VALUES + [2e-300, 3e-300, 4e-300]))).all()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(-5, 5)), min_size=1, max_size=20))
def test_average_by_key_of_any_rows_is_the_mean_of_each_key(rows: list[tuple[str, float]]) -> None:
    keys, values = [key for key, _ in rows], np.array([value for _, value in rows])
    expected = [values[[one == key for one in keys]].mean() for key in sorted(set(keys))]
    assert average_by_key(values, keys).tolist() == pytest.approx(expected)
    assert average_by_key(values, None).tolist() == values.tolist()
