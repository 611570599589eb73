"""The reviews that an evaluation predicts: a test part, or all of a file."""

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
    """Reviews to predict: the rows of ``texts`` where ``take`` is True; ``rows`` has their hash, label and split.

    ``rows_digest`` is a SHA-256 of the chosen hashes and labels, independent of their order.
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
        """The number of reviews to predict."""
        return int(self.take.sum())

    @property
    def total(self) -> int:
        """The number of reviews of the source."""
        return len(self.rows)


def load_part(data: str, whole: bool) -> ReviewsPart:
    """Find the reviews that an evaluation predicts.

    Args:
        data: a source's name or path.
        whole: take all rows of a file without a test part.

    Raises:
        UserError: if the data cannot be read, or the rows have one label only.
    """
    source = sources.resolve(data)
    rows = dataset.index_rows(source)
    take = choose_rows(rows, whole=whole and Path(source.name).is_absolute())
    return ReviewsPart(source, rows, take, dataset.digest_rows(rows), dataset.digest_rows(rows[take].assign(split="")))


def choose_rows(rows: pd.DataFrame, whole: bool) -> pd.Series:
    """Choose the rows to score: the test part or, if ``whole`` and no row is marked as test, all.

    Raises:
        UserError: if the rows have one label only.
    """
    take = pd.Series(True, index=rows.index)
    if not whole or (rows["split"] == "test").any():
        # The test part does not depend on the other split.
        take = dataset.assign_parts(rows, validation_split=0.5) == "test"
    for label in (0, 1):
        if not (take & (rows["label"] == label)).any():
            raise UserError(f"data: no review to score has label {label}; allowed: reviews of both labels")
    return take


def read_chosen(source: Source, rows: pd.DataFrame, take: pd.Series) -> Iterator[pd.DataFrame]:
    """Read the rows of a source where ``take`` is True, in pieces (hash, label, text).

    Raises:
        RunFailed: if the source has changed since ``rows`` were read.
    """
    start = 0
    try:
        for table in source.tables():
            before = rows[["hash", "label"]].iloc[start : start + len(table)]
            after = dataset.index_table(table)[["hash", "label"]]
            if len(before) < len(after):
                raise _make_change_error(source, f"more than {len(rows):,} rows")
            differs = (after.to_numpy() != before.to_numpy()).any(axis=1)
            if differs.any():
                raise _make_change_error(source, f"row {start + differs.argmax() + 1} differs")
            yield before.assign(text=table["text"].to_numpy())[take.iloc[start : start + len(table)]]
            start += len(table)
    except UserError as error:
        raise _make_change_error(source, str(error)) from None  # the same rows were readable before
    if start < len(rows):
        raise _make_change_error(source, f"rows: {len(rows):,} -> {start:,}")


def _make_change_error(source: Source, change: str) -> RunFailed:
    return RunFailed(
        f"data: {source.name} changed while it was scored ({change}); no metrics are logged; evaluate again"
    )
