"""The readers of files and folders: what was written is read, in every format, and bad input is refused in one line."""

import csv
import gzip
import json
import os
import random
import re
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.reviews import make_reviews
from imdb_conv1d import dataset, sources
from imdb_conv1d.columns import Layout
from imdb_conv1d.readers_files import ROWS
from tracked.console.errors import UserError
from tracked.experiment import PARTS
from tracked.tables import streams

REFUSAL = re.compile("data: .+; allowed: .+")  # one line, as a dot is no line break
FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(path: Path, layout: Layout | None = None) -> list[tuple[str, str, str]]:
    table = pd.concat(sources.resolve(str(path), layout).tables(), ignore_index=True)
    return [tuple(row) for row in table[["text", "label", "split"]].to_numpy().tolist()]


def load(path: Path, layout: Layout | None = None) -> dataset.LabelledTexts:
    return dataset.load(sources.resolve(str(path), layout), 0.2)


def try_to_read(path: Path, layout: Layout) -> tuple[list[tuple[str, str, str]], str]:
    """Read a file that may be anything: its rows, or the line that refuses it."""
    try:
        return read(path, layout), ""
    except UserError as error:
        return [], str(error)


def write_csv(path: Path, names: list[str], rows: list[tuple[Any, ...]], delimiter: str = ",") -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([names, *rows])


def write_jsonl(path: Path, names: list[str], rows: list[tuple[Any, ...]]) -> None:
    path.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows), "utf-8")


def write_parquet(path: Path, names: list[str], rows: list[tuple[Any, ...]]) -> None:
    pq.write_table(pa.table({name: [row[place] for row in rows] for place, name in enumerate(names)}), path)


WRITERS: dict[str, Callable[[Path, list[str], list[tuple[Any, ...]]], None]] = {
    "a.csv": write_csv,
    "semicolons.csv": lambda path, names, rows: write_csv(path, names, rows, ";"),
    "tabs.csv": lambda path, names, rows: write_csv(path, names, rows, "\t"),
    "bars.csv": lambda path, names, rows: write_csv(path, names, rows, "|"),
    "a.tsv": lambda path, names, rows: write_csv(path, names, rows, "\t"),
    "a.jsonl": write_jsonl,
    "a.ndjson": write_jsonl,
    "a.parquet": write_parquet,
}
CHARACTERS = st.characters(blacklist_categories=["Cs"])
TEXT = st.text(st.one_of(st.sampled_from("\",;\t|\n\r\0\ufeff 'é猫"), CHARACTERS), max_size=12)
TABLE = st.lists(
    st.tuples(
        TEXT.filter(str.strip), TEXT.filter(str.strip), st.sampled_from(["", "train", "test"]), st.text('x,;"\n')
    ),
    min_size=1,
    max_size=6,
)


def pack(path: Path) -> Path:
    packed = path.with_name(f"{path.name}.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    return packed


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
@given(rows=TABLE, names=st.permutations(["text", "label", "split", "note"]))
@FUZZ
def test_read_of_any_table_gives_what_was_written(
    tmp_path: Path, name: str, rows: list[tuple[str, ...]], names: list[str]
) -> None:
    columns = dict(zip(["text", "label", "split", "note"], zip(*rows, strict=True), strict=True))
    WRITERS[name](tmp_path / name, names, list(zip(*(columns[column] for column in names), strict=True)))
    expected = [row[:3] for row in rows]
    assert read(tmp_path / name) == expected
    assert read(pack(tmp_path / name)) == expected


BYTES = st.one_of(
    st.binary(max_size=200),
    st.text(st.sampled_from('text,label;|\t"\n\r{}[]:01\0'), max_size=80).map(str.encode),
    st.text(st.sampled_from('ab,;|\t"\n\r\0 01'), max_size=80).map(lambda text: b"text,label\n" + text.encode()),
    st.text(st.sampled_from('{}[]:,"textlabel01 \n\\'), max_size=80).map(
        lambda text: b'{"text": "a", "label": 1}\n' + text.encode()
    ),
)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet", "a.csv.gz", "a.jsonl.gz", "a.parquet.gz"])
@given(content=BYTES, packed=st.booleans(), encoding=st.sampled_from(["utf-8", "cp1252", "utf-16", "shift_jis"]))
@FUZZ
def test_read_of_any_bytes_is_refused_in_one_line_or_gives_rows(
    tmp_path: Path, name: str, content: bytes, packed: bool, encoding: str
) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if packed else content)
    rows, refusal = try_to_read(path, Layout(encoding=encoding))
    assert all(text.strip() and label.strip() for text, label, _ in rows)
    assert bool(rows) != bool(REFUSAL.fullmatch(refusal))


@given(seed=st.integers(0, 2**32), name=st.sampled_from(["a.parquet", "a.csv.gz", "a.jsonl.gz"]))
@FUZZ
def test_read_of_a_damaged_file_is_refused_in_one_line_or_gives_rows(tmp_path: Path, seed: int, name: str) -> None:
    chance, path = random.Random(seed), tmp_path / name.removesuffix(".gz")
    rows = [(f"text {row}", "ab"[row % 2]) for row in range(50)]
    WRITERS[path.name](path, ["text", "label"], rows)
    path = pack(path) if name.endswith(".gz") else path
    content = bytearray(path.read_bytes())
    for _ in range(chance.randint(1, 3)):
        content[chance.randrange(len(content))] = chance.randrange(256)
    path.write_bytes(content[: chance.choice([len(content), chance.randrange(len(content))])])
    found, refusal = try_to_read(path, Layout())
    assert bool(found) != bool(REFUSAL.fullmatch(refusal))
    if name.endswith(".gz"):  # which has a checksum
        assert found in ([], [(text, label, "") for text, label in rows])


def test_read_of_a_parquet_file_with_checksums_verifies_them(tmp_path: Path) -> None:
    table = pa.table({"text": ["good film", "bad film"], "label": ["1", "0"]})
    pq.write_table(table, tmp_path / "a.parquet", write_page_checksum=True, compression="none", use_dictionary=False)
    content = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(content.replace(b"\0\0\0good film", b"\0\0\0evil film"))
    with pytest.raises(UserError, match="CRC checksum"):
        read(tmp_path / "a.parquet")


IDS = "text,label\n" + "".join(f"text {row},id{row}\n" for row in range(100))
LABEL = ": the column label has"
AVERAGE = "as a column of ids has; allowed: a label that two rows or more have on average, at most 10,000 labels"
WHOLE = "is not allowed; allowed: a text or a whole number"
ANOTHER = "(encoding names another, such as cp1252)"
EMPTY = "text is not allowed; allowed: a text that is not empty"
BYTE = "is not UTF-8 text (invalid continuation byte at byte"
COMPLETE = "allowed: a complete one"
ALLOWED = "allowed: text, label, optionally split (text_column and label_column name others)"
BAD = {  # file name, content, message after "data: PATH"
    "no such column": ("a.csv", "review;stars\nx;1\n", f" has no column 'text' (columns: review, stars); {ALLOWED}"),
    "one class only": (
        "a.csv", "text,label\nx,1a\ny,1a\n", f"{LABEL} one label only, '1a'; allowed: two labels or more"),
    "as many classes as rows": (
        "a.csv", IDS, f"{LABEL} 100 labels in 100 rows, {AVERAGE}"),
    "labels that differ by blanks or case": (
        "a.csv", "text,label\na,Yes\nb,no\nc,yes \nd,no\n", f"{LABEL} labels that differ only by blanks, "
        "case or '.0': 'Yes' (1 row) and 'yes ' (1 row); allowed: one spelling of each label"),
    "mixed types": (
        "a.jsonl", '{"text": "a", "label": 1}\n{"text": "b", "label": "x"}\n',
        ", row 2: label 'x' is not allowed; allowed: labels of one type (a number as in row 1)"),
    "mixed types, truth values": (
        "a.jsonl", '{"text": "a", "label": "x"}\n{"text": "b", "label": true}\n',
        ", row 2: label True is not allowed; allowed: labels of one type (a text as in row 1)"),
    "empty text": ("a.csv", "text,label\na,1\n  ,0\n", f", row 2: {EMPTY}"),
    "missing label": ("a.csv", "text,label\na,1\nb,\n", f", row 2: label '' {WHOLE}"),
    "missing label in JSON": ("a.jsonl", '{"text": "a", "label": 1}\n{"text": "b"}\n',
        f", row 2: label None {WHOLE}"),
    "missing text in JSON": ("a.jsonl", '{"text": "a", "label": 1}\n{"text": null, "label": 1}\n',
        f", row 2: {EMPTY}"),
    "a label that is no whole number": ("a.jsonl", '{"text": "a", "label": 1}\n{"text": "b", "label": 0.5}\n',
        f", row 2: label '0.5' {WHOLE}"),
    "a delimiter that cannot be told": (
        "a.csv", "text:label\nx:1\n", " has no column 'text' (columns: text:label; no comma, semicolon, tab or "
        f"vertical bar separates columns); {ALLOWED}"),
    "two delimiters": (
        "a.csv", "text;label;x|text|label\n1;2;3\n",
        " has the columns with each of a semicolon and a vertical bar; allowed: a header with one kind of delimiter"),
    "a wrong encoding": (
        "a.csv", "text,label\ncafé,1\n".encode("latin-1"),
        f" {BYTE} 15); allowed: a CSV file in UTF-8 {ANOTHER}"),
    "UTF-16": (
        "a.csv", "text,label\ncafé,1\n".encode("utf-16"),
        f" is not UTF-8 text (invalid start byte at byte 1); allowed: a CSV file in UTF-8 {ANOTHER}"),
    "JSON in another encoding": (
        "a.jsonl", '{"text": "café", "label": 1}\n'.encode("latin-1"),
        f" {BYTE} 14); allowed: a JSON Lines file in UTF-8 {ANOTHER}"),
    "no gzip file": ("a.csv.gz", "text,label\n", f" is no complete gzip file (Not a gzipped file (b'te')); {COMPLETE}"),
    "half a gzip file": (
        "a.csv.gz", gzip.compress(IDS.encode())[:-9],
        f" is no complete gzip file (Compressed file ended before the end-of-stream marker was reached); {COMPLETE}"),
    "two keys": (
        "a.jsonl", '{"text": "a", "label": 1}\n\n{"text": "a", "label": 1, "label": 0}\n',
        ", line 3: not a JSON object (two keys 'label'); allowed: one object on each line"),
    "not a number": ("a.jsonl", '{"text": "a", "label": NaN}\n',
        ", line 1: not a JSON object (NaN is not JSON); allowed: one object on each line"),
    "a JSON array": ("a.jsonl", '[{"text": "a", "label": 1}]\n',
        ", line 1: not a JSON object (a JSON list, not an object); allowed: one object on each line"),
    "half a surrogate pair": ("a.jsonl", '{"text": "\\ud800", "label": 1}\n',
        ", row 1: text is not allowed; allowed: a text in Unicode"),
    "a number as text": ("a.jsonl", '{"text": "a", "label": 1}\n{"text": 5, "label": 1}\n',
        ": the column text holds int in row 2; allowed: texts"),
    "no rows": ("a.jsonl", "\n", " has no rows; allowed: a file with a JSON object on each line"),
    "rows longer than the header": ("a.csv", "text,label\ngood, but long,1\n", ": a row has more values than the "
        "header; allowed: double quotes around a value that holds the delimiter"),
    "one row longer than the header": ("a.csv", "text,label\ngood,1\nbad,but long,0\n", ": line 3 has 3 values, the "
        "header 2; allowed: double quotes around a value that holds the delimiter"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_load_of_bad_input_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    name, content, message = BAD[case]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as refused:
        load(tmp_path / name)
    assert str(refused.value) == f"data: {tmp_path / name}{message}"
    assert [path.name for path in tmp_path.iterdir()] == [name]  # nothing written


def test_read_of_a_gzip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MIN_REFUSED", 3_000_000)
    bomb = gzip.compress(b"text,label\n" + b"a,1\n" * 2_000_000)
    for name in ("a.csv.gz", "a.jsonl.gz", "a.parquet.gz"):
        (tmp_path / name).write_bytes(bomb if "csv" in name else gzip.compress(b" " * 8_000_000))
        with pytest.raises(UserError, match=r"becomes more than 200 times larger .* -> [34],...,... and more\); "):
            read(tmp_path / name)


def test_read_of_a_parquet_file_that_becomes_far_larger_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MIN_REFUSED", 1_000_000)
    table = pa.table({"text": ["x" * 100_000] * 100, "label": ["1"] * 100})
    pq.write_table(table, tmp_path / "a.parquet", compression="zstd", use_dictionary=False)
    with pytest.raises(UserError, match=r"a\.parquet becomes more than 200 times larger when it is unpacked"):
        read(tmp_path / "a.parquet")


def test_read_of_well_packed_texts_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MIN_REFUSED", 1000)
    make_reviews(3000).to_csv(tmp_path / "a.csv", index=False)
    assert len(read(pack(tmp_path / "a.csv"))) == 3000


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "shift_jis", "gb18030"])
def test_read_in_an_encoding_gives_the_texts(tmp_path: Path, encoding: str) -> None:
    word = {"shift_jis": "猫です", "gb18030": "中文"}.get(encoding, "café")
    for name, content in {
        "a.csv": f'text,label\n"{word}",1\n',
        "a.jsonl": f'{{"text": "{word}", "label": "1"}}',
    }.items():
        (tmp_path / name).write_text(content, encoding)
        asked = "utf-8" if encoding == "utf-8-sig" else encoding
        assert read(tmp_path / name, Layout(encoding=asked)) == [(word, "1", "")]


def test_choices_of_a_reader_are_said(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Text;label\nx;1\n")
    assert sources.resolve(str(tmp_path / "a.csv")).note == (
        f"data: {tmp_path / 'a.csv'} (columns are separated by a semicolon; the column 'Text' is taken for 'text')"
    )
    (tmp_path / "b.csv").write_text("text,label\nx,1\n")
    assert sources.resolve(str(tmp_path / "b.csv")).note == ""
    (tmp_path / "c.tsv").write_text("text\tlabel\nx\t1\n")
    assert sources.resolve(str(tmp_path / "c.tsv")).note == ""


def test_comma_is_taken_where_it_gives_the_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label,a;text;label\nx,1,a;b;c\n")
    assert read(tmp_path / "a.csv") == [("x", "1", "")]


def test_read_of_several_text_columns_joins_them(tmp_path: Path) -> None:
    rows = [("a title", "a body", "x"), ("", "only a body", "y")]
    for name, write in WRITERS.items():
        write(tmp_path / name, ["title", "body", "class"], rows)
        assert read(tmp_path / name, Layout(("title", "body"), "class")) == [
            ("a title\na body", "x", ""), ("\nonly a body", "y", "")
        ]  # fmt: skip
    write_jsonl(tmp_path / "a.jsonl", ["title", "body", "class"], [(None, None, "x")])
    with pytest.raises(UserError, match=r"row 1: title with body is not allowed; allowed: a text that is not empty"):
        read(tmp_path / "a.jsonl", Layout(("title", "body"), "class"))


def test_labels_of_any_type_are_spelled_alike(tmp_path: Path) -> None:
    texts = ["a", "b", "c"]
    for number, labels in enumerate(([2, 10, 3], [2.0, 10.0, 3.0], ["2", "10", "3"])):
        write_parquet(tmp_path / f"{number}.parquet", ["text", "label"], list(zip(texts, labels, strict=True)))
        write_jsonl(tmp_path / f"{number}.jsonl", ["text", "label"], list(zip(texts, labels, strict=True)))
        for ending in ("parquet", "jsonl"):
            assert [label for _, label, _ in read(tmp_path / f"{number}.{ending}")] == ["2", "10", "3"]
    codes = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0]), pa.array(["no", "yes"]))
    pq.write_table(pa.table({"text": codes, "label": codes}), tmp_path / "codes.parquet")
    assert [label for _, label, _ in read(tmp_path / "codes.parquet")] == ["no", "yes", "no"]


def test_json_lines_may_lack_keys_in_some_lines(tmp_path: Path) -> None:
    lines = [{"text": "a", "label": "x"}, {"label": "y", "split": "test", "text": "b", "more": [1]}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert read(tmp_path / "a.jsonl") == [("a", "x", ""), ("b", "y", "test")]


def make_folder(path: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(content, "utf-8")
    return path


def test_read_of_a_folder_for_each_class_names_the_labels(tmp_path: Path) -> None:
    files = {
        "spam/2.txt": "buy",
        "spam/1": "now",
        "ham/a.eml": "hello",
        "ham/.hidden": "x",
        ".git/x": "y",
        "README": "z",
    }
    path = make_folder(tmp_path, files)
    assert read(path) == [("hello", "ham", ""), ("now", "spam", ""), ("buy", "spam", "")]


def test_read_of_a_folder_with_parts_takes_their_splits(tmp_path: Path) -> None:
    files = {f"{part}/{label}/1.txt": f"{part} {label}" for part in ("train", "validation", "test") for label in "ab"}
    assert read(make_folder(tmp_path, files)) == [
        (f"{part} {label}", label, part) for part in ("train", "validation", "test") for label in "ab"
    ]


def test_read_of_reviews_with_a_third_class_keeps_it(tmp_path: Path) -> None:
    files = {f"train/{label}/1.txt": label for label in ("neg", "neutral", "pos")}
    assert [label for _, label, _ in read(make_folder(tmp_path, files))] == ["neg", "neutral", "pos"]


def test_open_of_a_folder_says_what_is_not_read(tmp_path: Path) -> None:
    path = make_folder(tmp_path / "a", {"a/1": "x", "b/1": "y", "c/.hidden": "z"})
    assert sources.resolve(str(path)).note == f"data: {path} (without a text: 'c')"
    path = make_folder(tmp_path / "b", {f"{part}/{label}/1.txt": part for part in PARTS for label in ("neg", "pos")})
    assert sources.resolve(str(path)).note == f"data: {path} (its folder validation is not read)"
    assert {split for _, _, split in read(path)} == {"train", "test"}  # as versions before other folders have read it


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"notes.txt": "x"}, "the folder '{path}' is not an aclImdb folder; "
         "allowed: one with train/pos, train/neg, or one with a folder for each class"),
        ({"a/1.txt": "x", "b/c/1": "y"}, "{path}/b/c is a folder; allowed: files of texts in the folder of a class"),
        ({"a/1.txt": "x", "b/1.txt": " \n"}, "{path}/b/1.txt: text is not allowed; allowed: a text that is not empty"),
        ({"a/1.txt": "x", "a/2.txt": "y"}, "{path}: the folder has one label only, 'a'; allowed: two labels or more"),
        ({"a/.x": "x"}, "{path} has no rows; allowed: a file with at least one review of each label"),
    ],
)  # fmt: skip
def test_load_of_a_folder_that_holds_no_classes_is_refused(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(UserError) as refused:
        load(make_folder(tmp_path, files))
    assert str(refused.value) == f"data: {message.format(path=tmp_path)}"


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to(path.parent / "nothing")])
def test_read_of_a_folder_with_what_is_no_file_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(make_folder(tmp_path, {"a/1": "x", "b/1": "y"}) / "b" / "2")
    with pytest.raises(UserError, match=r"^data: .+/b/2 is no file; allowed: files of texts in the folder of a class$"):
        read(tmp_path)


@pytest.mark.parametrize(("name", "mark"), [("a.tsv", "\t"), ("a.csv", ";"), ("a.csv", "|")])
def test_read_of_quotes_that_enclose_no_whole_value_is_refused(tmp_path: Path, name: str, mark: str) -> None:
    """The first and the second row would become one."""
    rows = ["text,label", '"Well, said he,x', 'the "end" of it,y', "c,x"]
    (tmp_path / name).write_text("\n".join(row.replace(",", mark) for row in rows) + "\n")
    with pytest.raises(UserError) as refused:
        read(tmp_path / name)
    assert str(refused.value) == (
        f"data: {tmp_path / name}, line 3: a double quote is out of place ('{mark}' expected after '\"'); "
        "allowed: double quotes around a whole value, doubled within"
    ).replace("\t", " ")
    large = "long " * 40_000  # more than the csv module takes by default
    (tmp_path / name).write_text(f'text{mark}label\n5" nails{mark}x\n"say ""a{mark}b"""{mark}y\n{large}{mark}x\n')
    assert read(tmp_path / name) == [('5" nails', "x", ""), (f'say "a{mark}b"', "y", ""), (large, "x", "")]


def test_read_of_more_rows_than_a_piece_gives_all_of_them(tmp_path: Path) -> None:
    rows = [(f"text {row}", string.ascii_lowercase[row % 26]) for row in range(2 * ROWS + 1)]
    for name, write in WRITERS.items():
        write(tmp_path / name, ["text", "label"], rows)
        assert read(tmp_path / name) == [(text, label, "") for text, label in rows]
