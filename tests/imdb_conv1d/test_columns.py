from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from imdb_conv1d.columns import Layout, find_columns
from imdb_conv1d.parameters import EvaluateParameters, TrainParameters
from tracked.console.errors import UserError

PATH = Path("/data/a.csv")


def asked(text: str = "text", label: str = "label", encoding: str = "utf-8") -> Any:
    return SimpleNamespace(text_column=text, label_column=label, encoding=encoding)


def test_layout_of_parameters_takes_their_columns() -> None:
    assert Layout.of(TrainParameters()) == Layout(("text",), "label", "utf-8")
    assert Layout.of(asked("title, body", "Class", "CP1252")) == Layout(("title", "body"), "Class", "cp1252")
    assert Layout.of(asked('"a, b",c')).text_columns == ("a, b", "c")
    assert Layout.of(asked("auto", "class")).text_columns == ("auto",)


def test_layout_of_auto_is_that_of_the_models_training() -> None:
    read_as = {"text_column": "title,body", "label_column": "Class", "encoding": "cp1252", "test_split": 0.1}
    auto = EvaluateParameters.model_construct(text_column="auto", label_column="auto", encoding="auto")
    assert Layout.of(auto, {"read_as": read_as}) == Layout(("title", "body"), "Class", "cp1252")
    assert Layout.of(auto, {}) == Layout(("text",), "label", "utf-8")  # a model of an earlier version
    assert Layout.of(asked("x", "auto", "auto"), {"read_as": read_as}) == Layout(("x",), "Class", "cp1252")


SEVERAL = "a column's name, or several different ones separated by commas"
KNOWN = "one that Python knows, such as utf-8 or cp1252"
OTHERS = "optionally split (text_column and label_column name others)"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (asked(""), f"text_column: '' is not allowed; allowed: {SEVERAL}"),
        (asked("a,,b"), f"text_column: 'a,,b' is not allowed; allowed: {SEVERAL}"),
        (asked("a,a"), f"text_column: 'a,a' is not allowed; allowed: {SEVERAL}"),
        (asked("a\nb"), f"text_column: 'a\\nb' is not allowed; allowed: {SEVERAL}"),
        (asked("a" * 200_000), f"text_column: {'a' * 200!r} is not allowed; allowed: {SEVERAL}"),
        (asked("a,b", "b"), "label_column: 'b' is not allowed; allowed: other columns than text_column's, 'a,b'"),
        (asked(label=" "), "label_column: ' ' is not allowed; allowed: a column's name"),
        (asked(encoding="klingon"), f"encoding: 'klingon' is not allowed; allowed: {KNOWN}"),
        (asked(encoding="base64"), f"encoding: 'base64' is not allowed; allowed: {KNOWN}"),
        (asked(encoding="a\0b"), f"encoding: 'a\\x00b' is not allowed; allowed: {KNOWN}"),
    ],
)
def test_layout_that_cannot_be_is_refused(parameters: Any, message: str) -> None:
    with pytest.raises(UserError) as refused:
        Layout.of(parameters)
    assert str(refused.value) == message


def test_find_columns_takes_exact_names_first() -> None:
    found = find_columns(["Text", "text", "LABEL", "label", "split"], Layout(), PATH)
    assert (found.texts, found.label, found.split, found.note) == ((1,), 3, 4, "")


def test_find_columns_says_which_name_differs_by_case() -> None:
    found = find_columns(["Label", " TEXT"], Layout(), PATH)
    assert (found.texts, found.label, found.split) == ((1,), 0, None)
    assert found.note == "the column ' TEXT' is taken for 'text'; the column 'Label' is taken for 'label'"


def test_split_column_that_is_asked_for_as_text_is_no_split() -> None:
    assert find_columns(["split", "label"], Layout(("split",), "label"), PATH).split is None
    found = find_columns(["text", "label", "Split"], Layout(), PATH)
    assert (found.split, found.note) == (None, "the column 'Split' is not taken for 'split'")
    assert find_columns(["Split", "label"], Layout(("split",), "label"), PATH).note == (
        "the column 'Split' is taken for 'split'"
    )


@pytest.mark.parametrize(
    ("names", "layout", "message"),
    [
        (["review", "stars"], Layout(), "data: /data/a.csv has no column 'text' (columns: review, stars); "
         f"allowed: text, label, {OTHERS}"),
        (["Text", "TEXT", "label"], Layout(), "data: /data/a.csv has two columns 'text' (columns: Text, TEXT, label); "
         f"allowed: text, label, {OTHERS}"),
        (["Text", "x"], Layout(("text",), "TEXT"),
         "data: /data/a.csv: the column 'Text' is asked for twice; allowed: a column for each name"),
        (["a\nb", "label"], Layout(), "data: /data/a.csv has no column 'text' (columns: a b, label); "
         f"allowed: text, label, {OTHERS}"),
        (list("abcdefghij"), Layout(("title", "body"), "class"),
         "data: /data/a.csv has no column 'title' (columns: a, b, c, d, e, f, g, h, ...); allowed: one of these"),
        (["Topic", "Queue"], Layout(("Topic",), "Qeue"),
         "data: /data/a.csv has no column 'Qeue' (columns: Topic, Queue); allowed: one of these; did you mean Queue?"),
    ],
)  # fmt: skip
def test_find_columns_that_are_not_there_is_refused(names: list[str], layout: Layout, message: str) -> None:
    with pytest.raises(UserError) as refused:
        find_columns(names, layout, PATH)
    assert str(refused.value) == message


def test_select_joins_texts_by_line_breaks_and_takes_missing_ones_as_empty() -> None:
    table = pd.DataFrame({"a": ["one", None, None], "label": [1, 2, 3], "b": ["two", "", "three"]})
    found = find_columns(list(table), Layout(("b", "a"), "label"), PATH).select(table, "a.csv")
    assert found["text"].tolist() == ["two\none", "\n", "three\n"]
    assert found["label"].tolist() == [1, 2, 3]
    with pytest.raises(UserError, match=r"^data: a\.csv: the column a holds int; allowed: texts$"):
        find_columns(list(table), Layout(("b", "a"), "label"), PATH).select(table.assign(a=0), "a.csv")
