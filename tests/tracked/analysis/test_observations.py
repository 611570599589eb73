"""Counts of rows as JSON: sums of parts, intervals and classes."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracked.analysis.observations import CLASSES, LISTED, UP_TO, Counts, count_classes, count_values

pytestmark = pytest.mark.unit

EDGES = (0.0, 0.025, 1.0, 20.0)


def test_count_values_counts_a_value_at_an_edge_below_it() -> None:
    counted = count_values([-3, 0, 0.01, 0.025, 1, 1.1, 20, 21, math.inf], EDGES)
    assert counted == {UP_TO: {"0": 2, "0.025": 2, "1": 1, "20": 2, "inf": 2}}


def test_count_values_of_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not a number"):
        count_values([1.0, math.nan], EDGES)


def test_count_values_of_no_rows_is_zeros() -> None:
    assert Counts.read("n", count_values([], EDGES)).rows == 0


@given(st.lists(st.floats(allow_nan=False)), st.integers(0, 50))
def test_counts_of_parts_add_up_to_those_of_the_whole(values: list[float], cut: int) -> None:
    first, second, whole = (count_values(part, EDGES)[UP_TO] for part in (values[:cut], values[cut:], values))
    assert {edge: count + second[edge] for edge, count in first.items()} == whole
    assert Counts.read("n", json.loads(json.dumps({UP_TO: whole}, sort_keys=True))).rows == len(values)


def test_counts_read_from_json_in_any_order_are_the_same() -> None:
    counted = count_values([1, 5, 3000], [2, 10, 1000])
    read = Counts.read("n", json.loads(json.dumps(counted, sort_keys=True)))
    assert read == Counts((1, 1, 0, 1), edges=(2.0, 10.0, 1000.0))


def test_count_classes_lists_classes_without_a_row_unless_there_are_many() -> None:
    assert count_classes([1, 1], ["a", "b", "c"]) == {CLASSES: {"a": 0, "b": 2, "c": 0}}
    assert count_classes([7, 7], list(map(str, range(LISTED + 1)))) == {CLASSES: {"7": 2}}


def test_align_gives_both_the_classes_of_both() -> None:
    first, second = (Counts.read("c", {CLASSES: counts}) for counts in ({"b": 2}, {"a": 1, "b": 3}))
    assert first.align(second, "c") == (Counts((0, 2), ("a", "b")), Counts((1, 3), ("a", "b")))


@pytest.mark.parametrize("other", [count_values([1], [2]), count_classes([0], ["a"])])
def test_align_of_other_intervals_is_refused(other: Any) -> None:
    with pytest.raises(ValueError, match="n: counted by other intervals"):
        Counts.read("n", count_values([1], [3])).align(Counts.read("n", other), "n")


@pytest.mark.parametrize(
    "values", [3, None, {}, {"bins": {"2": 1}}, {UP_TO: {"2": 1}}, {UP_TO: {"x": 1}}, {CLASSES: [1]}, {UP_TO: {}}]
)
def test_counts_of_anything_else_are_refused(values: Any) -> None:
    with pytest.raises(ValueError, match=r"length: .* count_values or count_classes"):
        Counts.read("length", values)


def test_counts_of_numpy_codes_are_plain_json() -> None:
    assert json.dumps(count_classes(np.array([0, 1], np.int32), ["a", "b"]))
    assert json.dumps(count_values(np.array([0, 1], np.float32), [0.5]))
