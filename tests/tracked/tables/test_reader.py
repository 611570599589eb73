"""Readers of users' tables: every row comes once, good or bad, and a bad one ends nothing."""

import csv
import gzip
import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tracked.console.errors import UserError
from tracked.tables.files import find_files, read_fingerprint, require_same
from tracked.tables.reader import TableReader
from tracked.tables.rows import Bad

pytestmark = pytest.mark.unit


def read(path: Path, *columns: str, encoding: str = "utf-8") -> list[Any]:
    """Read the values of all rows; of a bad one, its reason."""
    reader = TableReader(find_files(str(path)), columns or ("a", "b"), encoding)
    return [row.values.reason if isinstance(row.values, Bad) else row.values for row in reader.read()]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("packed", [False, True])
def test_csv_of_any_delimiter_is_read(tmp_path: Path, delimiter: str, packed: bool) -> None:
    path = tmp_path / ("rows.csv.gz" if packed else "rows.csv")
    text = f'x{delimiter}b{delimiter}a\n1{delimiter}"two ""2"""{delimiter}NA\n\n3{delimiter}"4\n4"{delimiter}\n'
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    assert read(path) == [("NA", 'two "2"'), ("", "4\n4")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"1,2,3\n", "3 values, the header has 2"),
        (b"1\n", "1 values, the header has 2"),
        (b"\xff,2\n", "not UTF-8 text"),
        (b'"1" 2,3\n', "a double quote is out of place"),
        (b'"never closed,2\n', "a double quote is out of place"),
        (b"1," + b"x" * 10_000_001 + b"\n", "a line with more than 10,000,000 characters"),
    ],
)
@pytest.mark.parametrize("quote", [b"", b'"'])
def test_bad_row_of_a_csv_is_told_and_its_neighbours_are_read(
    tmp_path: Path, line: bytes, reason: str, quote: bytes
) -> None:
    path = tmp_path / "rows.csv"
    rows = [b"%b%d%b,%d\n" % (quote, number, quote, number) for number in range(4)]
    path.write_bytes(b"a,b\n" + b"".join(rows[:2]) + line + b"".join(rows[2:]))
    assert read(path) == [("0", "0"), ("1", "1"), reason, ("2", "2"), ("3", "3")]


@pytest.mark.parametrize("end", [b"\r", b"\r\n", b"\n"])
def test_line_that_is_too_long_hides_no_other(tmp_path: Path, end: bytes) -> None:
    path, told = tmp_path / "rows.csv", "a line with more than 10,000,000 characters"
    long = b"x" * 20_000_001
    path.write_bytes(end.join([b"a", b"1", long, b"2", b'"never closed', long, b"3"]))
    assert read(path, "a") == [("1",), told, ("2",), "a double quote is out of place", told, ("3",)]


def test_limit_of_other_csv_readers_is_left_as_it_was(tmp_path: Path) -> None:
    path, limit = tmp_path / "rows.csv", csv.field_size_limit()
    path.write_text("a,b\n1,2\n" + "x" * 200_000 + ",4\n")
    rows = TableReader(find_files(str(path)), ["a", "b"]).read()
    assert next(rows).values == ("1", "2")
    assert csv.field_size_limit() == limit  # also while the file is open
    assert [len(row[0]) for row in read(path)] == [1, 200_000]
    assert csv.field_size_limit() == limit


def test_bad_lines_of_json_lines_are_told(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    bad = ["{", "[1]", '{"a": NaN}', '{"a": 1, "a": 2}', '{"a": "\\ud800"}', "[" * 100_000]
    path.write_bytes(
        "\n".join(['{"a": 1, "b": [2]}', *bad, "", '{"b": "ü"}']).encode() + b'\n{"a": "\xff"}\n{"a": true, "c": 1}'
    )
    got = read(path)
    assert (got[0], got[-3], got[-1]) == ((1, [2]), (None, "ü"), (True, None))
    assert [reason.split(" (")[0] for reason in [*got[1:-3], got[-2]]] == [
        *["no JSON object"] * 4, "not Unicode text", "no JSON object", "not UTF-8 text",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["rows.parquet", "rows.parquet.gz"])
def test_parquet_is_read_with_a_text_that_is_no_utf8(tmp_path: Path, name: str) -> None:
    texts = pa.array([b"good", b"\xff", None, "ü".encode()], pa.binary()).cast(pa.string(), safe=False)
    packed = tmp_path / name
    pq.write_table(pa.table({"b": [1, 2, None, 4], "a": texts}), tmp_path / "plain")
    content = (tmp_path / "plain").read_bytes()
    packed.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert read(packed) == [("good", 1), "not UTF-8 text", (None, None), ("ü", 4)]


def test_time_that_is_out_of_range_makes_a_bad_row(tmp_path: Path) -> None:
    times = pa.array([0, 2**62, None, 5], pa.timestamp("us"))
    pq.write_table(pa.table({"a": times, "b": [1, 2, 3, 4]}), tmp_path / "rows.parquet")
    first, bad, missing, last = read(tmp_path / "rows.parquet")
    assert (bad, missing) == ("a time that is out of range", (None, 3))
    assert (str(first[0]), str(last[0])) == ("1970-01-01 00:00:00", "1970-01-01 00:00:00.000005")


def test_memory_does_not_grow_with_a_parquet_file(tmp_path: Path) -> None:
    texts = pa.array([f"{number:09d}" * 12 for number in range(20_000)])
    with pq.ParquetWriter(tmp_path / "rows.parquet", pa.schema([("a", pa.string())]), compression="none") as file:
        for _ in range(40):  # 86 MB
            file.write_table(pa.table({"a": texts}), row_group_size=5_000)
    reader, before, most = TableReader(find_files(str(tmp_path)), ["a"]), pa.total_allocated_bytes(), 0
    for number, _ in enumerate(reader.read()):
        if number % 10_000 == 0:
            most = max(most, pa.total_allocated_bytes() - before)
    assert most < 20_000_000


def test_files_of_a_folder_and_of_a_pattern_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    (folder / "b").mkdir(parents=True)
    pd.DataFrame({"a": [3], "b": [3]}).to_parquet(folder / "b" / "1.parquet")
    (folder / "a.csv").write_text("a,b\n1,1\n")
    (folder / "c.jsonl").write_text(json.dumps({"a": 4, "b": 4}))
    for name in ("_SUCCESS", ".hidden.csv", "README.txt"):
        (folder / name).write_text("no table")
    assert read(folder) == [("1", "1"), (3, 3), (4, 4)]
    assert [file.name for file in find_files(f"{folder}/*.[cj]s*")] == ["a.csv", "c.jsonl"]
    assert [file.name for file in find_files(f"{tmp_path}/*/**/*.parquet")] == ["rows/b/1.parquet"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("rows.csv", b"x,y\n1,2\n", "has no column 'a' (it has 'x', 'y')"),
        ("rows.csv", b"a,a,b\n1,2,3\n", "has 2 columns 'a'"),
        ("rows.csv", b"", "is empty"),
        ("rows.csv", b'"a" x,b\n1,2\n', "has a header that cannot be read (a double quote is out of place)"),
        ("rows.jsonl", b'{"x": 1}\n', "has no column 'a' (it has 'x')"),
        ("rows.parquet", b"PAR1", "is not a Parquet file"),
        ("rows.csv.gz", b"a,b", "is no complete gzip file"),
        ("rows.txt", b"", "has an unknown format"),
    ],
)
def test_file_that_cannot_be_read_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as error:
        read(tmp_path / name)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def write_rows(folder: Path, *names: str) -> None:
    """Write a table of one row for each name."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("a,b\n1,2\n")


def test_name_of_a_column_is_found_in_any_case_if_one_is_alike(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("A, B\n1,2\n")
    (tmp_path / "exact.csv").write_text("A,a,b\n1,2,3\n")
    (tmp_path / "two.csv").write_text("A,A ,b\n1,2,3\n")
    assert read(tmp_path / "one.csv") == [("1", "2")]
    assert read(tmp_path / "exact.csv") == [("2", "3")]
    with pytest.raises(UserError, match="has 2 columns 'a'"):
        read(tmp_path / "two.csv")


def test_missing_file_in_a_folder_with_the_signs_of_a_pattern_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run[1]").mkdir()
    monkeypatch.chdir(tmp_path / "run[1]")
    with pytest.raises(UserError, match=r"none\.csv' does not exist"):
        find_files("none.csv")


def test_pattern_is_looked_for_in_its_folder_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_rows(tmp_path, "run1/wrong.csv", "run[1]/right.csv")
    monkeypatch.chdir(tmp_path / "run[1]")
    assert [(file.path, file.name) for file in find_files("*.csv")] == [(tmp_path / "run[1]/right.csv", "right.csv")]


def test_pattern_has_each_file_once_and_none_that_is_hidden(tmp_path: Path) -> None:
    write_rows(tmp_path, "d/a/b/a/x.csv", "d/_temporary/x.csv", "d/a/_tmp.csv", "d/.git/x.csv", "d/x.csv")
    assert [file.name for file in find_files(f"{tmp_path}/d/**/**/*.csv")] == ["a/b/a/x.csv", "x.csv"]
    assert [file.name for file in find_files(f"{tmp_path}/d/**/a/**/*.csv")] == ["a/b/a/x.csv"]


def test_folder_behind_a_link_is_read_once(tmp_path: Path) -> None:
    write_rows(tmp_path, "d/x.csv", "far/y.csv")
    (tmp_path / "d/far").symlink_to(tmp_path / "far")
    (tmp_path / "d/loop").symlink_to(tmp_path / "d")
    assert [file.name for file in find_files(f"{tmp_path}/d")] == ["far/y.csv", "x.csv"]
    with pytest.raises(UserError, match="are the same file; allowed: each file once"):
        find_files(f"{tmp_path}/d/**/*.csv")


def test_file_with_two_hard_links_is_refused(tmp_path: Path) -> None:
    write_rows(tmp_path, "d/x.csv", "d/y.csv")
    (tmp_path / "d/z.csv").hardlink_to(tmp_path / "d/x.csv")
    with pytest.raises(UserError, match=r"z.csv and .*x.csv are the same file"):
        find_files(f"{tmp_path}/d")


def test_file_with_two_names_or_with_none_that_can_be_written_is_refused(tmp_path: Path) -> None:
    write_rows(tmp_path, "d/x.csv")
    (tmp_path / "d/latest.csv").symlink_to("x.csv")
    with pytest.raises(UserError, match=r"x.csv and .*latest.csv are the same file"):
        find_files(f"{tmp_path}/d")
    write_rows(tmp_path, "e/\udcff.csv")
    with pytest.raises(UserError, match=r"'.udcff.csv' is not UTF-8; rename the file"):
        find_files(f"{tmp_path}/e")


def test_column_of_a_message_shows_little_of_a_row(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(f"{'secret ' * 50},2\n")
    with pytest.raises(UserError) as error:
        find_and_open(tmp_path / "rows.csv")
    assert str(error.value).count("secret") < 8


def find_and_open(path: Path) -> TableReader:
    """Open a table with a column a."""
    return TableReader(find_files(str(path)), ["a"])


@pytest.mark.parametrize(
    ("data", "told"),
    [("none.csv", "does not exist"), ("none*.csv", "no file is like"), (".", "has no table")],
)
def test_data_without_a_file_is_refused(tmp_path: Path, data: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        find_files(f"{tmp_path}/{data}")


def test_packed_file_that_is_cut_ends_the_reading_after_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress("\n".join(["a,b", *("1,2" for _ in range(100_000))]).encode())[:-20])
    reader = TableReader(find_files(str(path)), ["a", "b"])
    rows: list[Any] = []
    with pytest.raises(UserError, match="is no complete gzip file"):
        rows.extend(row.values for row in reader.read())
    assert len(rows) > 1000
    assert set(rows) == {("1", "2")}


def test_encoding_is_used_and_an_unknown_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes("a,b\nü,1\n".encode("cp1252"))
    assert read(tmp_path / "rows.csv", encoding="cp1252") == [("ü", "1")]
    with pytest.raises(UserError, match="encoding: 'none' is unknown"):
        read(tmp_path / "rows.csv", encoding="none")


def test_rows_are_estimated_from_what_was_read(tmp_path: Path) -> None:
    for name in ("1.csv", "2.csv"):
        (tmp_path / name).write_text("a,b\n" + "1,2\n" * 300_000)
    reader = TableReader(find_files(str(tmp_path)), ["a", "b"])
    assert reader.estimate_rows() is None
    rows = reader.read()
    for _ in range(400_000):
        next(rows)
    assert reader.estimate_rows() == pytest.approx(600_000, rel=0.3)
    pd.DataFrame({"a": [3] * 7, "b": [3] * 7}).to_parquet(tmp_path / "3.parquet")
    assert TableReader(find_files(f"{tmp_path}/3.parquet"), ["a"]).estimate_rows() == 7


def test_file_that_is_changed_or_removed_is_told(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n")
    (file,) = find_files(str(path))
    before = read_fingerprint(file)
    require_same(file, before)
    with path.open("r+") as stream:  # in place, with size and time as before, as rsync --inplace does
        stream.write("a,b\n3,2\n")
    os.utime(path, ns=(before.state[1], before.state[1]))
    with pytest.raises(UserError, match="was changed while it was being read"):
        require_same(file, before)
    path.write_text("a,b\n1,3\n4,5\n")
    with pytest.raises(UserError, match="was changed while it was being read"):
        require_same(file, before)
    path.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        require_same(file, before)
