"""Predict a stream of reviews with a model, in memory that does not grow with their texts."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from imdb_conv1d import dataset, leaks, sources
from imdb_conv1d.leaks import Seen
from imdb_conv1d.metrics import log_losses
from imdb_conv1d.sources import Source
from tracked.console.errors import RunFailed, UserError
from tracked.console.lines import say
from tracked.experiment import TrainedOn


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
    rows = dataset.index(source)
    take = to_score(rows, whole=whole and Path(source.name).is_absolute())
    return ReviewsPart(source, rows, take, dataset.digest(rows), dataset.digest(rows[take].assign(split="")))


def to_score(rows: pd.DataFrame, whole: bool) -> pd.Series:
    """Which rows of ``dataset.index`` are scored: the test part or, if ``whole`` and no row is given to it, all.

    Raises:
        UserError: if they have one label only.
    """
    take = pd.Series(True, index=rows.index)
    if not whole or (rows["split"] == "test").any():
        # The test part does not depend on the other split.
        take = dataset.partition(rows, validation_split=0.5) == "test"
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


def predict(model: Any, part: ReviewsPart, trained_on: TrainedOn) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Predict the reviews of a part, in pieces.

    Args:
        model: takes texts, an array of objects [n], and gives the probability of positive of each.
        trained_on: what the model was trained and chosen on.

    Yields:
        id, loss (nats), correct, key (of the words), seen (where it is known), text_sha256, label, probability and
        words, a row a review; and their hash, text, label and probability, for people.
    """
    seen = find_seen(part, trained_on)
    copies = (part.rows[part.take].groupby(["hash", "label"], sort=False).cumcount()).to_numpy()
    done = 0
    for piece in chosen(part.texts, part.rows, part.take):
        if piece.empty:
            continue
        label = piece["label"].to_numpy(dtype=np.int8)
        probability = probabilities(model, piece["text"])
        split = leaks.split(piece["text"].tolist())
        words = leaks.digests(split)
        table = pd.DataFrame(
            {
                "id": ids(piece["hash"], label, copies[done : done + len(piece)]),
                "loss": log_losses(label, probability),
                "correct": (probability > 0.5) == (label == 1),
                "key": words,
                "text_sha256": piece["hash"].to_numpy(),
                "label": label,
                "probability": probability,
                "words": words,
            }
        )
        if seen:
            table["seen"] = [key in seen.keys for key in leaks.digests(split, seen.maxlen)]
        done += len(piece)
        yield table, piece[["label"]].assign(probability=probability, text=piece["text"], hash=piece["hash"])


def ids(hashes: Iterable[str], labels: Iterable[int], copies: Iterable[int]) -> list[str]:
    """Name rows by their text and label, and of copies by their number."""
    told = zip(hashes, labels, copies, strict=True)
    return [f"{digest}-{label}-{copy}" if copy else f"{digest}-{label}" for digest, label, copy in told]


def probabilities(model: Any, texts: pd.Series) -> np.ndarray:
    """Predict texts: the probability of positive of each, float64 [n].

    Raises:
        RunFailed: if the model does not give one of each.
    """
    result = np.asarray(model.predict(texts.to_numpy(dtype=object)), dtype=float).reshape(-1)
    if len(result) != len(texts) or not ((result >= 0) & (result <= 1)).all():
        raise RunFailed("the model does not give a probability between 0 and 1 for each text")
    return result


def find_seen(part: ReviewsPart, trained_on: TrainedOn) -> Seen | None:
    """Tell what a model was trained and chosen on, None where that cannot be known.

    A training of an earlier version has stored bytes' hashes alone. Where its data are the ones at hand, the words are
    read off them again.
    """
    rows, maxlen = trained_on.rows, trained_on.parameters.get("maxlen", "")
    if rows is None:
        return None
    if found := leaks.seen(rows):
        return found
    if trained_on.digest != part.digest or not maxlen.isdecimal():
        return None
    say("reading again what the model was trained on: its training has not stored the words")
    hashes = frozenset(rows.loc[rows["split"].isin(leaks.SEEN_PARTS), "hash"])
    pieces = chosen(part.texts, part.rows, part.rows["hash"].isin(hashes))
    keys = [leaks.digests(leaks.split(piece["text"].tolist()), int(maxlen)) for piece in pieces if len(piece)]
    return Seen(frozenset(key for some in keys for key in some), int(maxlen))


def upgrade(table: pd.DataFrame, version: str) -> pd.DataFrame:
    """Read predictions that earlier versions of this project have stored: text_sha256, label and probability.

    Format 2 has words and seen as well. Without a format, it tells neither: words are the text's hash, and what the
    model had seen is not known.
    """
    if version != "2":
        table = table.assign(words=table["text_sha256"], seen=None)
    label = table["label"].to_numpy()
    return table.assign(
        id=ids(table["text_sha256"], label, table.groupby(["text_sha256", "label"]).cumcount()),
        loss=log_losses(label, table["probability"]),
        correct=(table["probability"] > 0.5) == (label == 1),
        key=table["words"],
    )
