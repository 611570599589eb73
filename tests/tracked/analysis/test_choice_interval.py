"""Intervals for the best of a few: their width by hand, and how often they hold the truth in a simulation."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import t as student
from scipy.stats import ttest_rel

from tracked.analysis.choice_interval import compute_half_widths

pytestmark = pytest.mark.unit

SAMPLES = 6000  # the standard error of a share of 0.95 is 0.003


def draw(deviations: Sequence[float], seeds: int) -> np.ndarray:
    """Draw noise of rows with these deviations, [samples, rows, seeds]; no row is better than another."""
    rng = np.random.default_rng(1)
    return rng.normal(size=(SAMPLES, len(deviations), seeds)) * np.array(deviations)[:, None]


def test_half_width_of_one_choice_is_that_of_the_paired_t_interval() -> None:
    first, second = [0.31, 0.35, 0.32, 0.36], [0.30, 0.31, 0.33, 0.31]
    expected = ttest_rel(first, second).confidence_interval(0.95)
    assert compute_half_widths([first, second], 1) == [pytest.approx((expected.high - expected.low) / 2)]


def test_half_width_of_one_of_three_choices_is_corrected_for_all_three() -> None:
    rows = [[0.1, 0.5, 0.2, 0.7, 0.4, 0.6, 0.3, 0.2, 0.9, 0.5], [0.3, 0.4, 0.4, 0.5, 0.4, 0.1, 0.3, 0.6, 0.5, 0.2]]
    one, three = compute_half_widths(rows, 1)[0], compute_half_widths(rows, 3)[0]
    assert three / one == pytest.approx(student.ppf(1 - 0.025 / 3, 9) / student.ppf(0.975, 9))


def test_half_widths_hold_for_all_rows_at_once() -> None:
    """Without the correction for three choices, 8 in 100 samples have a row whose interval misses; with it, 3."""
    missed = 0
    for rows in draw((1, 1, 1, 1), 20):
        missed += bool((np.abs((rows[0] - rows[1:]).mean(1)) > compute_half_widths(rows, 3)).any())
    assert 0.01 < missed / SAMPLES < 0.05


@pytest.mark.parametrize("deviations", [(1, 0.1, 0.1, 0.1), (0.1, 0.1, 0.1, 1), (1, 1, 1, 1)])
def test_half_width_of_the_best_of_three_rows_holds_where_one_row_is_noisier(deviations: Sequence[float]) -> None:
    """With the common deviation alone, or the common factor alone, 7 in 100 miss where the first row is noisier."""
    held = 0
    for rows in draw(deviations, 3):
        ahead = (rows[0] - rows[1:]).mean(1)
        held += abs(ahead.max()) <= compute_half_widths(rows, 3)[ahead.argmax()]
    assert held / SAMPLES > 0.942


def test_half_width_of_three_values_uses_the_other_rows_too() -> None:
    """A lead of four deviations between seeds shows in 70 of 100 samples; by its own differences alone, in 41."""
    shown = plain = 0
    quantile = student.ppf(1 - 0.025 / 3, 2)
    for rows in draw((1, 1, 1, 1), 3)[:1500]:
        ahead = rows[0] - (rows[1:] - 4)
        best = int(ahead.mean(1).argmax())
        shown += ahead[best].mean() > compute_half_widths(rows, 3)[best]
        plain += ahead[best].mean() > quantile * ahead[best].std(ddof=1) / np.sqrt(3)
    assert shown / 1500 > 0.6
    assert plain / 1500 < 0.5


@pytest.mark.parametrize(
    ("rows", "choices", "count"),
    [
        ([[1.0], [2.0], [3.0]], 2, 2),  # one seed
        ([[], [], []], 2, 2),  # the defaults have no value
        ([[1.0, 2.0]], 3, 0),  # no candidate is complete
        ([[1.0, 2.0, 4.0], [0.5, 1.5, 3.5]], 1, 1),  # by the same everywhere
        ([[0.3, 0.1, 0.2], [0.2, 0.0, 0.1]], 1, 1),  # the same but for rounding
    ],
)
def test_half_widths_where_nothing_varies_are_nan(rows: list[list[float]], choices: int, count: int) -> None:
    found = compute_half_widths(rows, choices)
    assert len(found) == count
    assert np.isnan(found).all()
