"""The quick comparison of two commits: its intervals and its table."""

import numpy as np
import pytest

import quick

pytestmark = pytest.mark.unit


def test_interval_of_ratios_is_students_of_their_logarithms() -> None:
    found = quick.find_interval([1.0, 1.1, 1.21])
    assert found.ratio == pytest.approx(1.1)
    half = 4.302653 * np.log(1.1) / np.sqrt(3)
    assert found.low == pytest.approx(1.1 / np.exp(half))
    assert found.high == pytest.approx(1.1 * np.exp(half))
    assert not found.differs
    assert quick.find_interval([1.2, 1.21, 1.22]).differs
    assert quick.find_interval([0.8, 0.81, 0.82]).differs
    assert not quick.find_interval([2.0]).differs


@pytest.mark.parametrize("rounds", [3, 4, 8])
def test_intervals_of_equal_sides_exclude_one_in_twenty(rounds: int) -> None:
    logs = np.random.default_rng(1).normal(0, 0.1, 2000)
    assert quick.simulate(logs, rounds, samples=20_000) == pytest.approx(0.05, abs=0.01)


def test_table_tells_what_is_more_less_and_not_shown() -> None:
    rounds = [({"a": 1.0, "b": 2.0, "c": 1.0}, {"a": 2.0 + step, "b": 1.0, "c": 1.0 + step}) for step in (-0.01, 0.01)]
    rounds += [({"a": 1.0, "b": 2.0, "c": 1.0}, {"a": 2.0, "b": 1.0 - 0.01, "c": 1.0})]
    lines = quick.make_table(rounds, "main").splitlines()[2:]
    assert [line.split(" | ")[-1] for line in lines] == ["more |", "less |", "nothing |"]
    assert lines[0].startswith("| a | 1.00 | 2.00 | 2.000 | 1.9")
