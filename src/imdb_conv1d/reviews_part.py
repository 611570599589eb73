"""The reviews that are predicted: a test part, or all of a file."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pandas as pd

from imdb_conv1d import dataset, sources
from imdb_conv1d.sources import Source
from tracked.console.errors import RunFailed, UserError


@dataclass(frozen=True, eq=False)
class ReviewsPart:
    """Reviews to predict: those of ``rows`` (hash, label, split) of ``texts`` that ``take`` is true for.

    ``rows_digest`` is a SHA-256 of the chosen texts' hashes and labels, in no order.
    """

    texts: Source
    rows: pd.DataFrame
    take: pd.Series
    digest: str
    rows_digest: str
    columns: ClassVar[Mapping[str, str]] = dataset.Reviews.columns

    @property
    def source(self) -> str:
        """The source's name."""
        return self.texts.name

    @property
    def count(self) -> int:
        """Number of reviews to predict."""
        return int(self.take.sum())

    @property
    def total(self) -> int:
        """Number of reviews of the source."""
        return len(self.rows)


def load_part(data: str, whole: bool) -> ReviewsPart:
    """Find the reviews that an evaluation predicts.

    Args:
        data: a source's name or path.
        whole: whether all rows of a file without a test part are meant.

    Raises:
        UserError: if they are not at hand, or have one label only.
    """
    source = sources.resolve(data)
    rows = dataset.index_rows(source)
    take = choose_rows(rows, whole=whole and Path(source.name).is_absolute())
    return ReviewsPart(source, rows, take, dataset.digest_rows(rows), dataset.digest_rows(rows[take].assign(split="")))


def choose_rows(rows: pd.DataFrame, whole: bool) -> pd.Series:
    """Which rows of ``dataset.index_rows`` are scored: the test part or, if ``whole`` and no row is given to it, all.

    Raises:
        UserError: if they have one label only.
    """
    take = pd.Series(True, index=rows.index)
    if not whole or (rows["split"] == "test").any():
        # The test part does not depend on the other split.
        take = dataset.assign_parts(rows, validation_split=0.5) == "test"
    for label in (0, 1):
        if not (take & (rows["label"] == label)).any():
            raise UserError(f"data: there is no review of label {label} to score; allowed: reviews of both labels")
    return take


def read_chosen(source: Source, rows: pd.DataFrame, take: pd.Series) -> Iterator[pd.DataFrame]:
    """Pieces (hash, label, text) of a source: those of its rows that ``take`` is true for.

    Raises:
        RunFailed: if the source gives other rows than ``rows``, which came of an earlier reading.
    """
    start = 0
    try:
        for table in source.tables():
            before = rows[["hash", "label"]].iloc[start : start + len(table)]
            now = dataset.index_table(table)[["hash", "label"]]
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
