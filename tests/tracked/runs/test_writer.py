"""What a run logs, as far as no store is needed for it."""

from pathlib import Path

import mlflow
import pytest

from find_secrets import Search
from tracked.runs.writer import Run, escape_markdown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("patience=30 seed=7 embedding_dims=8", "patience=30 seed=7 embedding_dims=8"),
        ("a|b\\|c\nd", "a\\|b\\\\\\|c d"),
        ("[x](y) *b* _i_ ~s~ `c` <script> &amp;", "\\[x\\](y) \\*b\\* \\_i\\_ \\~s\\~ \\`c\\` \\<script\\> \\&amp;"),
    ],
)
def test_escaped_markdown_shows_the_text(text: str, expected: str) -> None:
    assert escape_markdown(text) == expected


@pytest.mark.usefixtures("store")
def test_run_stores_no_secret_in_any_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2-hunter2")
    client = mlflow.MlflowClient()
    run = Run(client.create_run("0").info.run_id, "of-a-test")
    address = "https://ann:hunter2-hunter2@host/rows.csv"
    run.set_tags({"a": address})
    run.set_description(f"of {address}, with hunter2-hunter2")
    run.extend_description(f"and {escape_markdown(address)}")
    run.log_input(address, "0" * 64, "training", {"rows": 1}, {"a": "double"})
    run.log_dict({"of": address}, "of.json")
    run.flush()
    run.close()
    stored = client.get_run(run.id).data.tags
    assert stored["a"] == "https://ann:***@host/rows.csv"
    assert stored["mlflow.note.content"].startswith("of https://ann:***@host/rows.csv, with ***\n\nand https:")
    search = Search(["hunter2-hunter2"]).look_below(tmp_path)
    assert search.found == []
    assert search.packed > 0
    client.set_tag(run.id, "a", address)
    assert search.look_below(tmp_path).found
