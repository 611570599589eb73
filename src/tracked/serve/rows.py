"""A request's rows: arranged by column, and within the limits."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from math import inf
from typing import Any

from tracked.console.lines import format_count
from tracked.serve.refusals import Refusal

_INFINITE = frozenset({inf, -inf})


@dataclass(slots=True)
class Rows:
    """Rows with a value for each column: None, true, numbers and texts, as the JSON has them; of CSV, texts."""

    columns: tuple[str, ...]
    rows: list[list[Any]]


def check_rows(rows: Rows, max_rows: int, max_length: int, name: str = "rows") -> None:
    """Check that there are rows, and that neither they nor their texts are too many or too long.

    Args:
        max_length: characters of a text.
        name: what the request calls its rows.

    Raises:
        Refusal: 422, if not.
    """
    require_few(len(rows.rows), max_rows, name)
    for number, row in enumerate(rows.rows, 1):
        for place, value in enumerate(row):
            if type(value) is str and len(value) > max_length:
                fault = f"row {number:,}: {rows.columns[place]} has {format_count(len(value), 'character')}"
                raise Refusal(422, f"{name}: {fault}; allowed: up to {max_length:,}")


def require_few(count: int, max_rows: int, name: str) -> None:
    """Require at least one row, and not too many.

    Raises:
        Refusal: 422, if not.
    """
    if not 0 < count <= max_rows:
        fault = f"{count:,} of them" if count else "the list is empty"
        allowed = f"1 to {max_rows:,} {name}" if max_rows > 1 else "exactly one"
        raise Refusal(422, f"{name}: {fault}; allowed: {allowed}")


def take_rows(name: str, given: Any, columns: Sequence[str], takes_lists: bool) -> Rows:
    """Take rows that are all as the first one is: objects by column, lists in their order, or values of one column.

    Raises:
        Refusal: 422, if they are not.
    """
    given = require_list(name, given)
    kind = type(given[0]) if given else None
    if kind is dict:
        return take_objects(name, given, columns)
    if kind is list and takes_lists:
        return take_lists(name, given, columns)
    if len(columns) > 1 and given:
        allowed = f"objects with {', '.join(columns)}, or lists of their values in this order"
        raise Refusal(422, f"{name}: row 1 is a single value; allowed: {allowed}")
    return _finish(name, [[value] for value in given], columns)


def take_objects(name: str, given: Any, columns: Sequence[str]) -> Rows:
    """Take rows that are objects with each column.

    Raises:
        Refusal: 422, if one is not.
    """
    given, wanted = require_list(name, given), set(columns)
    for number, row in enumerate(given, 1):
        if type(row) is not dict:
            allowed = f"objects with {', '.join(columns)}"
            raise Refusal(422, f"{name}: row {number:,} is no object; allowed: {allowed}")
        if row.keys() != wanted:
            find_places(f"{name}: row {number:,}", row, columns)
    return _finish(name, [[row[column] for column in columns] for row in given], columns)


def take_lists(name: str, given: Sequence[Any], columns: Sequence[str]) -> Rows:
    """Take rows that are lists of values in the order of the columns.

    Raises:
        Refusal: 422, if one is not.
    """
    width = len(columns)
    for number, row in enumerate(given, 1):
        if type(row) is not list or len(row) != width:
            fault = "is no list" if type(row) is not list else f"has {format_count(len(row), 'value')}"
            allowed = f"lists of {width:,}: {', '.join(columns)}"
            raise Refusal(422, f"{name}: row {number:,} {fault}; allowed: {allowed}")
    return _finish(name, list(given), columns)


def require_list(name: str, given: Any) -> list[Any]:
    """Require a list.

    Raises:
        Refusal: 422, if it is something else.
    """
    if type(given) is not list:
        raise Refusal(422, f"{name}: no list; allowed: a list")
    return given


def find_places(name: str, given: Iterable[Any], columns: Sequence[str]) -> list[int]:
    """Find where each column is among the given ones, which must be the same in any order.

    Raises:
        Refusal: 422, if one is missing, doubled or not known. What is not known is not named: it is input.
    """
    found, allowed = list(given), f"allowed: {', '.join(columns)}"
    for column in columns:
        if found.count(column) != 1:
            raise Refusal(422, f"{name} has {'two columns' if column in found else 'no column'} {column}; {allowed}")
    if len(found) > len(columns):
        raise Refusal(422, f"{name} has a column that is not known; {allowed}")
    return [found.index(column) for column in columns]


def reorder(rows: list[list[Any]], places: Sequence[int]) -> list[list[Any]]:
    """Bring each row's values in the order of ``places``: of as many as the row has values."""
    return rows if places == sorted(places) else [[row[place] for place in places] for row in rows]


def _finish(name: str, rows: list[list[Any]], columns: Sequence[str]) -> Rows:
    """Make rows whose values are single and finite.

    Raises:
        Refusal: 422, if one is not.
    """
    kinds = set(map(type, chain.from_iterable(rows)))
    is_nested = list in kinds or dict in kinds
    if is_nested or (float in kinds and not _INFINITE.isdisjoint(chain.from_iterable(rows))):
        for number, row in enumerate(rows, 1):
            for column, value in zip(columns, row, strict=True):
                if isinstance(value, list | dict):
                    fault = "a list" if isinstance(value, list) else "an object"
                    raise Refusal(422, f"{name}: row {number:,}: {column} is {fault}; allowed: a single value")
                if value in _INFINITE:
                    raise Refusal(422, f"{name}: row {number:,}: {column} is too large; allowed: up to 1.8e308")
    return Rows(tuple(columns), rows)
