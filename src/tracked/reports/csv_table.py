"""Write a table as CSV that a spreadsheet opens without running anything in it."""

import csv
import re
from pathlib import Path

import pandas as pd

# What spreadsheets take for the beginning of a formula, also behind blanks, and as wide characters.
FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r\n]")
NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def escape_cell(value: object) -> object:
    """Put an apostrophe before a text that a spreadsheet would take for a formula; numbers stay, in texts too."""
    if isinstance(value, str) and FORMULA.match(value) and not NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def format_csv(table: pd.DataFrame) -> str:
    """Format a table without its index; texts and headers are escaped and quoted."""
    escaped = table.rename(columns=escape_cell).map(escape_cell)
    # All texts are quoted: the csv module of Python 3.11 leaves a carriage return unquoted, which begins a row.
    return str(escaped.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC))


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as :func:`format_csv` formats it."""
    path.write_bytes(format_csv(table).encode())
