from pathlib import Path

import mlflow
import pytest

from helpers.recording import record
from tracked.console.errors import RunFailed
from tracked.runs.worst_rows import read_worst


def record_with(folder: Path, content: str | None) -> mlflow.entities.Run:
    """Record an evaluation whose table of worst rows has this content; None: it has no table."""
    run_id = record([], tags={"verb": "evaluate"})
    if content is not None:
        (folder / "mistakes.json").write_text(content)
        mlflow.MlflowClient().log_artifact(run_id, str(folder / "mistakes.json"))
    return mlflow.get_run(run_id)


def test_read_worst_gives_the_table_as_it_was_logged(store: str, tmp_path: Path) -> None:
    content = '{"columns": ["label", "text"], "data": [[1, "a\\u2028b"], ["1", null]]}'
    table = read_worst(record_with(tmp_path, content), tmp_path)
    assert table is not None
    assert table.to_dict("records") == [{"label": 1, "text": "a\u2028b"}, {"label": "1", "text": None}]


def test_read_worst_of_an_evaluation_without_a_table_is_none(store: str, tmp_path: Path) -> None:
    assert read_worst(record_with(tmp_path, None), tmp_path) is None


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"columns": ["a"], "data": [[1, 2]]}', '{"columns": 3, "data": 4}']
)
def test_read_worst_of_a_table_that_is_none_fails_in_one_line(store: str, tmp_path: Path, content: str) -> None:
    run = record_with(tmp_path, content)
    with pytest.raises(RunFailed, match=rf"^mistakes\.json of run {run.info.run_id} cannot be read \([^\n]*\)$"):
        read_worst(run, tmp_path)
