"""What a reader of a table yields: a row's values, or why the row is bad."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tracked.console.errors import UserError

MAX_VALUE = 10_000_000  # characters of a value or a line: what never ends would fill the memory
MAX_SHOWN = 10_000  # characters of what stands in a bad row
MAX_NAME = 40  # characters of a column's name in a message: without a header, it is a row's value


@dataclass(frozen=True)
class Bad:
    """A row that cannot be read: the reason, without input, and what stands there, as far as it can be shown."""

    reason: str
    content: str = ""


class Reader(Protocol):
    """Reads a file's rows from its beginning."""

    @property
    def position(self) -> float:
        """The share of the file that was read."""

    @property
    def count(self) -> int | None:
        """The number of rows, if the file tells it."""

    def read(self) -> Iterator[tuple[Any, ...] | Bad]:
        """Read the wanted values of each row.

        Raises:
            UserError: if the file is damaged.
            OSError: if it cannot be read.
        """


class MissingColumnError(UserError):
    """A table lacks a column, or has two of its name.

    Args:
        column: its name.
    """

    def __init__(self, message: str, column: str) -> None:
        super().__init__(message)
        self.column = column


def find_columns(names: Sequence[str], wanted: Sequence[str], path: Path) -> list[int]:
    """Find the places of the wanted columns; blanks around a name do not count, nor does its case if one is alike.

    Raises:
        MissingColumnError: if one is missing, or there twice.
    """
    changes: list[Callable[[str], str]] = [str, str.strip, lambda name: name.strip().casefold()]
    spellings = [(list(map(change, names)), change) for change in changes]
    places = []
    for name in wanted:
        found = next(filter(None, (_find_all(spelt, change(name)) for spelt, change in spellings)), [])
        if len(found) != 1:
            fault = f"has {len(found)} columns {name!r}" if found else f"has no column {name!r}"
            shown = ", ".join(repr(name[:MAX_NAME]) for name in names[:20]) + (", ..." if len(names) > 20 else "")
            allowed = "a table with " + ", ".join(wanted)
            raise MissingColumnError(f"data: {path} {fault} (it has {shown}); allowed: {allowed}", name)
        places += found
    return places


def _find_all(names: Sequence[str], name: str) -> list[int]:
    return [place for place, one in enumerate(names) if one == name]


def is_unicode(value: Any) -> bool:
    """Check that a text can be written as UTF-8: what could not be decoded was kept as half a character."""
    if not isinstance(value, str) or value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def show(content: str) -> str:
    """Make the beginning of a text writable: half characters are escaped."""
    return content[:MAX_SHOWN].encode("utf-8", "backslashreplace").decode()


def show_values(values: Mapping[str, Any]) -> str:
    """Make the beginning of a row's values writable, as JSON."""
    return show(json.dumps(dict(values), ensure_ascii=False, default=str))
