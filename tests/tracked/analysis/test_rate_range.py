import math
import random
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tracked.analysis.rate_range import DIVERGED, NOT_FINITE, RateRange, Suggestion, spread_rates, suggest

pytestmark = pytest.mark.unit

RATES = spread_rates(1e-6, 10.0, 500)


def measure(losses: list[float], rates: list[float] = RATES) -> RateRange:
    """Measure losses until the test ends, as the range test does."""
    measured = RateRange(rates)
    for loss in losses:
        if not measured.add(loss):
            break
    return measured


def valley(rates: list[float], best: float, scale: float = 1.0, noise: float = 0.0) -> list[float]:
    """Losses that fall from 1 to 0.5 around ``best`` and grow without bound beyond."""
    chance = random.Random(3)
    fall = [1 / (1 + best / rate) for rate in rates]
    return [
        scale * (1 - 0.5 * f + (rate / (30 * best)) ** 2 + chance.gauss(0, noise))
        for f, rate in zip(fall, rates, strict=True)
    ]


@given(lowest=st.floats(1e-30, 1e29), factor=st.floats(1.001, 1e20, exclude_min=True), steps=st.integers(50, 300))
def test_rates_grow_by_one_factor_from_the_lowest_to_the_highest(lowest: float, factor: float, steps: int) -> None:
    rates = spread_rates(lowest, lowest * factor, steps)
    assert (len(rates), rates[0], rates[-1]) == (steps, lowest, lowest * factor)
    steady = math.log(factor) / (steps - 1)
    assert all(math.log(b / a) == pytest.approx(steady, rel=1e-6, abs=1e-9) for a, b in pairwise(rates))


def test_suggestion_of_a_known_valley_is_a_tenth_of_its_least_in_two_digits() -> None:
    measured = measure(valley(RATES, 1e-3))
    found = suggest(measured)
    least = min(measured.smoothed[measured.window :])
    assert found.least_at == RATES[measured.smoothed.index(least)]
    assert found.rate == pytest.approx(found.least_at / 10, rel=0.05)
    assert found.rate == float(f"{found.rate:.1e}")
    assert 5e-4 < found.rate < 5e-3
    assert measured.end == DIVERGED
    expected = f"{found.rate:g} is a tenth of the learning rate at which the smoothed loss is least"
    assert found.reason.startswith(expected)


@given(best=st.floats(1e-4, 1e-1), scale=st.floats(1e-3, 1e6), noise=st.floats(0, 0.05))
def test_suggestion_depends_on_the_place_of_the_valley_not_on_the_losss_unit(
    best: float, scale: float, noise: float
) -> None:
    rate = suggest(measure(valley(RATES, best, scale, noise))).rate
    assert rate is not None
    assert best / 3 < rate < best * 3


@example([0.0] * 15 + [-1.4e154])  # whose square is not a finite number
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=120))
def test_any_losses_give_a_rate_of_the_range_or_a_reason(losses: list[float]) -> None:
    measured = measure(losses, spread_rates(1e-6, 10.0, 100))
    found = suggest(measured)
    assert all(map(math.isfinite, measured.smoothed))
    assert len(measured.losses) == len(measured.smoothed) <= 100
    assert found.reason
    if found.rate is None:
        assert found.least_at is None
        assert "may help" in found.reason
    else:
        assert 0 < found.rate <= 1.0


@given(seed=st.integers(0, 10**6), level=st.sampled_from([-1, 0, 0.3, 3]), noise=st.sampled_from([1e-3, 1, 10]))
def test_losses_of_noise_alone_give_no_suggestion(seed: int, level: float, noise: float) -> None:
    chance = random.Random(seed)
    measured = RateRange(RATES)
    for _ in RATES:  # a level near 0 counts as diverged early
        if not measured.add(level + chance.gauss(0, noise)):
            break
    assert suggest(measured).rate is None


@pytest.mark.parametrize(
    ("losses", "reason"),
    [
        ([1.0] * 500, "the loss never falls by more than its batches differ by chance ("),
        ([1.0 + step / 1e4 for step in range(500)], "the loss never falls"),
        ([1.0] * 30 + [1e3] * 470, "the loss diverged after 31 of 500 steps, too few to judge by; a lower lowest_rate"),
        ([1.0] * 30 + [math.nan] * 470, "the loss was no longer a finite number after 30 of 500 steps, too few"),
        ([math.inf], "the loss was no longer a finite number after 0 of 500 steps, too few"),
        ([1.0, 0.9], "the range test ended after 2 of 500 steps, too few"),
        ([], "the range test ended after 0 of 500 steps, too few"),
    ],
)
def test_case_without_a_suggestion_says_why(losses: list[float], reason: str) -> None:
    found = suggest(measure(losses))
    assert found == Suggestion(None, found.reason)
    assert found.reason.startswith(reason)


def test_test_ends_where_the_smoothed_loss_exceeds_four_times_its_least() -> None:
    measured = measure([1.0] * 100 + [6.0] * 400)
    ended = len(measured.smoothed)
    assert measured.end == DIVERGED
    assert measured.smoothed[ended - 1] > 4 >= measured.smoothed[ended - 2]
    assert 100 < ended < 500


def test_loss_that_is_not_finite_ends_the_test_and_is_left_out() -> None:
    falling = [1 - step / 1000 for step in range(200)]
    measured = measure([*falling, math.inf, 1.0])
    assert (measured.end, measured.losses) == (NOT_FINITE, falling)
    assert suggest(measured).rate is not None


def test_loss_that_still_falls_at_the_end_is_said() -> None:
    found = suggest(measure([1 - step / 1000 for step in range(500)]))
    assert found.rate == 1.0
    assert found.reason.endswith("which is where the range ends: with a higher highest_rate it may be higher")


def test_negative_losses_do_not_end_the_test_as_they_fall() -> None:
    measured = measure([-step / 10 for step in range(500)])
    assert (measured.end, len(measured.losses)) == ("", 500)


def test_smoothed_loss_is_a_mean_corrected_for_its_start() -> None:
    measured = measure([3.0] * 40)
    assert measured.window == 20
    assert measured.smoothed == pytest.approx([3.0] * 40)
