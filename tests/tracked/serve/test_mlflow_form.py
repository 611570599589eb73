"""What is taken means what MLflow's own parser reads in it."""

import json
from io import StringIO
from typing import Any

import pytest
from mlflow.models.utils import _enforce_schema
from mlflow.pyfunc.scoring_server import infer_and_parse_data, parse_csv_input
from mlflow.types import ColSpec, Schema, TensorSpec
from numpy import dtype

from tracked.serve.payloads import parse_invocations

TEXTS = [' one, "two" ', "é😀"]
PAIRS = [[1.5, 2.0], [3.0, -4.0]]
RECORDS = [{"b": b, "a": a} for a, b in PAIRS]


@pytest.mark.parametrize("form", [
    {"inputs": TEXTS},
    {"instances": TEXTS},
    {"inputs": {"text": TEXTS}},
    {"instances": {"text": TEXTS}},
    {"inputs": [{"text": text} for text in TEXTS]},
    {"instances": [{"text": text} for text in TEXTS]},
    {"dataframe_split": {"columns": ["text"], "data": TEXTS}},
    {"dataframe_split": {"columns": ["text"], "data": [[text] for text in TEXTS], "index": [3, 4]}},
    {"dataframe_split": {"columns": ["text"], "data": [{"text": text} for text in TEXTS]}},
    {"dataframe_records": [{"text": text} for text in TEXTS]},
])  # fmt: skip
def test_form_of_one_column_is_read_as_by_mlflow(form: Any) -> None:
    schema = Schema([ColSpec("string", "text")])
    expected = _enforce_schema(infer_and_parse_data(form, schema), schema).to_numpy().tolist()
    assert parse_invocations(json.dumps(form).encode(), "application/json", ("text",)).rows == expected


@pytest.mark.parametrize("form", [
    {"inputs": {"b": [2.0, -4.0], "a": [1.5, 3.0]}},
    {"instances": {"b": [2.0, -4.0], "a": [1.5, 3.0]}},
    {"inputs": RECORDS},
    {"instances": RECORDS},
    {"dataframe_split": {"columns": ["b", "a"], "data": [[2.0, 1.5], [-4.0, 3.0]]}},
    {"dataframe_split": {"columns": ["b", "a"], "data": RECORDS}},
    {"dataframe_records": RECORDS},
])  # fmt: skip
def test_form_of_named_columns_is_read_as_by_mlflow(form: Any) -> None:
    schema = Schema([ColSpec("double", "a"), ColSpec("double", "b")])
    expected = _enforce_schema(infer_and_parse_data(form, schema), schema).to_numpy().tolist()
    assert parse_invocations(json.dumps(form).encode(), "application/json", ("a", "b")).rows == expected == PAIRS


@pytest.mark.parametrize("key", ["inputs", "instances"])
@pytest.mark.parametrize(("rows", "columns"), [(PAIRS, ("a", "b")), ([[1.5], [2.0]], ("a",))])
def test_list_of_lists_is_read_as_by_mlflow_for_a_tensor(key: str, rows: Any, columns: tuple[str, ...]) -> None:
    schema, form = Schema([TensorSpec(dtype("float64"), (-1, len(columns)))]), {key: rows}
    expected = _enforce_schema(infer_and_parse_data(form, schema), schema).tolist()
    assert parse_invocations(json.dumps(form).encode(), "application/json", columns).rows == expected == rows


def test_csv_is_read_as_by_mlflow() -> None:
    schema = Schema([ColSpec("string", "text"), ColSpec("string", "title")])
    body = '\ufefftitle,text\r\n"a, ""b""\nc", d \n\ne,é\n'
    expected = _enforce_schema(parse_csv_input(StringIO(body), schema), schema).to_numpy().tolist()
    assert parse_invocations(body.encode(), "text/csv", ("text", "title")).rows == expected
