"""Predict a stream of reviews in constant memory for their texts."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from imdb_conv1d import leaks
from imdb_conv1d.leaks import Seen
from imdb_conv1d.metrics import compute_log_losses
from imdb_conv1d.reviews_part import ReviewsPart, read_chosen
from tracked.console.errors import RunFailed
from tracked.console.lines import say
from tracked.experiment import SEEN_PARTS, TrainedOn


def predict(model: Any, part: ReviewsPart, trained_on: TrainedOn) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Predict the reviews of a part, in pieces.

    Args:
        model: maps texts, an array of objects [n], to the probabilities of a positive review, [n].
        trained_on: what the model was trained and chosen on.

    Returns:
        pieces of two tables with a row for each review: id, loss (nats), correct, key (of the words), seen (where
        known), text_sha256, label, probability and words; and, to read, label, probability, text and hash.
    """
    return _predict_pieces(model, part, find_seen(part, trained_on))


def _predict_pieces(model: Any, part: ReviewsPart, seen: Seen | None) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    copies = (part.rows[part.take].groupby(["hash", "label"], sort=False).cumcount()).to_numpy()
    done = 0
    for piece in read_chosen(part.texts, part.rows, part.take):
        if piece.empty:
            continue
        label = piece["label"].to_numpy(dtype=np.int8)
        probability = predict_probabilities(model, piece["text"])
        split = leaks.split_words(piece["text"].tolist())
        words = leaks.digest_words(split)
        table = pd.DataFrame(
            {
                "id": name_rows(piece["hash"], label, copies[done : done + len(piece)]),
                "loss": compute_log_losses(label, probability),
                "correct": (probability > 0.5) == (label == 1),
                "key": words,
                "text_sha256": piece["hash"].to_numpy(),
                "label": label,
                "probability": probability,
                "words": words,  # the key's name in earlier formats
            }
        )
        if seen:
            table["seen"] = [key in seen.keys for key in leaks.digest_words(split, seen.maxlen)]
        done += len(piece)
        yield table, piece[["label"]].assign(probability=probability, text=piece["text"], hash=piece["hash"])


def name_rows(hashes: Iterable[str], labels: Iterable[int], copies: Iterable[int]) -> list[str]:
    """Name rows by text hash and label; copies get a number as well."""
    rows = zip(hashes, labels, copies, strict=True)
    return [f"{digest}-{label}-{copy}" if copy else f"{digest}-{label}" for digest, label, copy in rows]


def predict_probabilities(model: Any, texts: pd.Series) -> np.ndarray:
    """Predict each text's probability of being positive, float64 [n].

    Raises:
        RunFailed: if the model's output is not a probability for each text.
    """
    result = np.asarray(model.predict(texts.to_numpy(dtype=object)), dtype=float).reshape(-1)
    if len(result) != len(texts) or not ((result >= 0) & (result <= 1)).all():
        raise RunFailed("the model does not give a probability between 0 and 1 for each text")
    return result


def find_seen(part: ReviewsPart, trained_on: TrainedOn) -> Seen | None:
    """Find the texts that a model was trained and chosen on; None if unknown.

    Trainings of earlier versions logged hashes of the bytes only. If their data are the part's, the words are computed
    again from the texts.
    """
    rows, maxlen = trained_on.rows, trained_on.parameters.get("maxlen", "")
    if rows is None:
        return None
    if seen := leaks.read_seen(rows):
        return seen
    if trained_on.digest != part.digest or not maxlen.isdecimal():
        return None
    say("reading the training data again: the training logged no keys of words")
    hashes = frozenset(rows.loc[rows["split"].isin(SEEN_PARTS), "hash"])
    pieces = read_chosen(part.texts, part.rows, part.rows["hash"].isin(hashes))
    keys = [
        leaks.digest_words(leaks.split_words(piece["text"].tolist()), int(maxlen)) for piece in pieces if len(piece)
    ]
    return Seen(frozenset(key for piece in keys for key in piece), int(maxlen))


def upgrade_predictions(table: pd.DataFrame, version: str) -> pd.DataFrame:
    """Convert predictions of earlier formats, which have text_sha256, label and probability.

    Format 2 has words and seen as well. Format 1 has neither: words become the text's hash, and seen is unknown.
    """
    if version not in ("1", "2"):
        raise ValueError(f"format {version} of predictions is unknown to this experiment")
    if version == "1":
        table = table.assign(words=table["text_sha256"], seen=None)
    label = table["label"].to_numpy()
    return table.assign(
        id=name_rows(table["text_sha256"], label, table.groupby(["text_sha256", "label"]).cumcount()),
        loss=compute_log_losses(label, table["probability"]),
        correct=(table["probability"] > 0.5) == (label == 1),
        key=table["words"],
    )
