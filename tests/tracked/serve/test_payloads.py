"""Rows of bodies: what is taken, and what each rule refuses."""

import csv
import json
import sys
from typing import Any

import pytest

from tracked.serve.payloads import Refusal, Rows, check_rows, parse_invocations, parse_plain

pytestmark = pytest.mark.unit

JSON, CSV = "application/json", "text/csv"
ONE, TWO = ("text",), ("age", "sex")


def plain(body: Any, columns: tuple[str, ...] = ONE, content_type: str = JSON) -> list[list[Any]]:
    return parse_plain(as_bytes(body), content_type, "texts", columns).rows


def mlflow(body: Any, columns: tuple[str, ...] = ONE, content_type: str = JSON) -> list[list[Any]]:
    return parse_invocations(as_bytes(body), content_type, columns).rows


def as_bytes(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


@pytest.mark.parametrize(
    ("rows", "columns", "expected"),
    [
        (["a", "b"], ONE, [["a"], ["b"]]),
        ([{"text": "a"}], ONE, [["a"]]),
        ([{"sex": 2, "age": 1}], TWO, [[1, 2]]),
        ([[1, 2.5]], TWO, [[1, 2.5]]),
        ([None, True, -1, 1.5, " \0\r\n\u2028é😀 "], ONE, [[None], [True], [-1], [1.5], [" \0\r\n\u2028é😀 "]]),
        ([], ONE, []),
        ([], TWO, []),
    ],
)
def test_plain_form_gives_values_in_the_order_of_columns(rows: Any, columns: Any, expected: Any) -> None:
    parsed = parse_plain(as_bytes({"texts": rows}), JSON, "texts", columns)
    assert parsed == Rows(columns, expected)
    assert [list(map(type, row)) for row in parsed.rows] == [list(map(type, row)) for row in expected]


@pytest.mark.parametrize(
    ("body", "columns", "expected"),
    [
        ({"inputs": ["a", "b"]}, ONE, [["a"], ["b"]]),
        ({"instances": [["a"], ["b"]]}, ONE, [["a"], ["b"]]),
        ({"instances": [{"sex": 2, "age": 1}]}, TWO, [[1, 2]]),
        ({"inputs": [[1, 2], [3, 4]]}, TWO, [[1, 2], [3, 4]]),
        ({"inputs": {"sex": [2, 4], "age": [1, 3]}}, TWO, [[1, 2], [3, 4]]),
        ({"dataframe_records": [{"sex": 2, "age": 1}]}, TWO, [[1, 2]]),
        ({"dataframe_split": {"columns": ["sex", "age"], "data": [[2, 1]], "index": ["x"]}}, TWO, [[1, 2]]),
        ({"dataframe_split": {"columns": ["text"], "data": ["a"], "index": None}}, ONE, [["a"]]),
        ({"inputs": ["a"], "params": {}}, ONE, [["a"]]),
        ({"inputs": ["a"], "params": None}, ONE, [["a"]]),
    ],
)
def test_forms_of_mlflow_give_values_in_the_order_of_columns(body: Any, columns: Any, expected: Any) -> None:
    assert mlflow(body, columns) == expected


@pytest.mark.parametrize(
    ("body", "columns", "expected"),
    [
        (b"text\na\n", ONE, [["a"]]),
        (b"sex,age\r\n2,1\r\n", TWO, [["1", "2"]]),
        (b'\xef\xbb\xbftext\n"a, ""b""\r\nc"\n\n""\n NA \nno end', ONE, [['a, "b"\r\nc'], [""], [" NA "], ["no end"]]),
        (b"text\na\0b\n", ONE, [["a\0b"]]),
        (b"text\n" + b"a" * 200_000, ONE, [["a" * 200_000]]),
        (b"text\n", ONE, []),
    ],
)
def test_csv_gives_texts_exactly_as_they_stand(body: bytes, columns: Any, expected: Any) -> None:
    limit = csv.field_size_limit()
    assert mlflow(body, columns, CSV) == expected
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize(
    "content_type", [JSON, "Application/JSON", "application/json;charset=utf-8", 'application/json ; charset="UTF-8"']
)
def test_content_type_in_utf8_is_taken(content_type: str) -> None:
    assert plain({"texts": ["a"]}, content_type=content_type) == [["a"]]


@pytest.mark.parametrize(
    ("content_type", "message"),
    [
        ("", "Content-Type: missing; allowed: application/json"),
        ("text/plain", "Content-Type: not known; allowed: application/json"),
        (CSV, "Content-Type: not known; allowed: application/json"),
        ("application/json; charset=latin-1", "Content-Type: has other parameters than charset=utf-8; allowed: "
         "this one, or none"),
        ("application/json; version=2", "Content-Type: has other parameters than charset=utf-8; allowed: "
         "this one, or none"),
    ],
)  # fmt: skip
def test_other_content_type_is_refused(content_type: str, message: str) -> None:
    assert refusal(plain, {"texts": ["a"]}, content_type=content_type) == (415, message)


def test_other_content_type_of_invocations_is_refused_by_both_types() -> None:
    expected = (415, "Content-Type: not known; allowed: application/json or text/csv")
    assert refusal(mlflow, b"", content_type="application/vnd.apache.parquet") == expected


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "the body is empty; allowed: at least one row"),
        (b'{"texts": ["\xff"]}', 400, "the body is not UTF-8 text: byte 13 is wrong; allowed: UTF-8"),
        (b'\xef\xbb\xbf{"texts": ["a"]}', 400, "the body is no JSON: Expecting value at line 1, column 1; "
         "allowed: JSON"),
        ('{"texts": []}'.encode("utf-16-le"), 400, "the body is no JSON: Expecting property name enclosed in double "
         "quotes at line 1, column 2; allowed: JSON"),
        (b'{"texts": ["\\x"]}', 400, "the body is no JSON: Invalid \\escape at line 1, column 13; allowed: JSON"),
        (b'{"texts": ["a"]} b', 400, "the body is no JSON: Extra data at line 1, column 18; allowed: JSON"),
        (b'{"texts": [NaN]}', 400, "NaN is no JSON; allowed: finite numbers"),
        (b'{"texts": [-Infinity]}', 400, "Infinity is no JSON; allowed: finite numbers"),
        (b'{"texts": [1], "texts": [2]}', 400, "a JSON object has a key twice; allowed: each key once"),
        (b'{"texts": [{"text": 1, "text": 2}]}', 400, "a JSON object has a key twice; allowed: each key once"),
        (b"[" * 100_000, 400, "the body is nested too deeply; allowed: rows of single values"),
        (b'{"texts": ' * 100_000, 400, "the body is nested too deeply; allowed: rows of single values"),
        (b'{"texts": ["\\ud800"]}', 400, "the body escapes half a character, a lone surrogate; allowed: whole "
         "characters"),
        (b'{"texts": ["a"], "\\uDFFF": 1}', 400, "the body escapes half a character, a lone surrogate; allowed: whole "
         "characters"),
        (b'{"texts": [1e999]}', 422, "texts: row 1: text is too large; allowed: up to 1.8e308"),
        (b'{"texts": [1, -1e999]}', 422, "texts: row 2: text is too large; allowed: up to 1.8e308"),
        (b'{"texts": [' + b"1" * 10_000 + b"]}", 422, "a number has too many digits; allowed: up to "
         f"{sys.get_int_max_str_digits():,} digits"),
        ([1], 422, "the body is no JSON object; allowed: an object with the key texts alone"),
        ({}, 422, "the body has no key texts; allowed: an object with the key texts alone"),
        ({"inputs": ["a"]}, 422, "the body has no key texts; allowed: an object with the key texts alone"),
        ({"texts": ["a"], "b": 1}, 422, "the body has a key that is not known; allowed: an object with the key texts "
         "alone"),
        ({"texts": "abc"}, 422, "texts: no list; allowed: a list"),
        ({"texts": {"text": ["a"]}}, 422, "texts: no list; allowed: a list"),
        ({"texts": ["a", ["b"]]}, 422, "texts: row 2: text is a list; allowed: a single value"),
        ({"texts": [["a"]]}, 422, "texts: row 1: text is a list; allowed: a single value"),
        ({"texts": [{"text": {}}]}, 422, "texts: row 1: text is an object; allowed: a single value"),
        ({"texts": ["a", {"text": "b"}]}, 422, "texts: row 2: text is an object; allowed: a single value"),
        ({"texts": [{"text": "a"}, "b"]}, 422, "texts: row 2 is no object; allowed: objects with text"),
        ({"texts": [{"txet": "a"}]}, 422, "texts: row 1 has no column text; allowed: text"),
        ({"texts": [{"text": "a"}, {"text": "a", "b": 1}]}, 422, "texts: row 2 has a column that is not known; "
         "allowed: text"),
    ],
)  # fmt: skip
def test_plain_form_refuses_what_breaks_a_rule(body: Any, status: int, message: str) -> None:
    assert refusal(plain, body) == (status, message)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([1], "row 1 is a single value; allowed: objects with age, sex, or lists of their values in this order"),
        ([[1, 2], [1]], "row 2 has 1 value; allowed: lists of 2: age, sex"),
        ([[1, 2], 3], "row 2 is no list; allowed: lists of 2: age, sex"),
        ([[1, 2], [1.5, [2]]], "row 2: sex is a list; allowed: a single value"),
        ([{"age": 1}], "row 1 has no column sex; allowed: age, sex"),
    ],
)
def test_plain_form_of_several_columns_refuses_other_rows(rows: Any, message: str) -> None:
    assert refusal(plain, {"texts": rows}, TWO) == (422, f"texts: {message}")


FORMS = "an object with exactly one of dataframe_split, dataframe_records, instances, inputs"
TABLE = "dataframe_split: no table; allowed: an object with columns, data and, if need be, index"


@pytest.mark.parametrize(
    ("body", "columns", "message"),
    [
        (["a"], ONE, f"the body is no JSON object; allowed: {FORMS}"),
        ({"texts": ["a"]}, ONE, f"the body has none of the forms; allowed: {FORMS}"),
        ({"inputs": ["a"], "instances": ["a"]}, ONE, f"the body has 2 of the forms; allowed: {FORMS}"),
        ({"inputs": ["a"], "b": 1}, ONE, f"the body has a key that is not known; allowed: {FORMS}, and empty params"),
        ({"inputs": ["a"], "params": {"b": 1}}, ONE, "params: not empty; allowed: none, as the model takes none"),
        ({"inputs": ["a"], "params": []}, ONE, "params: not empty; allowed: none, as the model takes none"),
        ({"inputs": "a"}, ONE, "inputs: no list; allowed: a list"),
        ({"inputs": [["a", "b"]]}, ONE, "inputs: row 1 has 2 values; allowed: lists of 1: text"),
        ({"inputs": [[["a"]]]}, ONE, "inputs: row 1: text is a list; allowed: a single value"),
        ({"inputs": {"text": "a"}}, ONE, "inputs: text: no list; allowed: a list"),
        ({"inputs": {"b": ["a"]}}, ONE, "inputs has no column text; allowed: text"),
        ({"inputs": {"age": [1, 2], "sex": [1]}}, TWO, "inputs: sex has 1 value, age has 2; allowed: as many values "
         "in each column"),
        ({"inputs": [1, 2]}, TWO, "inputs: row 1 is a single value; allowed: objects with age, sex, or lists of their "
         "values in this order"),
        ({"dataframe_records": {"text": ["a"]}}, ONE, "dataframe_records: no list; allowed: a list"),
        ({"dataframe_records": ["a"]}, ONE, "dataframe_records: row 1 is no object; allowed: objects with text"),
        ({"dataframe_records": [{"age": 1, "sex": 1}, {"age": 1}]}, TWO, "dataframe_records: row 2 has no column sex; "
         "allowed: age, sex"),
        ({"dataframe_split": [["a"]]}, ONE, TABLE),
        ({"dataframe_split": {"data": [["a"]]}}, ONE, TABLE),
        ({"dataframe_split": {"columns": ["text"]}}, ONE, TABLE),
        ({"dataframe_split": {"columns": ["text"], "data": [], "b": 1}}, ONE, TABLE),
        ({"dataframe_split": {"columns": ["text"], "data": {}}}, ONE, "dataframe_split: data: no list; "
         "allowed: a list"),
        ({"dataframe_split": {"columns": None, "data": []}}, ONE, "dataframe_split: columns: no list; allowed: a list"),
        ({"dataframe_split": {"columns": [["text"]], "data": []}}, ONE, "dataframe_split has no column text; "
         "allowed: text"),
        ({"dataframe_split": {"columns": ["text", "b"], "data": []}}, ONE, "dataframe_split has a column that is not "
         "known; allowed: text"),
        ({"dataframe_split": {"columns": ["text", "text"], "data": []}}, ONE, "dataframe_split has two columns text; "
         "allowed: text"),
        ({"dataframe_split": {"columns": ["sex", "age"], "data": [[1]]}}, TWO, "dataframe_split: row 1 has 1 value; "
         "allowed: lists of 2: sex, age"),
        ({"dataframe_split": {"columns": ["text"], "data": ["a"], "index": [1, 2]}}, ONE, "dataframe_split: index has "
         "2 labels, data 1; allowed: a label a row"),
        ({"dataframe_split": {"columns": ["text"], "data": ["a"], "index": 1}}, ONE, "dataframe_split: index: no list; "
         "allowed: a list"),
    ],
)  # fmt: skip
def test_forms_of_mlflow_refuse_what_breaks_a_rule(body: Any, columns: Any, message: str) -> None:
    assert refusal(mlflow, body, columns) == (422, message)


QUOTES = "csv: a double quote is out of place; allowed: values in quotes, doubled within"


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "the body is empty; allowed: at least one row"),
        (b"\r\n\n", 400, "csv: no header; allowed: a header with age, sex"),
        (b"\xef\xbb\xbf", 400, "csv: no header; allowed: a header with age, sex"),
        (b"age,sex\n1,\xff\n", 400, "the body is not UTF-8 text: byte 11 is wrong; allowed: UTF-8"),
        (b'age,sex\n1,"2\n3,4\n', 400, QUOTES),
        (b'age,sex\n1,"2"3\n', 400, QUOTES),
        (b"age,sex\n1,2\n\n3\n", 400, "csv: row 2 has 1 value, the header has 2; allowed: as many values as columns"),
        (b"age,sex\n1,2,3\n", 400, "csv: row 1 has 3 values, the header has 2; allowed: as many values as columns"),
        (b"1,2\n", 422, "csv has no column age; allowed: age, sex"),
        (b"age;sex\n1;2\n", 422, "csv has no column age; allowed: age, sex"),
        (b"age,sex,age\n1,2,3\n", 422, "csv has two columns age; allowed: age, sex"),
        (b",age,sex\n0,1,2\n", 422, "csv has a column that is not known; allowed: age, sex"),
    ],
)
def test_csv_refuses_what_breaks_a_rule(body: bytes, status: int, message: str) -> None:
    assert refusal(mlflow, body, TWO, CSV) == (status, message)


@pytest.mark.parametrize(
    ("rows", "max_rows", "message"),
    [
        ([], 1000, "texts: the list is empty; allowed: 1 to 1,000 texts"),
        ([["a"]] * 1001, 1000, "texts: 1,001 of them; allowed: 1 to 1,000 texts"),
        ([["a"]] * 2, 1, "texts: 2 of them; allowed: exactly one"),
        ([["a"], ["b" * 6]], 1000, "texts: row 2: text has 6 characters; allowed: up to 5"),
    ],
)
def test_rows_beyond_a_limit_are_refused(rows: Any, max_rows: int, message: str) -> None:
    with pytest.raises(Refusal) as caught:
        check_rows(Rows(ONE, rows), max_rows, 5, "texts")
    assert (caught.value.status, caught.value.message) == (422, message)


def test_rows_at_the_limits_pass() -> None:
    check_rows(Rows(ONE, [["a" * 5], [123_456], [None]]), 3, 5)


def refusal(parse: Any, *given: Any, **named: Any) -> tuple[int, str]:
    with pytest.raises(Refusal) as caught:
        parse(*given, **named)
    assert str(caught.value) == caught.value.message
    assert caught.value.headers == {}
    return caught.value.status, caught.value.message
