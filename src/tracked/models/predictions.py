"""Write an evaluation's predictions to a file as they come, check each row, and keep the worst rows to look at."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tracked.console.errors import RunFailed
from tracked.console.lines import one_line
from tracked.runs.evaluations import COLUMNS

WORST = 500  # rows
LOSS = " loss"  # a column beside the inputs; the blank keeps it apart from theirs


@dataclass(frozen=True)
class Predictions:
    """A model's predictions of a part.

    ``rows``: what ``Experiment.predict`` yields, in the order of the data; ``seen`` is missing where it is unknown.
    ``worst``: the inputs of the ``WORST`` rows with the largest loss, without correct rows, indexed by their positions.
    """

    rows: pd.DataFrame
    worst: pd.DataFrame


def write(
    pieces: Iterable[tuple[pd.DataFrame, pd.DataFrame]], count: int, path: Path, advance: Callable[[int], None]
) -> Predictions:
    """Write predictions to a Parquet file, piece by piece.

    Args:
        pieces: what ``Experiment.predict`` yields.
        count: the number of rows that the part has.
        advance: called with the number of rows of each piece, once they are written.

    Raises:
        RunFailed: if a column is missing, the columns change between pieces, a loss is not a finite number of 0 or
            more, an id occurs twice, or the number of rows is not ``count``.
    """
    tables: list[pd.DataFrame] = []
    worst, done = pd.DataFrame({LOSS: []}), 0
    writer: pq.ParquetWriter | None = None
    try:
        for piece in pieces:
            if not (isinstance(piece, tuple) and len(piece) == 2):
                raise RunFailed("predict must yield pairs of tables, predictions and inputs; no metrics are logged")
            table, inputs = piece
            if table.empty:
                continue  # an empty table's columns may have other types
            table = _check(table)
            content = pa.Table.from_pandas(table, preserve_index=False)
            writer = writer or pq.ParquetWriter(path, content.schema)
            if not content.schema.equals(writer.schema):
                raise RunFailed(
                    f"the columns of the predictions change at row {done + 1:,} ({_format_schema(writer.schema)} -> "
                    f"{_format_schema(content.schema)}); no metrics are logged"
                )
            writer.write_table(content)
            tables.append(table)
            wrong = ~table["correct"].to_numpy(dtype=bool) if "correct" in table else np.ones(len(table), dtype=bool)
            more = inputs.set_axis(range(done, done + len(table))).loc[wrong]
            more = more.assign(**{LOSS: table["loss"].to_numpy()[wrong]})
            worst = (pd.concat([worst, more]) if len(worst) else more).nlargest(WORST, LOSS)
            done += len(table)
            advance(len(table))
    except (ValueError, pa.ArrowException) as error:  # such as values that a column's type does not take
        raise RunFailed(f"the predictions cannot be written ({one_line(error)}); no metrics are logged") from error
    finally:
        if writer:
            writer.close()
    if not tables or done != count:
        raise RunFailed(f"the predictions have {done:,} rows, but the part has {count:,}; no metrics are logged")
    rows = pd.concat(tables, ignore_index=True)
    if (repeated := rows["id"].duplicated()).any():
        name = rows["id"][repeated].iloc[0]
        raise RunFailed(f"the predictions have the id {name!r} twice; no metrics are logged")
    return Predictions(rows, worst.drop(columns=LOSS))


def _format_schema(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)


def _check(table: pd.DataFrame) -> pd.DataFrame:
    """Check ids and losses, and add ``key`` and ``seen``, in types that do not depend on the values.

    Raises:
        RunFailed: if id or loss is missing, or a loss is not a finite number of 0 or more.
    """
    for name in ("id", "loss"):
        if name not in table:
            raise RunFailed(
                f"the predictions lack the column {name!r} (they have {', '.join(map(str, table))}); "
                "no metrics are logged"
            )
    loss = pd.to_numeric(table["loss"], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    wrong = ~(np.isfinite(loss) & (loss >= 0))
    if wrong.any():
        first = int(wrong.argmax())
        fact = f"the loss of row {table['id'].iloc[first]!r} is {loss[first]}"
        raise RunFailed(f"{fact}, not a finite number of 0 or more; no metrics are logged")
    checked = table.assign(
        id=table["id"].astype(str),
        loss=loss,
        key=(table["key"] if "key" in table else table["id"]).astype(str),
        seen=table.get("seen"),
    ).astype({"seen": "boolean"})
    return checked[[*COLUMNS, *(name for name in checked if name not in COLUMNS)]]
