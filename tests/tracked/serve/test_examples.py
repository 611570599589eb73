"""The example that is stored with a model, as the rows of an endpoint's columns."""

import json
from pathlib import Path
from typing import Any

import pytest

from tracked.console.errors import UserError
from tracked.runs.registry import StoredModel
from tracked.serve.version import EXAMPLE, _read_example

STORED = StoredModel("models:/tickets/2", "tickets", "2", "", "", {})


def read(folder: Path, content: Any, *columns: str) -> list[list[Any]]:
    (folder / EXAMPLE).write_text(json.dumps(content))
    return _read_example(folder, columns, STORED)


def test_example_of_joined_texts_stands_in_the_first_of_several_columns(tmp_path: Path) -> None:
    content = {"inputs": ["login\nagain", "refund"]}
    assert read(tmp_path, content, "subject") == [["login\nagain"], ["refund"]]
    assert read(tmp_path, content, "subject", "body", "tags") == [["login\nagain", None, None], ["refund", None, None]]


def test_example_with_a_value_a_column_is_read_in_their_order(tmp_path: Path) -> None:
    content = {"dataframe_split": {"columns": ["right", "left"], "data": [[1, 2], [3, 4]]}}
    assert read(tmp_path, content, "left", "right") == [[2, 1], [4, 3]]


@pytest.mark.parametrize(
    ("content", "fault"), [({"inputs": [[1, 2, 3]]}, "row 1 has 3 values"), ({}, "has none of the forms")]
)
def test_example_of_another_form_is_refused(tmp_path: Path, content: Any, fault: str) -> None:
    with pytest.raises(UserError, match=rf"^model: the example of tickets version 2 cannot be read: .*{fault}"):
        read(tmp_path, content, "left", "right")


def test_model_without_an_example_has_no_rows(tmp_path: Path) -> None:
    assert _read_example(tmp_path, ("text",), STORED) == []
