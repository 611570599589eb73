"""Read JSON Lines row by row: a line that is no JSON object is told and left out."""

import io
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any

from tracked.console.errors import UserError
from tracked.tables.rows import MAX_VALUE, Bad, find_columns, is_unicode, show
from tracked.tables.streams import honour_mark, open_bytes, tell_packed

LOOKED_AT = 1000  # rows whose keys are the columns


class JsonLinesReader:
    """Reads a JSON object a line. Values are as the JSON has them; None where a key is missing."""

    count: int | None = None

    def __init__(self, path: Path, columns: Sequence[str], encoding: str) -> None:
        self._path, self._columns, self._encoding = path, columns, encoding
        self._size = max(1, path.stat().st_size)
        self._file: IO[bytes] | None = None
        self._require_columns()

    def _require_columns(self) -> None:
        names: dict[str, None] = {}
        is_empty = True
        for row in islice(self._objects(), LOOKED_AT):
            is_empty = False
            names |= {} if isinstance(row, Bad) else dict.fromkeys(row)
            if all(name in names for name in self._columns):
                return
        if is_empty:
            return
        find_columns(list(names), self._columns, self._path)
        for name in self._columns:  # unlike a header's, a key's blanks count
            if name not in names:
                raise UserError(f"data: {self._path} has no key {name!r}; allowed: JSON objects with it")

    @property
    def position(self) -> float:
        """The share of the file that was read."""
        return tell_packed(self._file) / self._size if self._file else 0.0

    def read(self) -> Iterator[tuple[Any, ...] | Bad]:
        """Read the wanted values of each row."""
        for row in self._objects():
            if isinstance(row, Bad):
                yield row
                continue
            values = tuple([row.get(name) for name in self._columns])
            yield values if all(map(is_unicode, values)) else Bad("not Unicode text")

    def _objects(self) -> Iterator[dict[str, Any] | Bad]:
        """Read the objects of all lines that are not empty."""
        with open_bytes(self._path) as file:
            self._file = file
            try:
                with io.TextIOWrapper(file, honour_mark(self._encoding), "surrogateescape", newline="\n") as text:
                    while line := text.readline(MAX_VALUE):
                        if len(line) >= MAX_VALUE and not line.endswith("\n"):
                            while (rest := text.readline(MAX_VALUE)) and not rest.endswith("\n"):
                                pass
                            yield Bad(f"a line with more than {MAX_VALUE:,} characters")
                        elif line.strip():
                            yield self._parse(line)
            except UnicodeError as error:
                raise UserError(f"data: {self._path} is not {self._encoding.upper()} text ({error})") from None
            finally:
                self._file = None

    def _parse(self, line: str) -> dict[str, Any] | Bad:
        if not is_unicode(line):
            return Bad(f"not {self._encoding.upper()} text", show(line))
        try:
            row = json.loads(line, object_pairs_hook=_make_object, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            return Bad(f"no JSON object ({reason})", show(line))
        if not isinstance(row, dict):
            return Bad(f"no JSON object (a JSON {type(row).__name__})", show(line))
        return row


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError("a key twice")
    return row


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
