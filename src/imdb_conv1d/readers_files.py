"""Read tables of a user's files as streams: CSV with any usual delimiter, TSV, and Parquet.

``open_csv`` and ``open_parquet`` look at the header alone, and refuse a file that lacks a column. What they return
reads the file from its beginning each time: tables of at most ``ROWS`` rows with text, label and split as in the file.
"""

import csv
import os
import re
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from imdb_conv1d.columns import Columns, Layout, find_columns, has_columns
from tracked.console.errors import UserError
from tracked.console.lines import one_line
from tracked.tables.streams import open_seekable, open_text, refuse_bomb

ROWS = 2000  # texts in a table: bounds the memory for large files
TOO_WIDE = re.compile(r"Expected (\d+) fields in line (\d+), saw (\d+)")
MAX_VALUE = 50_000_000  # characters of a value where a quote may enclose the rest of a file
DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a vertical bar"}

Tables: TypeAlias = Iterator[pd.DataFrame]
Opened: TypeAlias = tuple[str, Callable[[], Tables]]  # what to say of the choices made, and the reader
CSV_ERRORS = (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError)


def open_csv(path: Path, layout: Layout, delimiters: str = ",;\t|") -> Opened:
    """Open a CSV file with a header. Every value is a text; "NA" is not a missing value.

    The delimiter is the first of ``delimiters`` if the header has the columns with it, else the one with which it has.
    Quotes are double quotes, doubled within.
    """
    delimiter, names = _choose_delimiter(path, layout, delimiters)
    alone = len(names) == 1 and len(delimiters) > 1
    hint = "; no comma, semicolon, tab or vertical bar separates columns" if alone else ""
    columns = find_columns(names, layout, path, hint)
    chosen = "" if delimiter == delimiters[0] else f"columns are separated by {DELIMITERS[delimiter]}"
    return "; ".join(filter(None, (chosen, columns.note))), partial(_read_csv, path, layout, delimiter, columns)


def _read_csv(path: Path, layout: Layout, delimiter: str, columns: Columns) -> Tables:
    done = 0
    if delimiter != ",":  # files with commas are read as by versions that knew no other delimiter
        _refuse_stray_quotes(path, layout, delimiter)
    try:
        with open_text(path, layout.encoding, "a CSV file") as file, _parse(file, delimiter, chunksize=ROWS) as reader:
            while True:
                # An unquoted comma makes a row longer than the header; pandas would drop the rest of the text.
                with warnings.catch_warnings():
                    warnings.simplefilter("error", pd.errors.ParserWarning)
                    table = next(reader, None)
                if table is None:
                    return
                yield columns.select(table, str(path))
                done += len(table)
    except CSV_ERRORS as error:
        raise _not_csv(path, layout, error, f"after row {done:,}: " if done else "") from None


def _refuse_stray_quotes(path: Path, layout: Layout, delimiter: str) -> None:
    """Refuse a value that begins with a quote and has more behind its end.

    Such a quote was not meant to enclose the value, and pandas would make one row of all up to the next quote.
    """
    limit = csv.field_size_limit(MAX_VALUE)
    try:
        with open_text(path, layout.encoding, "a CSV file") as file:
            rows = csv.reader(file, delimiter=delimiter, strict=True)
            try:
                for _ in rows:
                    pass
            except csv.Error as error:
                raise UserError(
                    f"data: {path}, line {rows.line_num}: a double quote is out of place ({one_line(error)}); allowed: "
                    "double quotes around a whole value, doubled within"
                ) from None
    finally:
        csv.field_size_limit(limit)


def _choose_delimiter(path: Path, layout: Layout, delimiters: str) -> tuple[str, list[str]]:
    headers: dict[str, list[str]] = {}
    for delimiter in delimiters:
        try:
            with open_text(path, layout.encoding, "a CSV file") as file:
                headers[delimiter] = _parse(file, delimiter, header=None, nrows=1).iloc[0].tolist()
        except CSV_ERRORS as error:
            if delimiter == delimiters[0]:
                raise _not_csv(path, layout, error) from None
    for exactly in (True, False):
        found = [mark for mark, names in headers.items() if has_columns(names, layout, exactly=exactly)]
        if found and found[0] != delimiters[0] and len(found) > 1:
            marks = " and ".join(DELIMITERS[mark] for mark in found)
            raise UserError(
                f"data: {path} has the columns with each of {marks}; allowed: a header with one kind of delimiter"
            )
        if found:
            return found[0], headers[found[0]]
    longest = max(headers, key=lambda mark: len(headers[mark]))  # the first of equal ones
    return longest, headers[longest]


def _parse(file: Any, delimiter: str, **options: Any) -> Any:
    return pd.read_csv(file, sep=delimiter, dtype=str, na_filter=False, index_col=False, **options)


def _not_csv(path: Path, layout: Layout, error: Exception, where: str = "") -> UserError:
    fact = "a row has more values than the header" if str(error).startswith("Length of header") else ""
    if wide := TOO_WIDE.search(str(error)):
        expected, line, found = wide.groups()
        fact = f"line {line} has {found} values, the header {expected}"
    if fact:
        return UserError(f"data: {path}: {fact}; allowed: double quotes around a value that holds the delimiter")
    names = " and ".join((", ".join(layout.text_columns), layout.label_column))
    return UserError(f"data: {path} is not a CSV file ({where}{one_line(error)}); allowed: a header with {names}")


def open_parquet(path: Path, layout: Layout) -> Opened:
    """Open a Parquet file."""
    try:
        with open_seekable(path) as stream, _open(stream) as file:
            names = file.schema_arrow.names
            # A group's size, not its columns': pyarrow ends the process at the metadata of a damaged column.
            groups = range(file.metadata.num_row_groups)
            unpacked = sum(file.metadata.row_group(place).total_byte_size for place in groups)
            refuse_bomb(path, stream.seek(0, os.SEEK_END), unpacked)
    except (pa.ArrowException, ValueError) as error:
        raise _not_parquet(path, layout, error) from None
    columns = find_columns(names, layout, path)
    return columns.note, partial(_read_parquet, path, layout, names)


def _read_parquet(path: Path, layout: Layout, names: list[str]) -> Tables:
    found = find_columns(names, layout, path)
    places = [*found.texts, found.label, *([] if found.split is None else [found.split])]
    wanted = [names[place] for place in places]
    columns = find_columns(wanted, layout, path)
    try:
        with open_seekable(path) as stream, _open(stream) as file:
            for batch in file.iter_batches(ROWS, columns=wanted):
                batch.validate(full=True)  # a column of strings may hold invalid UTF-8
                values = {name: _decode(batch.column(name)) for name in wanted}
                yield columns.select(pa.table(values).to_pandas(), str(path))
    except (pa.ArrowException, KeyError) as error:
        raise _not_parquet(path, layout, error) from None


def _open(stream: IO[bytes]) -> pq.ParquetFile:
    return pq.ParquetFile(stream, page_checksum_verification=True)


def _decode(values: pa.Array) -> pa.Array:
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def _not_parquet(path: Path, layout: Layout, error: Exception) -> UserError:
    if isinstance(error, UserError):
        return error
    names = " and ".join((", ".join(layout.text_columns), layout.label_column))
    return UserError(f"data: {path} is not a Parquet file ({one_line(error)}); allowed: one with {names}")
