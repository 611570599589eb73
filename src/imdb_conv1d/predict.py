"""Predict a stream of reviews with a model, in memory that does not grow with their texts."""

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
        model: takes texts, an array of objects [n], and gives the probability of positive of each.
        trained_on: what the model was trained and chosen on.

    Returns:
        pieces of two tables, a row a review: id, loss (nats), correct, key (of the words), seen (where it is known),
        text_sha256, label, probability and words; and for people label, probability, text and hash.
    """
    return _pieces(model, part, find_seen(part, trained_on))


def _pieces(model: Any, part: ReviewsPart, seen: Seen | None) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
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
                "words": words,  # as earlier formats call the key
            }
        )
        if seen:
            table["seen"] = [key in seen.keys for key in leaks.digest_words(split, seen.maxlen)]
        done += len(piece)
        yield table, piece[["label"]].assign(probability=probability, text=piece["text"], hash=piece["hash"])


def name_rows(hashes: Iterable[str], labels: Iterable[int], copies: Iterable[int]) -> list[str]:
    """Name rows by their text and label, and of copies by their number."""
    told = zip(hashes, labels, copies, strict=True)
    return [f"{digest}-{label}-{copy}" if copy else f"{digest}-{label}" for digest, label, copy in told]


def predict_probabilities(model: Any, texts: pd.Series) -> np.ndarray:
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
    if found := leaks.read_seen(rows):
        return found
    if trained_on.digest != part.digest or not maxlen.isdecimal():
        return None
    say("reading again what the model was trained on: its training has not stored the words")
    hashes = frozenset(rows.loc[rows["split"].isin(SEEN_PARTS), "hash"])
    pieces = read_chosen(part.texts, part.rows, part.rows["hash"].isin(hashes))
    keys = [
        leaks.digest_words(leaks.split_words(piece["text"].tolist()), int(maxlen)) for piece in pieces if len(piece)
    ]
    return Seen(frozenset(key for some in keys for key in some), int(maxlen))


def upgrade_predictions(table: pd.DataFrame, version: str) -> pd.DataFrame:
    """Read predictions that earlier versions of this project have stored: text_sha256, label and probability.

    Format 2 has words and seen as well. Without a format, it tells neither: words are the text's hash, and what the
    model had seen is not known.
    """
    if version not in ("1", "2"):
        raise ValueError(f"format {version} is not known here")
    if version == "1":
        table = table.assign(words=table["text_sha256"], seen=None)
    label = table["label"].to_numpy()
    return table.assign(
        id=name_rows(table["text_sha256"], label, table.groupby(["text_sha256", "label"]).cumcount()),
        loss=compute_log_losses(label, table["probability"]),
        correct=(table["probability"] > 0.5) == (label == 1),
        key=table["words"],
    )
