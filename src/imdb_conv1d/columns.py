"""Find the columns of a table: texts, label and, optionally, the part of each row."""

import codecs
import csv
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from imdb_conv1d.schema import READ_AS
from tracked.console.errors import UserError

SPLIT = "split"
# Not for files: encodings of names and of Python's source.
UNUSABLE_ENCODINGS = {"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape", "mbcs", "oem"}


@dataclass(frozen=True)
class Layout:
    """Where a table has its texts and labels: names of columns, and the encoding of a file of texts."""

    text_columns: tuple[str, ...] = ("text",)
    label_column: str = "label"
    encoding: str = "utf-8"

    @classmethod
    def of(cls, parameters: Any, metadata: Mapping[str, Any] | None = None) -> "Layout":
        """Take the layout from a verb's parameters.

        Args:
            metadata: what was stored with the model that is evaluated: auto is what its training read. None for a
                training, where auto is a name like others.

        Raises:
            UserError: if a name is empty or taken twice, or Python does not know the encoding.
        """

        columns, label = name_texts(parameters, metadata), choose("label_column", parameters, metadata)
        if not label.strip() or label in columns:
            allowed = (
                f"other columns than text_column's, {','.join(columns)!r}" if label in columns else "a column's name"
            )
            raise UserError(f"label_column: {label!r} is not allowed; allowed: {allowed}")
        return cls(columns, label, find_encoding(choose("encoding", parameters, metadata)))


def choose(name: str, parameters: Any, metadata: Mapping[str, Any] | None) -> str:
    """Choose what is given or, for auto, what a model's training read; see :meth:`Layout.of`.

    Parameters of a verb that reads no table lack the name, which is auto.
    """
    if metadata is None:
        return str(getattr(parameters, name))
    given = str(getattr(parameters, name, "auto"))
    if given != "auto":
        return given
    return str((metadata.get(READ_AS) or {}).get(name) or DEFAULTS[name])


def name_texts(parameters: Any, metadata: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Name the columns of the texts.

    Raises:
        UserError: if a name is empty or taken twice.
    """
    texts = choose("text_column", parameters, metadata)
    try:
        columns = tuple(name.strip() for name in next(csv.reader([texts], skipinitialspace=True), []))
    except csv.Error:  # such as a line break outside quotes
        columns = ()
    if not columns or not all(columns) or len(set(columns)) < len(columns):
        raise UserError(
            f"text_column: {texts[:200]!r} is not allowed; allowed: a column's name, or several different ones "
            "separated by commas"
        )
    return columns


DEFAULTS = {"text_column": "text", "label_column": "label", "encoding": "utf-8"}


def find_encoding(name: str) -> str:
    """Find the name that Python gives an encoding.

    Raises:
        UserError: if it is none of texts in files.
    """
    try:
        found = codecs.lookup(name)
    except (LookupError, ValueError):  # ValueError: a NUL
        found = None
    if not found or not getattr(found, "_is_text_encoding", False) or found.name in UNUSABLE_ENCODINGS:
        raise UserError(f"encoding: {name!r} is not allowed; allowed: one that Python knows, such as utf-8 or cp1252")
    return found.name


@dataclass(frozen=True)
class Columns:
    """The positions of a table's columns, and what to say of a name that differs from the one asked for."""

    texts: tuple[int, ...]
    label: int
    split: int | None
    note: str = ""

    def select(self, table: pd.DataFrame, name: str) -> pd.DataFrame:
        """Select text, label and split of a table whose columns are in the order in which they were found.

        Several texts are joined by line breaks, a missing one as an empty text.
        """
        split = "" if self.split is None else table.iloc[:, self.split].fillna("").astype(str).str.strip()
        text = table.iloc[:, self.texts[0]]
        if len(self.texts) > 1:
            parts = [table.iloc[:, position].astype(object) for position in self.texts]
            for part in parts:
                for value in part.dropna():
                    if not isinstance(value, str):
                        kind = type(value).__name__
                        raise UserError(f"data: {name}: the column {part.name} holds {kind}; allowed: texts")
            rows = zip(*(part.where(part.notna(), "") for part in parts), strict=True)
            text = pd.Series(["\n".join(row) for row in rows], index=table.index, dtype=object)
        return pd.DataFrame({"text": text, "label": table.iloc[:, self.label], "split": split}, index=table.index)


def find_columns(names: Sequence[str], layout: Layout, path: Path, hint: str = "") -> Columns:
    """Find the columns of a layout in those of a table; a name that differs only by case or blanks around it counts.

    Args:
        hint: added to the columns' names in a message.

    Raises:
        UserError: if a column is missing, or a name could be several columns.
    """
    wanted, notes = [*layout.text_columns, layout.label_column], []
    positions = []
    for name in wanted:
        found = [place for place, column in enumerate(names) if column == name]
        if not found:
            found = [place for place, column in enumerate(names) if _fold(column) == _fold(name)]
            notes += [f"the column {names[place]!r} is taken for {name!r}" for place in found]
        positions.append(_the_one(found, name, names, layout, path, hint))
    if len(set(positions)) < len(positions):
        twice = next(names[place] for place in positions if positions.count(place) > 1)
        raise UserError(f"data: {path}: the column {twice!r} is asked for twice; allowed: a column for each name")
    split = [place for place, column in enumerate(names) if column == SPLIT and place not in positions]
    place = _the_one(split, SPLIT, names, layout, path, hint) if split else None
    if place is None:  # earlier versions read such tables without their parts, and parts must stay
        alike = [name for other, name in enumerate(names) if _fold(name) == SPLIT and other not in positions]
        notes += [f"the column {name!r} is not taken for {SPLIT!r}" for name in alike]
    return Columns(tuple(positions[:-1]), positions[-1], place, "; ".join(notes))


def has_columns(names: Sequence[str], layout: Layout, *, exactly: bool) -> bool:
    """Check whether a table has the columns of a layout, in the same case or in any."""
    fold = str if exactly else _fold
    return {fold(name) for name in (*layout.text_columns, layout.label_column)} <= {fold(name) for name in names}


def _fold(name: str) -> str:
    return name.strip().casefold()


def _the_one(found: list[int], name: str, names: Sequence[str], layout: Layout, path: Path, hint: str) -> int:
    if len(found) == 1:
        return found[0]
    number = len(found)
    count = f"{'two' if number == 2 else number} columns" if number else "no column"
    listed = ", ".join(" ".join(column.split())[:60] for column in names[:8]) + (", ..." if len(names) > 8 else "")
    allowed = f"{', '.join(layout.text_columns)}, {layout.label_column}, optionally {SPLIT}"
    if not found and name not in DEFAULTS.values():  # the user named it
        near = difflib.get_close_matches(name, names, 1)
        allowed = "one of these" + (f"; did you mean {near[0]}?" if near else "")
    else:
        allowed += " (text_column and label_column name others)"
    raise UserError(f"data: {path} has {count} {name!r} (columns: {listed}{hint}); allowed: {allowed}")
