"""Take the rows of the JSON that MLflow's scoring server takes, of tables with named columns or one column.

What it fills up, renames or leaves out is refused: rows of different lengths, doubled columns, unknown ones.
"""

from collections.abc import Sequence
from typing import Any

from tracked.console.lines import format_count
from tracked.serve.refusals import Refusal
from tracked.serve.rows import (
    Rows,
    find_places,
    reorder,
    require_few,
    require_list,
    take_lists,
    take_objects,
    take_rows,
)

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
PARAMS = "params"


def take_mlflow_form(document: Any, columns: Sequence[str], max_rows: int) -> Rows:
    """Take the rows of a JSON document with exactly one of ``FORMS``.

    Too many of them are refused before they are arranged, which takes longer than to read them.

    Raises:
        Refusal: 422, if it is another document.
    """
    allowed = f"allowed: an object with exactly one of {', '.join(FORMS)}"
    if type(document) is not dict:
        raise Refusal(422, f"the body is no JSON object; {allowed}")
    given = [form for form in FORMS if form in document]
    if len(given) != 1:
        raise Refusal(422, f"the body has {len(given) or 'none'} of the forms; {allowed}")
    if len(document) > 1 + (PARAMS in document):
        raise Refusal(422, f"the body has a key that is not known; {allowed}, and empty {PARAMS}")
    if document.get(PARAMS) not in (None, {}):
        raise Refusal(422, f"{PARAMS}: not empty; allowed: none, as the model takes none")
    form, table = given[0], document[given[0]]
    rows = table.get("data") if form == "dataframe_split" and type(table) is dict else table
    if type(rows) is list and len(rows) > max_rows:
        require_few(len(rows), max_rows, form)
    if form == "dataframe_split":
        return _take_split(form, table, columns)
    if form == "dataframe_records":
        return take_objects(form, table, columns)
    if type(table) is dict:
        return _take_columns(form, table, columns, max_rows)
    return take_rows(form, table, columns, takes_lists=True)


def _take_split(form: str, table: Any, columns: Sequence[str]) -> Rows:
    """Take a table's columns, its rows, and an index, which says nothing here."""
    if type(table) is not dict or not {"columns", "data"} <= table.keys() <= {"columns", "data", "index"}:
        raise Refusal(422, f"{form}: no table; allowed: an object with columns, data and, if need be, index")
    names, index = require_list(f"{form}: columns", table["columns"]), table.get("index")
    places = find_places(form, names, columns)
    given = take_rows(form, require_list(f"{form}: data", table["data"]), names, takes_lists=True).rows
    if index is not None and len(require_list(f"{form}: index", index)) != len(given):
        raise Refusal(
            422, f"{form}: index has {format_count(len(index), 'label')}, data {len(given):,}; allowed: a label a row"
        )
    return Rows(tuple(columns), reorder(given, places))


def _take_columns(form: str, table: dict[str, Any], columns: Sequence[str], max_rows: int) -> Rows:
    """Take a list of values for each column."""
    find_places(form, table, columns)
    values = [require_list(f"{form}: {column}", table[column]) for column in columns]
    if len(values[0]) > max_rows:
        require_few(len(values[0]), max_rows, form)
    for column, given in zip(columns, values, strict=True):
        if len(given) != len(values[0]):
            fault = f"{column} has {format_count(len(given), 'value')}, {columns[0]} has {len(values[0]):,}"
            raise Refusal(422, f"{form}: {fault}; allowed: as many values in each column")
    return take_lists(form, list(map(list, zip(*values, strict=True))), columns)
