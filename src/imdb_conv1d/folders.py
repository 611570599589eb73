"""Read a folder with a folder for each class, a text a file, as a stream."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd

from imdb_conv1d.columns import Layout
from imdb_conv1d.labels import quote_labels
from imdb_conv1d.readers_files import ROWS, Opened, Tables
from tracked.console.errors import UserError
from tracked.experiment import PARTS
from tracked.tables.streams import honour_mark

REVIEW_LABELS = {"neg": "0", "pos": "1"}
UNLABELLED = "unsup"


def open_folder(path: Path, layout: Layout) -> Opened:
    """Open a folder of texts.

    It is read as the original layout of the reviews, {train,test}/{neg,pos}/*.txt, where it has these and no other
    class; train/unsup is not read. Else it has a folder for each class, or a folder for each of train, validation and
    test with these. Each file of a class is a text; names that begin with a dot are left out.

    Raises:
        UserError: if it has no such folders.
    """
    if _is_acl_imdb(path):
        folders = [
            (path / part / name, label, part) for part in ("train", "test") for name, label in REVIEW_LABELS.items()
        ]
        note = "its folder validation is not read" if _list(path / "validation") else ""
        return note, partial(_read_folders, [folder for folder in folders if folder[0].is_dir()], ".txt", layout)
    names = _list(path)
    if names and set(names) <= set(PARTS) and any(_list(path / part) for part in names):
        folders = [(path / part / name, name, part) for part in PARTS for name in _list(path / part)]
    else:
        folders = [(path / name, name, "") for name in names]
    if not folders:
        raise UserError(
            f"data: the folder {str(path)!r} is not an aclImdb folder; allowed: one with train/pos, train/neg, or one "
            "with a folder for each class"
        )
    empty = [str(folder.relative_to(path)) for folder, _, _ in folders if not any(_list_files(folder, ""))]
    note = f"without a text: {quote_labels(empty)}" if empty else ""
    return note, partial(_read_folders, folders, "", layout)


def _is_acl_imdb(path: Path) -> bool:
    classes = {name for part in ("train", "test") for name in _list(path / part)}
    return "pos" in classes and classes <= {*REVIEW_LABELS, UNLABELLED}


def _list(path: Path) -> list[str]:
    """List the folders of a folder that are not hidden, sorted; none if it does not exist."""
    if not path.is_dir():
        return []
    return sorted(entry.name for entry in os.scandir(path) if entry.is_dir() and not entry.name.startswith("."))


def _read_folders(folders: list[tuple[Path, str, str]], ending: str, layout: Layout) -> Tables:
    rows: list[tuple[str, str, str]] = []
    for folder, label, part in folders:
        for text in _read_texts(folder, ending, layout):
            rows.append((text, label, part))
            if len(rows) == ROWS:
                yield pd.DataFrame(rows, columns=["text", "label", "split"], dtype=object)
                rows = []
    if rows:
        yield pd.DataFrame(rows, columns=["text", "label", "split"], dtype=object)


def _list_files(folder: Path, ending: str) -> Iterator[str]:
    """List the names of a class's files."""
    for entry in os.scandir(folder):
        if entry.name.endswith(ending) and not entry.name.startswith("."):
            yield entry.name


def _read_texts(folder: Path, ending: str, layout: Layout) -> Iterator[str]:
    for name in sorted(_list_files(folder, ending)):
        file = folder / name
        if not file.is_file():
            kind = "a folder" if file.is_dir() else "no file"  # such as a link to nothing, or a pipe
            raise UserError(f"data: {file} is {kind}; allowed: files of texts in the folder of a class")
        try:
            text = file.read_text(honour_mark(layout.encoding))
        except UnicodeError as error:
            reason, encoding = getattr(error, "reason", error), layout.encoding.upper()
            raise UserError(f"data: {file} is not {encoding} text ({reason}); allowed: {encoding}") from None
        if not text.strip():
            raise UserError(f"data: {file}: text is not allowed; allowed: a text that is not empty")
        yield text
