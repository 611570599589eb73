"""Score a stream of reviews with a model, in memory that does not grow with their texts."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from imdb_conv1d import dataset, leaks
from imdb_conv1d.leaks import Seen
from imdb_conv1d.sources import Source
from tracked.console.errors import RunFailed, UserError

MISTAKES = 50  # rows in the table of mistakes
PROGRESS = 5000  # reviews between two calls of ``progress``
SCHEMA = pa.schema(
    [("text_sha256", pa.string()), ("label", pa.int8()), ("probability", pa.float64()), ("words", pa.string()),
     ("seen", pa.bool_())]
)  # fmt: skip


@dataclass(frozen=True)
class Scored:
    """Labels, probabilities and keys of the words [n] in the order of the source, and the most confident mistakes.

    ``seen`` [n] tells which texts the model was trained or chosen on, None where that is not known.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    words: np.ndarray
    seen: np.ndarray | None
    mistakes: pd.DataFrame


def to_score(rows: pd.DataFrame, whole: bool) -> pd.Series:
    """Which rows of ``data.index`` are scored: the test part or, if ``whole`` and no row is given to it, all of them.

    Raises:
        UserError: if they have one label only.
    """
    take = pd.Series(True, index=rows.index)
    if not whole or (rows["split"] == "test").any():
        take = (
            dataset.partition(rows, validation_split=0.5) == "test"
        )  # the test part does not depend on the other split
    for label in (0, 1):
        if not (take & (rows["label"] == label)).any():
            raise UserError(f"data: there is no review of label {label} to score; allowed: reviews of both labels")
    return take


def chosen(source: Source, rows: pd.DataFrame, take: pd.Series) -> Iterator[pd.DataFrame]:
    """Pieces (hash, label, text) of a source: those of its rows that ``take`` is true for.

    Raises:
        RunFailed: if the source gives other rows than ``rows``, which came of an earlier reading.
    """
    start = 0
    try:
        for table in source.tables():
            before = rows[["hash", "label"]].iloc[start : start + len(table)]
            now = dataset.indexed(table)[["hash", "label"]]
            if len(before) < len(now):
                raise _changed(source, f"it has more than {len(rows):,} rows")
            other = (now.to_numpy() != before.to_numpy()).any(axis=1)
            if other.any():
                raise _changed(source, f"row {start + other.argmax() + 1} is not what it was")
            yield before.assign(text=table["text"].to_numpy())[take.iloc[start : start + len(table)]]
            start += len(table)
    except UserError as error:
        raise _changed(source, str(error)) from None  # what can be read no more could be read before
    if start < len(rows):
        raise _changed(source, f"it has {start:,} rows, and {len(rows):,} before")


def _changed(source: Source, what: str) -> RunFailed:
    return RunFailed(
        f"data: {source.name} changed while it was scored ({what}); no figure is logged; evaluate it again"
    )


def score(
    pieces: Iterable[pd.DataFrame],
    scorer: Callable[[pd.Series], np.ndarray],
    trained_on: Seen | None,
    predictions: Path,
    progress: Callable[[int], None],
) -> Scored:
    """Score pieces (hash, label, text) and write a row a review to ``predictions``, a Parquet file.

    Args:
        trained_on: what the model was trained and chosen on, None where that is not known.
        progress: is told the number of reviews scored so far.
    """
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("label", "probability", "words", "seen")}
    mistakes = pd.DataFrame({"text": [], "label": [], "probability": [], "error": []})
    done = 0
    with pq.ParquetWriter(predictions, SCHEMA) as writer:
        for piece in pieces:
            if piece.empty:
                continue
            found, label = scorer(piece["text"]), piece["label"].to_numpy(dtype=np.int8)
            split = leaks.split(piece["text"].tolist())
            scored = {"label": label, "probability": found, "words": leaks.digests(split)}
            if trained_on:
                mine = leaks.digests(split, trained_on.maxlen)
                scored["seen"] = np.array([key in trained_on.keys for key in mine], dtype=bool)
            for name, values in scored.items():
                columns[name].append(values)
            told = {"text_sha256": piece["hash"].tolist(), "seen": [None] * len(piece)} | scored
            writer.write_table(pa.table([told[name] for name in SCHEMA.names], schema=SCHEMA))
            wrong = piece.assign(probability=found, error=np.abs(label - found))[(found > 0.5) != (label == 1)]
            both = [mistakes, wrong] if len(mistakes) else [wrong]
            mistakes = pd.concat(both).nlargest(MISTAKES, "error")
            done += len(piece)
            if done // PROGRESS > (done - len(piece)) // PROGRESS:
                progress(done)
    label, probability, words = (np.concatenate(columns[name]) for name in ("label", "probability", "words"))
    return Scored(label, probability, words, np.concatenate(columns["seen"]) if trained_on else None, mistakes)
