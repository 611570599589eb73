"""Tables as CSV: what a spreadsheet would run is text, and what was a row stays one."""

import csv
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tracked.reports.csv_table import escape_cell, write_csv

pytestmark = pytest.mark.unit

DANGEROUS = "=+-@\t\r\n＝＋－＠"


@pytest.mark.parametrize(
    "text",
    ["=1+1", "=HYPERLINK(\"http://x\")", "+1+1", "-2+3", "-cmd|' /C calc'!A0", "@SUM(1)", "\t=1", "\r=1", "\n=1",
     "  =1", "+", "-", "-- none --", "=", "－1", "+1e", "-1-1", "１=", "-١"],
)  # fmt: skip
def test_escape_of_a_formula_puts_an_apostrophe_before_it(text: str) -> None:
    assert escape_cell(text) == (f"'{text}" if text != "１=" else text)  # a wide digit begins no formula


@pytest.mark.parametrize(
    "value", ["", "a", "a=b", "1", "-1", "+1.5", "-1e-9", "1-2", "'=1", "yes ", -1, -1.5, np.int64(-3), None, True]
)
def test_escape_of_anything_else_keeps_it(value: object) -> None:
    assert escape_cell(value) is value


CELLS = st.text(st.sampled_from([*DANGEROUS, *"a1,;\"' |é中\0"]), max_size=6) | st.text(max_size=6)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=4), CELLS)
@example([("a\r=1+1", 'a"\n=1'), ('",=1', "x")], "=name")
def test_written_tables_have_their_rows_and_no_cell_that_is_a_formula(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], name: str
) -> None:
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    table = pd.DataFrame(rows, columns=[name, "other" if name != "other" else "another"])
    write_csv(table, path)
    text = path.read_bytes().decode()
    # csv.QUOTE_NONNUMERIC of the reader fails on any cell without quotes that is no number.
    head, *found = csv.reader(io.StringIO(text, newline=""), quoting=csv.QUOTE_NONNUMERIC)
    assert head[0] in (name, f"'{name}")
    assert len(found) == len(rows)
    for row, before in zip(found, rows, strict=True):
        for cell, original in zip(row, before, strict=True):
            assert cell in (original, f"'{original}")
            is_number = re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", cell)
            assert is_number or not cell.lstrip().startswith(tuple("=+-@＝＋－＠"))
            assert not cell.startswith(("\t", "\r", "\n"))


def test_written_numbers_are_read_back(tmp_path: Path) -> None:
    table = pd.DataFrame({"class": ["a", "-1"], "count": [-1, 2], "share": [-0.1, np.nan], "id": ["x", None]})
    write_csv(table, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == '"class","count","share","id"\n"a",-1,-0.1,"x"\n"-1",2,"",""\n'
    assert pd.read_csv(tmp_path / "t.csv")[["count", "share"]].equals(table[["count", "share"]])


def test_written_tables_without_rows_have_a_header(tmp_path: Path) -> None:
    write_csv(pd.DataFrame({"true": [], "=x": []}), tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == '"true","\'=x"\n'
