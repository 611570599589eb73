"""Write the files of a part: the same answers give the same bytes, and a file is there whole or not at all."""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final
from uuid import uuid4

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tracked.predict.tasks import PART, RejectedRow
from tracked.training.files import sha256_of, write_safely

ID, MODEL_VERSION = "id", "model_version"
REJECTED = "rejected"  # the folder of rejected rows
QUOTING: Final = csv.QUOTE_NONNUMERIC  # older versions of csv do not quote every value that needs it
ENDINGS = {"parquet": ".parquet", "csv": ".csv"}


def make_table(
    ids: Sequence[object], id_type: str, answers: pd.DataFrame, columns: Mapping[str, str], version: str
) -> pd.DataFrame:
    """Make the table of a part: ids, answers in the types of ``columns``, the model's version."""
    table = answers[list(columns)].astype(dict(columns)).reset_index(drop=True)
    table.insert(0, ID, pd.Series(list(ids), dtype=id_type))
    return table.assign(**{MODEL_VERSION: pd.Series([version] * len(table), dtype="str")})


def write_answers(output: Path, number: int, table: pd.DataFrame, file_format: str) -> tuple[str, str]:
    """Write a part's answers; returns the file's name and its SHA-256.

    Raises:
        OSError: if it cannot be written.
    """
    path = output / f"{PART.format(number=number)}{ENDINGS[file_format]}"
    return path.name, _keep(path, lambda to: _write(to, table, file_format))


def _keep(path: Path, write: Callable[[Path], object]) -> str:
    """Write a file; returns its SHA-256.

    A worker of a cluster that cannot be reached may still write the same part: each has a partial file of its own, and
    what is digested is what was written.
    """
    sha256 = ""

    def write_and_digest(to: Path) -> None:
        nonlocal sha256
        write(to)
        sha256 = sha256_of(to)

    write_safely(path, write_and_digest, uuid4().hex)
    return sha256


def _write(path: Path, table: pd.DataFrame, file_format: str) -> None:
    if file_format == "csv":
        table.to_csv(path, index=False, lineterminator="\n", quoting=QUOTING)
        return
    # Without what pandas adds, which names its version.
    content = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
    pq.write_table(content, path, compression="zstd")


def write_rejected(output: Path, number: int, rows: Sequence[RejectedRow], shows_inputs: bool) -> str:
    """Write a part's rejected rows, if there are some; returns the file's SHA-256, else an empty text.

    Raises:
        OSError: if it cannot be written.
    """
    path = find_rejected(output, number)
    if not rows:
        path.unlink(missing_ok=True)  # of a former prediction
        return ""
    path.parent.mkdir(exist_ok=True)
    names = ["row", "id", "file", "file_row", "reason", *(["content"] if shows_inputs else [])]

    def write(to: Path) -> None:
        with to.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file, lineterminator="\n", quoting=QUOTING)
            table.writerow(names)
            table.writerows([getattr(row, name) for name in names] for row in sorted(rows, key=lambda row: row.row))

    return _keep(path, write)


def find_rejected(output: Path, number: int) -> Path:
    """The path of a part's rejected rows."""
    return output / REJECTED / f"{PART.format(number=number)}.csv"
