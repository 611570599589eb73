"""Cut the rows of a table into parts, by their position alone."""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import islice

import pandas as pd

from tracked.predict.tasks import PartTask, RejectedRow
from tracked.tables.files import Fingerprint, require_same
from tracked.tables.reader import Row, TableReader
from tracked.tables.rows import Bad

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
    while True:
        piece = list(islice(rows, size))
        for file in {row.file for row in piece}:
            require_same(file, known[file.name])
        if not piece:
            break
        yield _make_part(number, number * size, piece, columns, has_ids)
        number += 1
    for file in reader.files:
        require_same(file, known[file.name])


def _make_part(number: int, start: int, piece: list[Row], columns: Sequence[str], has_ids: bool) -> PartTask:
    good, values, ids, rejected = list[int](), list[tuple[object, ...]](), list[object](), list[RejectedRow]()
    files: list[tuple[int, str]] = []
    digest = hashlib.blake2b(digest_size=16)
    for row, read in enumerate(piece, start):
        if not files or files[-1][1] != read.file.name:
            files.append((row, read.file.name))
        digest.update(repr(read.values).encode("utf-8", "backslashreplace"))
        if isinstance(read.values, Bad):
            rejected.append(RejectedRow(row, read.file.name, read.values.reason, read.values.content))
            continue
        name: object = row
        if has_ids:
            value = read.values[-1]
            # A missing number is not equal to itself.
            name = "" if value is None or value != value else str(value)
            if not name:
                rejected.append(RejectedRow(row, read.file.name, NO_ID))
                continue
        good.append(row)
        ids.append(name)
        values.append(read.values[: len(columns)])
    places = {name: [one[place] for one in values] for place, name in enumerate(columns)}
    table = pd.DataFrame(places, index=pd.Index(good, dtype="int64"), columns=list(columns), dtype=object)
    id_type = "str" if has_ids else "int64"
    return PartTask(number, len(piece), digest.hexdigest(), table, ids, id_type, files, rejected)
