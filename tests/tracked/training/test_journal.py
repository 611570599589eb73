import csv
import hashlib
import json
import math
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracked.analysis.early_stopping import Rule
from tracked.training.journal import Entry, Journal, read, write_tables

pytestmark = pytest.mark.unit

NUMBERS = st.floats(allow_nan=False)


def entry(epoch: int, value: float = 0.5) -> Entry:
    return Entry(epoch, 1_700_000_000_000 + epoch, {"val_loss": value, "epoch_seconds": 2.5})


def written(path: Path, values: list[float]) -> Journal:
    journal = Journal(path)
    for epoch, value in enumerate(values, start=1):
        journal.append(entry(epoch, value))
    return journal


@given(st.lists(NUMBERS, min_size=1, max_size=20), st.data())
def test_journal_restored_at_any_mark_has_the_entries_up_to_it(
    tmp_path_factory: pytest.TempPathFactory, values: list[float], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    journal, marks = Journal(path), []
    for epoch, value in enumerate(values, start=1):
        journal.append(entry(epoch, value))
        marks.append(journal.mark)
    journal.close()
    chosen = data.draw(st.integers(0, len(values) - 1))
    again = Journal(path)
    assert again.restore(marks[chosen]) == [entry(epoch, values[epoch - 1]) for epoch in range(1, chosen + 2)]
    assert again.mark == marks[chosen]
    again.append(entry(chosen + 2, 7.0))  # overwrites what followed the mark
    assert again.entries() == Journal(path).restore(again.mark)
    assert len(path.read_bytes()) == again.mark["bytes"]
    again.close()


def test_journal_with_nan_and_infinity_reads_them_back(tmp_path: Path) -> None:
    journal = written(tmp_path / "journal.jsonl", [math.nan, math.inf])
    assert str(journal.entries()[0].values["val_loss"]) == "nan"
    assert journal.entries()[1].values["val_loss"] == math.inf


def test_journal_append_leaves_earlier_lines_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = written(path, [0.5, 0.4])
    content, inode = path.read_bytes(), path.stat().st_ino
    journal.append(entry(3))
    assert path.read_bytes().startswith(content)
    assert path.stat().st_ino == inode
    assert [json.loads(line)["epoch"] for line in path.read_text().splitlines()] == [1, 2, 3]


@pytest.mark.parametrize("damage", [lambda c: c[:-1], lambda c: c.replace(b"0.4", b"0.3"), lambda c: b""])
def test_restore_of_a_damaged_journal_is_refused(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "journal.jsonl"
    journal = written(path, [0.5, 0.4])
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"journal\.jsonl is damaged"):
        Journal(path).restore(journal.mark)


def test_restore_with_a_partial_line_after_the_mark_ignores_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    mark = written(path, [0.5]).mark
    with path.open("ab") as file:
        file.write(b'{"epoch": 2, "ti')
    again = Journal(path)
    assert again.restore(mark) == [entry(1)]
    again.append(entry(2))
    assert [json.loads(line)["epoch"] for line in path.read_text().splitlines()] == [1, 2]


def test_append_to_a_removed_or_replaced_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = written(path, [0.5])
    path.rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError):
        journal.append(entry(2))
    path.write_text("another process's\n")
    with pytest.raises(OSError, match="was replaced by another process"):
        journal.append(entry(2))
    assert path.read_text() == "another process's\n"


def test_new_journal_over_an_earlier_file_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text("of a training without a usable snapshot\n")
    journal = written(path, [0.5])
    assert len(path.read_text().splitlines()) == 1
    assert journal.restore({"bytes": 0, "sha256": Journal(path).mark["sha256"]}) == []


def test_tables_have_every_epoch_and_event(tmp_path: Path) -> None:
    entries = [entry(epoch, value) for epoch, value in enumerate([0.5, 0.3, 0.3, 0.3], start=1)]
    paths = write_tables(entries, Rule("min", 2), "val_loss", tmp_path)
    assert [path.name for path in paths] == ["early_stopping.csv", "history.csv"]
    rows = list(csv.DictReader(paths[0].open()))
    assert list(rows[0]) == ["epoch", "value", "best", "wait", "event", "time"]
    assert [(row["epoch"], row["value"], row["best"], row["wait"], row["event"]) for row in rows] == [
        ("1", "0.5", "0.5", "0", "improved"), ("2", "0.3", "0.3", "0", "improved"),
        ("3", "0.3", "0.3", "1", "waiting"), ("4", "0.3", "0.3", "2", "stopped"),
    ]  # fmt: skip
    for row, written_entry in zip(rows, entries, strict=True):
        assert row["time"].endswith("+00:00")
        assert round(datetime.fromisoformat(row["time"]).timestamp() * 1000) == written_entry.time
    history = list(csv.DictReader(paths[1].open()))
    assert [float(row["val_loss"]) for row in history] == [0.5, 0.3, 0.3, 0.3]


def test_tables_without_an_epoch_have_no_history(tmp_path: Path) -> None:
    (path,) = write_tables([], Rule("min", 2), "val_loss", tmp_path)
    assert path.read_text().splitlines() == ["epoch,value,best,wait,event,time"]


@pytest.mark.parametrize(
    "line",
    [
        "5", "[]", "{}", "no JSON", '{"epoch": 1, "time": 2}', '{"epoch": 1, "time": 2, "values": {}, "more": 3}',
        '{"epoch": "1", "time": 2, "values": {}}', '{"epoch": 1, "time": null, "values": {}}',
        '{"epoch": 1, "time": 2, "values": [3]}', '{"epoch": 1, "time": 2, "values": {"loss": "low"}}',
    ],
)  # fmt: skip
def test_journal_line_that_is_not_an_entry_raises_value_error(tmp_path: Path, line: str) -> None:
    content = f"{line}\n".encode()
    (tmp_path / "journal.jsonl").write_bytes(content)
    mark = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    with pytest.raises(ValueError, match=r"journal|Expecting value"):
        Journal(tmp_path / "journal.jsonl").restore(mark)
    assert read(tmp_path / "journal.jsonl") == []
