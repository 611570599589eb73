"""Read CSV files with a header row by row: a bad row is told and left out, and the next one is read."""

import csv
import io
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tracked.console.errors import UserError
from tracked.console.lines import one_line
from tracked.tables.rows import MAX_VALUE, Bad, find_columns, is_unicode, show
from tracked.tables.streams import honour_mark, open_bytes, tell_packed

DELIMITERS = ",;\t|"
ENDS = ("\n", "\r")  # of a line
TOO_LONG = "-\n"  # this very object stands for a line that was left out


class _Lines:
    """The lines of a file, with their ends. Those of the row that is being read can be given back."""

    def __init__(self, text: IO[str]) -> None:
        self._text, self._again = text, deque[str]()
        self.taken: list[str] = []

    @property
    def is_too_long(self) -> bool:
        """Whether a line of the row was left out."""
        return any(line is TOO_LONG for line in self.taken)

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._text.readline(MAX_VALUE)
        if not line:
            raise StopIteration
        if len(line) >= MAX_VALUE and not line.endswith(ENDS):
            while (rest := self._text.readline(MAX_VALUE)) and not rest.endswith(ENDS):
                pass
            line = TOO_LONG
        self.taken.append(line)
        return line

    def begin_row(self) -> None:
        """Forget the lines of the row before."""
        self.taken = []

    def give_back(self) -> None:
        """Give back all lines of the row but the first."""
        self._again.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]


class DelimitedReader:
    """Reads a CSV file. Every value is a text; "NA" is not a missing value.

    The delimiter is the first of ``delimiters`` with which the header has the columns. Quotes are double quotes,
    doubled within. A value whose quote does not end makes its first line a bad row, and the next line is read anew.
    """

    count: int | None = None

    def __init__(self, path: Path, columns: Sequence[str], encoding: str, delimiters: str = DELIMITERS) -> None:
        self._path, self._columns, self._encoding = path, columns, encoding
        self._size = max(1, path.stat().st_size)
        self._file: IO[bytes] | None = None
        self._delimiter, self._width, self._places = self._read_header(delimiters)

    def _read_header(self, delimiters: str) -> tuple[str, int, list[int]]:
        with self._open() as text:
            line = text.readline(MAX_VALUE)
        if not line:
            raise UserError(f"data: {self._path} is empty; allowed: a CSV file with a header")
        refusals = list[tuple[int, int, UserError]]()
        for delimiter in delimiters:
            with self._open() as text:
                try:
                    names = _read_row(csv.reader(text, delimiter=delimiter, strict=True)) or []
                except csv.Error as error:
                    fault = f"data: {self._path} has a header that cannot be read ({_explain(error)})"
                    refusals.append((0, len(refusals), UserError(f"{fault}; allowed: a CSV file with a header")))
                    continue
            if not all(map(is_unicode, names)):
                raise UserError(
                    f"data: {self._path} is not {self._encoding.upper()} text; allowed: a CSV file in "
                    f"{self._encoding.upper()}"
                )
            try:
                return delimiter, len(names), find_columns(names, self._columns, self._path)
            except UserError as error:
                refusals.append((-len(names), len(refusals), error))
        raise min(refusals)[2]  # of the header with most names

    @contextmanager
    def _open(self) -> Iterator[IO[str]]:
        with open_bytes(self._path) as file:
            self._file = file
            try:
                with io.TextIOWrapper(file, honour_mark(self._encoding), "surrogateescape", newline="") as text:
                    yield text
            except (UnicodeError, csv.Error) as error:  # an encoding that does not know how to go on
                raise UserError(f"data: {self._path} is not {self._encoding.upper()} text ({error})") from None
            finally:
                self._file = None

    @property
    def position(self) -> float:
        """The share of the file that was read."""
        return tell_packed(self._file) / self._size if self._file else 0.0

    def read(self) -> Iterator[tuple[Any, ...] | Bad]:
        """Read the wanted values of each row."""
        with self._open() as text:
            lines = _Lines(text)
            rows = csv.reader(lines, delimiter=self._delimiter, strict=True)
            _read_row(rows)
            while True:
                lines.begin_row()
                try:
                    row = _read_row(rows)
                except csv.Error as error:
                    lines.give_back()
                    yield Bad(_explain(error), show("".join(lines.taken)))
                    continue
                if row is None:
                    return
                if row:  # no empty line
                    yield self._choose(row, lines)

    def _choose(self, row: list[str], lines: _Lines) -> tuple[str, ...] | Bad:
        if lines.is_too_long:
            return Bad(f"a line with more than {MAX_VALUE:,} characters")
        if len(row) != self._width:
            return Bad(f"{len(row)} values, the header has {self._width}", show("".join(lines.taken)))
        values = tuple([row[place] for place in self._places])
        if not all(map(is_unicode, values)):
            return Bad(f"not {self._encoding.upper()} text", show("".join(lines.taken)))
        return values


def _read_row(rows: Iterator[list[str]]) -> list[str] | None:
    """Read the next row; None at the end. The limit of values is the process's: other readers have their own."""
    limit = csv.field_size_limit(MAX_VALUE)
    try:
        return next(rows, None)
    finally:
        csv.field_size_limit(limit)


def _explain(error: csv.Error) -> str:
    text = one_line(error)
    if "field larger" in text:
        return f"a value with more than {MAX_VALUE:,} characters"
    return "a double quote is out of place"
