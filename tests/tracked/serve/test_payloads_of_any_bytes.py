"""Whatever a body holds: it is read as it was written, or refused without a word of it."""

import csv
import io
import json
from functools import partial
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracked.serve.payloads import Refusal, Rows, check_rows, parse_invocations, parse_plain

pytestmark = pytest.mark.unit

JSON, CSV = "application/json", "text/csv"
NAME, COLUMNS = "texts", (("text",), ("age", "sex", "bmi"))
FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
KEYS = (*FORMS, NAME, "text", "age", "sex", "bmi", "columns", "data", "index", "params")
KNOWN = (*KEYS, "Infinity")  # what a message may have in common with a body
PIECE = 8  # characters of a message, at least one of them a small letter; a made-up text has none

texts = st.text(st.characters()).map(lambda text: "".join(char for char in text.upper() if not "a" <= char <= "z"))
cells = st.none() | st.booleans() | st.integers() | st.floats() | texts
keys = st.sampled_from(KEYS) | texts
values = st.recursive(
    cells, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)


def one_in(draw: st.DrawFn, many: int) -> bool:
    return draw(st.integers(1, many)) == many


@st.composite
def documents(draw: st.DrawFn, columns: tuple[str, ...]) -> Any:
    """Make documents that are nearly a form: at each level, something else may stand."""
    if one_in(draw, 8):
        return draw(values)
    rows = st.lists(cells, min_size=len(columns), max_size=len(columns))
    by_column = st.fixed_dictionaries(dict.fromkeys(columns, cells | values), optional={"TEXT": cells})
    table = st.lists(rows) | st.lists(by_column) | st.lists(cells | values) | values
    split = st.fixed_dictionaries({"columns": st.permutations(columns) | values, "data": table})
    lists = st.fixed_dictionaries({column: st.lists(cells, max_size=2) | values for column in columns})
    document = {draw(st.sampled_from([*FORMS, NAME, NAME])): draw(table | split | lists)}
    return document | draw(st.just({}) | st.dictionaries(keys, values, max_size=1))


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, str, tuple[str, ...]]:
    """Make a body, its type and the columns; some bodies are cut off or have other bytes somewhere."""
    columns = draw(st.sampled_from(COLUMNS))
    kind = draw(st.sampled_from([JSON, JSON, CSV]))
    if kind == JSON:
        text = json.dumps(draw(documents(columns)), ensure_ascii=draw(st.booleans()))
    else:
        header = draw(st.permutations(columns) | st.lists(keys, max_size=4))
        text = "\n".join(map(",".join, [header, *draw(st.lists(st.lists(texts, max_size=4), max_size=4))]))
    body = draw(st.binary().map(bytes.upper)) if one_in(draw, 8) else text.encode("utf-8", "surrogatepass")
    if one_in(draw, 4):
        place = draw(st.integers(0, len(body)))
        rest = body[place + draw(st.integers(0, 3)) :] if draw(st.booleans()) else b""
        body = body[:place] + draw(st.binary(max_size=3) | st.sampled_from([b'"', b"\\uD800", b"1E999"])).upper() + rest
    return body, draw(texts) if one_in(draw, 8) else draw(st.sampled_from([kind, f"{kind}; charset=utf-8"])), columns


@given(request=requests(), is_plain=st.booleans())
def test_any_body_is_read_or_refused_in_one_line_without_a_piece_of_it(
    request: tuple[bytes, str, tuple[str, ...]], is_plain: bool
) -> None:
    body, content_type, columns = request
    parse = partial(parse_plain, name=NAME) if is_plain else parse_invocations
    try:
        rows = parse(body, content_type, columns=columns)
        check_rows(rows, 3, 20)
    except Refusal as error:
        refusal = error
    else:
        assert 0 < len(rows.rows) <= 3
        assert all(len(row) == len(columns) for row in rows.rows)
        assert not any(isinstance(value, list | dict) for row in rows.rows for value in row)
        json.dumps(rows.rows, allow_nan=False, ensure_ascii=False).encode()  # finite numbers, whole characters
        return
    assert 400 <= refusal.status < 500
    assert_tells_nothing(refusal.message, [body.decode("utf-8", "replace"), body.decode("latin-1"), content_type])


def assert_tells_nothing(message: str, given: list[str]) -> None:
    assert message
    assert len(message.splitlines()) == 1
    assert message.isprintable()
    for name in sorted(KNOWN, key=len, reverse=True):
        message = message.replace(name, "\n")
    pieces = {message[start : start + PIECE] for start in range(len(message) - PIECE + 1)}
    assert not [piece for piece in pieces if any(piece in text for text in given)]


whole = st.text(st.characters(exclude_categories=["Cs"]))
single = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | whole
names = st.lists(whole, min_size=1, max_size=4, unique=True)


@st.composite
def row_tables(draw: st.DrawFn, cell: st.SearchStrategy) -> Rows:
    columns = draw(names)
    return Rows(tuple(columns), draw(st.lists(st.lists(cell, min_size=len(columns), max_size=len(columns)))))


@given(table=row_tables(single), order=st.randoms(use_true_random=False), ascii_only=st.booleans())
def test_rows_in_each_form_of_json_are_read_as_written(table: Rows, order: Any, ascii_only: bool) -> None:
    shuffled = order.sample(table.columns, len(table.columns))
    frame = pd.DataFrame(table.rows, columns=list(table.columns), dtype=object)[shuffled]
    records = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    by_column = {name: list(frame[name]) for name in shuffled}
    forms: list[dict[str, Any]] = [
        *({key: value} for key in ("instances", "inputs") for value in (table.rows, records, by_column)),
        {"dataframe_records": [dict(order.sample(list(one.items()), len(one))) for one in records]},
        {"dataframe_split": {"columns": shuffled, "data": frame.to_numpy().tolist()}},
        {"dataframe_split": frame.to_dict(orient="split")},
    ]
    plain = [records]
    if len(table.columns) == 1:
        values = [row[0] for row in table.rows]
        forms += [{"instances": values}, {"inputs": values}]
        plain.append(values)
    else:
        plain.append(table.rows)
    for form in forms:
        body = json.dumps(form, ensure_ascii=ascii_only).encode()
        assert repr(parse_invocations(body, JSON, table.columns)) == repr(table)
    for rows in plain:
        body = json.dumps({"rows": rows}, ensure_ascii=ascii_only).encode()
        assert repr(parse_plain(body, JSON, "rows", table.columns)) == repr(table)


@given(table=row_tables(whole), quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_texts_in_csv_are_read_as_written(table: Rows, quoting: Any) -> None:
    file = io.StringIO(newline="")
    csv.writer(file, quoting=quoting).writerows([table.columns, *table.rows])
    assert parse_invocations(file.getvalue().encode("utf-8-sig"), CSV, table.columns) == table


@pytest.mark.parametrize("is_indexed", [True, False])
def test_csv_of_pandas_is_read_unless_it_has_the_index(is_indexed: bool) -> None:
    frame = pd.DataFrame({"age": ["1", ""], "sex": ['a "b",\n', "é"]})
    body = frame.to_csv(index=is_indexed).encode()
    if is_indexed:
        with pytest.raises(Refusal, match="csv has a column that is not known; allowed: age, sex"):
            parse_invocations(body, CSV, ("age", "sex"))
    else:
        assert parse_invocations(body, CSV, ("age", "sex")).rows == frame.to_numpy().tolist()
