"""Cut the rows of a table into parts, by their position alone."""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import islice

import pandas as pd

from tracked.predict.tasks import FileRows, PartTask, RejectedRow
from tracked.tables.files import Fingerprint, require_same
from tracked.tables.reader import Row, TableReader
from tracked.tables.rows import Bad, show_values

NO_ID = "no id"


def cut(
    reader: TableReader, fingerprints: Sequence[Fingerprint], size: int, columns: Sequence[str], has_ids: bool
) -> Iterator[PartTask]:
    """Cut a table into parts of a number of rows, the last one smaller.

    Args:
        fingerprints: of the reader's files: no part is made of a file that has changed since.
        columns: of the inputs; the reader reads them, and behind them the ids, if it ``has_ids``.

    Raises:
        UserError: if a file is damaged, or has changed.
    """
    known = dict(zip((file.name for file in reader.files), fingerprints, strict=True))
    rows, number = reader.read(), 0
    begins: dict[str, int] = {}
    while True:
        piece = list(islice(rows, size))
        for file in {row.file for row in piece}:
            require_same(file, known[file.name])
        if not piece:
            break
        yield _make_part(number, number * size, piece, columns, has_ids, begins)
        number += 1
    for file in reader.files:
        require_same(file, known[file.name])


def _make_part(
    number: int, start: int, piece: list[Row], columns: Sequence[str], has_ids: bool, begins: dict[str, int]
) -> PartTask:
    """Make a part; ``begins`` has the number of the first row of each file so far."""
    good, values, ids, rejected = list[int](), list[tuple[object, ...]](), list[object](), list[RejectedRow]()
    files: list[FileRows] = []
    digest = hashlib.blake2b(digest_size=16)
    for row, read in enumerate(piece, start):
        file = read.file.name
        if not files or files[-1].file != file:
            files.append(FileRows(row, file, begins.setdefault(file, row)))
        file_row = row - begins[file]
        digest.update(repr(read.values).encode("utf-8", "backslashreplace"))
        if isinstance(read.values, Bad):
            name = "" if has_ids else str(row)
            rejected.append(RejectedRow(row, name, file, file_row, read.values.reason, read.values.content))
            continue
        id_: object = row
        if has_ids:
            value = read.values[-1]
            # A missing number is not equal to itself.
            id_ = "" if value is None or value != value else str(value)
            if not id_:
                content = show_values(dict(zip(columns, read.values, strict=False)))
                rejected.append(RejectedRow(row, "", file, file_row, NO_ID, content))
                continue
        good.append(row)
        ids.append(id_)
        values.append(read.values[: len(columns)])
    places = {name: [one[place] for one in values] for place, name in enumerate(columns)}
    table = pd.DataFrame(places, index=pd.Index(good, dtype="int64"), columns=list(columns), dtype=object)
    id_type = "str" if has_ids else "int64"
    return PartTask(number, len(piece), digest.hexdigest(), table, ids, id_type, files, rejected)
