"""Read the CSV of a body: a header, then a row a line. Every value is a text, exactly as it stands there."""

import csv
import io
from collections.abc import Sequence
from itertools import islice

from tracked.console.lines import format_count
from tracked.serve.json_text import read_text
from tracked.serve.refusals import Refusal
from tracked.serve.rows import Rows, find_places, reorder

NAME = "csv"  # in messages


def read_csv(body: bytes, columns: Sequence[str], max_rows: int) -> Rows:
    """Read rows of CSV in UTF-8, separated by commas. Blank lines are left out, a byte order mark is, too.

    Raises:
        Refusal: 400, if it is no CSV or its rows differ in length; 422, if its columns are not those.
    """
    lines = _read_lines(read_text(body, "utf-8-sig"), max_rows + 2)
    if not lines:
        raise Refusal(400, f"{NAME}: no header; allowed: a header with {', '.join(columns)}")
    header = lines.pop(0)
    places = find_places(NAME, header, columns)
    if len(lines) > max_rows:
        raise Refusal(422, f"{NAME}: more than {max_rows:,} rows; allowed: 1 to {max_rows:,}")
    for number, row in enumerate(lines, 1):
        if len(row) != len(header):
            many = f"{format_count(len(row), 'value')}, the header has {len(header):,}"
            raise Refusal(400, f"{NAME}: row {number:,} has {many}; allowed: as many values as columns")
    return Rows(tuple(columns), reorder(lines, places))


def _read_lines(text: str, most: int) -> list[list[str]]:
    """Read the header and the rows, up to a number of lines."""
    limit = csv.field_size_limit(len(text) + 1)  # the process's: other readers have their own
    try:
        # Whatever a line ends with: what stands within quotes is not changed.
        return list(islice(filter(None, csv.reader(io.StringIO(text, newline=""), strict=True)), most))
    except csv.Error:
        raise Refusal(
            400, f"{NAME}: a double quote is out of place; allowed: values in quotes, doubled within"
        ) from None
    finally:
        csv.field_size_limit(limit)
