"""Read JSON Lines as a stream: a JSON object a line, read strictly."""

import json
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from imdb_conv1d.columns import SPLIT, Layout, find_columns
from imdb_conv1d.readers_files import ROWS, Opened, Tables
from tracked.console.errors import UserError
from tracked.console.lines import one_line
from tracked.tables.streams import open_text

MAX_LINE = 50_000_000  # characters: one that never ends, such as a whole JSON array, would fill the memory


def open_json_lines(path: Path, layout: Layout) -> Opened:
    """Open a JSON Lines file; the columns are the keys of its first ``ROWS`` objects."""
    names: dict[str, None] = {}
    for row in islice(_read_objects(path, layout), ROWS):
        names |= dict.fromkeys(row)
    if not names:
        raise UserError(f"data: {path} has no rows; allowed: a file with a JSON object on each line")
    columns = find_columns(list(names), layout, path)
    wanted = [list(names)[place] for place in (*columns.texts, columns.label)]
    return columns.note, partial(_read_json_lines, path, layout, [*wanted, *({SPLIT} - set(wanted))])


def _read_json_lines(path: Path, layout: Layout, wanted: list[str]) -> Tables:
    columns = find_columns(wanted, layout, path)
    rows = _read_objects(path, layout)
    while piece := [[row.get(name) for name in wanted] for row in islice(rows, ROWS)]:
        # As objects, since a column may hold texts and numbers, which are refused by their row.
        yield columns.select(pd.DataFrame(piece, columns=wanted, dtype=object), str(path))


def _read_objects(path: Path, layout: Layout) -> Iterator[dict[str, Any]]:
    """Read the objects of all lines that are not empty."""
    with open_text(path, layout.encoding, "a JSON Lines file") as file:
        number = 0
        while line := file.readline(MAX_LINE):
            number += 1
            if not line.strip():
                continue
            try:
                row = json.loads(line, object_pairs_hook=_make_object, parse_constant=_refuse_constant)
                if not isinstance(row, dict):
                    raise ValueError(f"a JSON {type(row).__name__}, not an object")
            except (ValueError, RecursionError) as error:
                reason = f"it has {MAX_LINE:,} characters or more" if len(line) == MAX_LINE else one_line(error)
                raise UserError(
                    f"data: {path}, line {number}: not a JSON object ({reason}); allowed: one object on each line"
                ) from None
            yield row


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"two keys {next(name for name in names if names.count(name) > 1)!r}")
    return row


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
