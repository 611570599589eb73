"""Read Parquet files row by row: values that are no UTF-8 are told and left out."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tracked.console.errors import UserError
from tracked.console.lines import one_line
from tracked.tables.rows import Bad, find_columns, is_unicode
from tracked.tables.streams import open_seekable, refuse_bomb

ROWS = 2000  # of a batch
# As PyArrow reads by default, it keeps all that was read of a file until the file is closed.
STREAMED = {"pre_buffer": False, "buffer_size": 1 << 20}
OUT_OF_RANGE = object()  # a time that Python's types cannot hold


class ParquetReader:
    """Reads a Parquet file. Values are Python's, None where one is missing."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._path, self._done = path, 0
        try:
            with open_seekable(path) as stream, pq.ParquetFile(stream, **STREAMED) as file:
                names = file.schema_arrow.names
                self.count: int | None = file.metadata.num_rows
                groups = range(file.metadata.num_row_groups)
                unpacked = sum(file.metadata.row_group(place).total_byte_size for place in groups)
                refuse_bomb(path, stream.seek(0, os.SEEK_END), unpacked)
        except (pa.ArrowException, ValueError) as error:
            raise self._explain(error) from None
        self._columns = [names[place] for place in find_columns(names, columns, path)]

    @property
    def position(self) -> float:
        """The share of the file that was read."""
        return self._done / max(1, self.count or 0)

    def read(self) -> Iterator[tuple[Any, ...] | Bad]:
        """Read the wanted values of each row."""
        self._done = 0
        try:
            with (
                open_seekable(self._path) as stream,
                pq.ParquetFile(stream, page_checksum_verification=True, **STREAMED) as file,
            ):
                for batch in file.iter_batches(ROWS, columns=self._columns):
                    columns = [_list_values(batch.column(name)) for name in self._columns]
                    for row in zip(*columns, strict=True):
                        if OUT_OF_RANGE in row:
                            yield Bad("a time that is out of range")
                        else:
                            yield row if all(map(is_unicode, row)) else Bad("not UTF-8 text")
                    self._done += batch.num_rows
        except (pa.ArrowException, KeyError) as error:
            raise self._explain(error, f" after row {self._done:,}" if self._done else "") from None

    def _explain(self, error: Exception, where: str = "") -> UserError:
        if isinstance(error, UserError):
            return error
        return UserError(f"data: {self._path} is not a Parquet file{where} ({one_line(error)}); allowed: a whole one")


def _list_values(column: pa.Array) -> list[Any]:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        values: list[Any] = column.to_pylist()
        return values
    except UnicodeDecodeError:  # a column of strings may hold anything
        kind = pa.large_binary() if pa.types.is_large_string(column.type) else pa.binary()
        raw = column.cast(kind).to_pylist()
        return [None if value is None else value.decode("utf-8", "surrogateescape") for value in raw]
    except (OverflowError, ValueError):
        return [_read_value(value) for value in column]


def _read_value(value: pa.Scalar) -> Any:
    try:
        return value.as_py()
    except (OverflowError, ValueError):
        return OUT_OF_RANGE
