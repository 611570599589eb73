"""Read a user's table of several files as one stream of rows."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tracked.console.errors import UserError
from tracked.tables.delimited import DelimitedReader
from tracked.tables.files import TableFile, explain_unreadable
from tracked.tables.json_lines import JsonLinesReader
from tracked.tables.parquet import ParquetReader
from tracked.tables.rows import Bad, Reader


@dataclass(frozen=True)
class Row:
    """A row: its file, and its values or why it is bad."""

    file: TableFile
    values: tuple[Any, ...] | Bad


class TableReader:
    """Reads the wanted columns of files, one after another.

    Args:
        columns: their names; ``encoding``: of texts.

    Raises:
        UserError: if a file cannot be read, or lacks a column.
    """

    def __init__(self, files: Sequence[TableFile], columns: Sequence[str], encoding: str = "utf-8") -> None:
        self.files, self._columns, self._encoding = files, columns, encoding
        self._sizes = [0] * len(files)
        self._counts: list[int | None] = [None] * len(files)
        for place, file in enumerate(files):
            reader = self._open(file)
            self._counts[place], self._sizes[place] = reader.count, file.path.stat().st_size
        self._place, self._rows = 0, 0
        self._reader: Reader | None = None

    def _open(self, file: TableFile) -> Reader:
        try:
            return self._choose(file)()
        except OSError as error:
            raise explain_unreadable(file, error) from None
        except LookupError:
            raise UserError(f"encoding: {self._encoding!r} is unknown; allowed: one that Python knows") from None

    def _choose(self, file: TableFile) -> Callable[[], Reader]:
        path, columns, encoding = file.path, self._columns, self._encoding
        if file.kind == ".parquet":
            return lambda: ParquetReader(path, columns)
        if file.kind in (".jsonl", ".ndjson"):
            return lambda: JsonLinesReader(path, columns, encoding)
        if file.kind == ".tsv":
            return lambda: DelimitedReader(path, columns, encoding, "\t")
        return lambda: DelimitedReader(path, columns, encoding)

    def read(self) -> Iterator[Row]:
        """Read all rows.

        Raises:
            UserError: if a file is damaged or was removed; rows before were read.
        """
        self._rows = 0
        for place, file in enumerate(self.files):
            reader = self._open(file)
            self._place, self._reader = place, reader
            try:
                for values in reader.read():
                    self._rows += 1
                    yield Row(file, values)
            except OSError as error:
                raise explain_unreadable(file, error) from None
            finally:
                self._reader = None

    def estimate_rows(self) -> int | None:
        """Estimate the number of all rows from what was read so far; exact where the files tell it."""
        if None not in self._counts:
            return sum(count or 0 for count in self._counts)
        done = sum(self._sizes[: self._place])
        if self._reader:
            done += int(self._sizes[self._place] * self._reader.position)
        if not done or not self._rows:
            return None
        estimated = self._rows * sum(self._sizes) / done
        return max(self._rows, int(float(f"{estimated:.2g}")))
