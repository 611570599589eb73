"""The predictions of an evaluation: streamed into a file, checked row by row, the worst ones kept to look at."""

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

WORST = 50  # rows that are kept to look at
LOSS = " loss"  # a column beside the inputs, of which none is called so
PROGRESS = 5000  # rows between two calls of ``progress``


@dataclass(frozen=True)
class Predictions:
    """What a model predicts of a part, a row each in the order of the data.

    ``rows`` has what ``Experiment.predict`` yields, ``seen`` a missing value where it is not known. ``worst`` are the
    inputs of the rows with the largest loss; only of rows that are not right, where a row can be right.
    """

    rows: pd.DataFrame
    worst: pd.DataFrame


def write(
    pieces: Iterable[tuple[pd.DataFrame, pd.DataFrame]], count: int, path: Path, progress: Callable[[int], None]
) -> Predictions:
    """Write the predictions to a Parquet file.

    Args:
        pieces: what ``Experiment.predict`` yields.
        count: how many rows the part has.
        progress: is told the number of rows so far.

    Raises:
        RunFailed: if a column is lacking, or another one in a later piece, a loss is no number from 0 on, an id comes
            twice, or rows are missing.
    """
    tables: list[pd.DataFrame] = []
    worst, done = pd.DataFrame({LOSS: []}), 0
    writer: pq.ParquetWriter | None = None
    try:
        for table, inputs in pieces:
            if table.empty:
                continue  # its columns may have other types
            table = _checked(table)
            content = pa.Table.from_pandas(table, preserve_index=False)
            writer = writer or pq.ParquetWriter(path, content.schema)
            if not content.schema.equals(writer.schema):
                raise RunFailed(
                    f"from row {done + 1:,} on, the predictions have other columns ({_told(content.schema)}, and "
                    f"{_told(writer.schema)} before); no figure is logged"
                )
            writer.write_table(content)
            tables.append(table)
            wrong = ~table["correct"].to_numpy(dtype=bool) if "correct" in table else np.ones(len(table), dtype=bool)
            more = inputs[wrong].assign(**{LOSS: table["loss"].to_numpy()[wrong]})
            worst = (pd.concat([worst, more]) if len(worst) else more).nlargest(WORST, LOSS)
            done += len(table)
            if done // PROGRESS > (done - len(table)) // PROGRESS:
                progress(done)
    except (ValueError, pa.ArrowException) as error:  # columns that differ from piece to piece, say
        raise RunFailed(f"the predictions cannot be stored ({one_line(error)}); no figure is logged") from error
    finally:
        if writer:
            writer.close()
    if not tables or done != count:
        raise RunFailed(f"the predictions are of {done:,} rows, and the part has {count:,}; no figure is logged")
    rows = pd.concat(tables, ignore_index=True)
    if (twice := rows["id"].duplicated()).any():
        name = rows["id"][twice].iloc[0]
        raise RunFailed(f"the predictions have the id {name!r} twice; no figure is logged")
    return Predictions(rows, worst.drop(columns=LOSS))


def _told(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)


def _checked(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a key and with what was seen, in types that do not depend on its values."""
    for name in ("id", "loss"):
        if name not in table:
            raise RunFailed(
                f"the predictions have no column {name!r} but {', '.join(map(str, table))}; no figure is logged"
            )
    loss = pd.to_numeric(table["loss"], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    wrong = ~(np.isfinite(loss) & (loss >= 0))
    if wrong.any():
        place = int(wrong.argmax())
        what = f"the loss of row {table['id'].iloc[place]!r} is {loss[place]}"
        raise RunFailed(f"{what}, no finite number from 0 on; no figure is logged")
    told = table.assign(
        id=table["id"].astype(str),
        loss=loss,
        key=(table["key"] if "key" in table else table["id"]).astype(str),
        seen=table.get("seen"),
    ).astype({"seen": "boolean"})
    return told[[*COLUMNS, *(name for name in told if name not in COLUMNS)]]
