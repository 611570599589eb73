"""Predict a stream of texts in constant memory."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from imdb_conv1d import leaks, schema
from imdb_conv1d.labels import Classes
from imdb_conv1d.leaks import Seen
from imdb_conv1d.metrics import compute_class_losses, compute_log_losses
from imdb_conv1d.texts_part import TextsPart
from tracked.console.cores import map_in_threads
from tracked.console.errors import RunFailed
from tracked.console.lines import say
from tracked.experiment import SEEN_PARTS, TrainedOn

SUM_TOLERANCE = 1e-6  # of a row's probabilities


def predict(model: Any, part: TextsPart, trained_on: TrainedOn) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Predict the texts of a part, in pieces.

    Args:
        model: maps texts, an array of objects [n], to the probabilities of label 1, [n], or of each label, [n, labels].
        trained_on: what the model was trained and chosen on, and its labels.

    Returns:
        pieces of two tables with a row for each text: id, loss (nats), correct, key (of the words), seen (where known),
        text_sha256 and the columns of ``schema.PREDICTION_COLUMNS``; and, to read, those of ``schema.MISTAKE_COLUMNS``.

    Raises:
        RunFailed: if the part's labels are not the model's.
    """
    classes = Classes.of_model(trained_on.metadata)
    if difference := classes.explain_difference(part.classes):
        raise RunFailed(f"the labels of {part.source} were read as others than the model's ({difference})")
    tokens = str(trained_on.metadata.get(schema.TOKENS, "words"))
    return _predict_pieces(model, part, classes, find_seen(part, trained_on), tokens)


def _predict_pieces(
    model: Any, part: TextsPart, classes: Classes, seen: Seen | None, tokens: str
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    copies, done = part.copies, 0
    pieces = map_in_threads(lambda piece: predict_probabilities(model, piece["text"], classes), part.pieces())
    for piece, probability in pieces:
        codes = piece["label"].to_numpy(dtype=np.int64)
        predicted = compare_with_labels(probability, codes, classes)
        split = leaks.split_words(piece["text"].tolist())
        words = leaks.digest_words(split)  # of words for each model: the key of a text is the same for all
        labels, named = [classes.names[code] for code in codes], not classes.is_zero_one
        table = pd.DataFrame(
            {
                "id": name_rows(piece["hash"], labels, copies[done : done + len(piece)], named=named),
                "loss": predicted.pop("loss"),
                "correct": predicted.pop("correct"),
                "key": words,
                "text_sha256": piece["hash"].to_numpy(),
                **predicted,
                "words": words,  # the key's name in earlier formats
            }
        )
        if seen:
            own = split if tokens == "words" else leaks.split_words(piece["text"].tolist(), tokens)
            table["seen"] = [key in seen.keys for key in leaks.digest_words(own, seen.maxlen)]
        done += len(piece)
        shown = {"label": predicted.get(schema.CLASS, piece["label"].to_numpy())}
        shown |= {name: predicted[name] for name in (schema.PREDICTED, "probability") if name in predicted}
        yield table, pd.DataFrame(shown, index=piece.index).assign(text=piece["text"], hash=piece["hash"])


def compare_with_labels(probability: np.ndarray, codes: np.ndarray, classes: Classes) -> dict[str, np.ndarray]:
    """Compare predicted probabilities with the true labels.

    Args:
        probability: of label 1, float64 [n]; of more than two labels, of each, [n, labels].
        codes: the true labels' codes, int64 [n].

    Returns:
        columns of the predictions: loss, correct, label and probability; predicted_label of more than two labels; and
        class and predicted, the names, unless the labels are 0 and 1.
    """
    if classes.is_binary:
        chosen = (probability > 0.5).astype(np.int64)
        columns = {"loss": compute_log_losses(codes, probability), "correct": chosen == codes}
        columns |= {"label": codes.astype(np.int8), "probability": probability}
    else:
        rows, chosen = np.arange(len(codes)), probability.argmax(axis=1)
        columns = {"loss": compute_class_losses(probability[rows, codes]), "correct": chosen == codes}
        columns |= {"label": codes.astype(np.int32), schema.PREDICTED_LABEL: chosen.astype(np.int32)}
        columns |= {"probability": probability[rows, chosen]}
    if not classes.is_zero_one:
        names = np.array(classes.names, dtype=object)
        columns |= {schema.CLASS: names[codes], schema.PREDICTED: names[chosen]}
    return columns


def name_rows(hashes: Iterable[str], labels: Iterable[object], copies: Iterable[int], *, named: bool) -> list[str]:
    """Name rows by text hash and label; copies get a number as well.

    Args:
        named: the labels are not 0 and 1: the number stands before them, as a label may end with a number itself.
    """
    rows = zip(hashes, labels, copies, strict=True)
    if named:
        return [f"{digest}-{copy}-{label}" for digest, label, copy in rows]
    return [f"{digest}-{label}-{copy}" if copy else f"{digest}-{label}" for digest, label, copy in rows]


def predict_probabilities(model: Any, texts: pd.Series, classes: Classes) -> np.ndarray:
    """Predict each text's probability of label 1, float64 [n]; of more than two labels, of each, [n, labels].

    Raises:
        RunFailed: if the model's output is not a probability for each text, or its rows do not sum to 1.
    """
    result = np.asarray(model.predict(texts.to_numpy(dtype=object)), dtype=float)
    if classes.is_binary:
        result = result.reshape(-1)
        if len(result) != len(texts) or not ((result >= 0) & (result <= 1)).all():
            raise RunFailed("the model does not give a probability between 0 and 1 for each text")
        return result
    if result.shape != (len(texts), len(classes)):
        raise RunFailed(
            f"the model's output for {len(texts)} texts has the shape {list(result.shape)}, "
            f"not a column for each of its {len(classes)} labels"
        )
    if not ((result >= 0) & (result <= 1)).all() or not (np.abs(result.sum(axis=1) - 1) <= SUM_TOLERANCE).all():
        raise RunFailed("the model does not give probabilities between 0 and 1 with a sum of 1 for each text")
    return result


def find_seen(part: TextsPart, trained_on: TrainedOn) -> Seen | None:
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
    pieces = part.pieces(part.find(hashes))
    keys = [leaks.digest_words(leaks.split_words(piece["text"].tolist()), int(maxlen)) for piece in pieces]
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
        id=name_rows(table["text_sha256"], label, table.groupby(["text_sha256", "label"]).cumcount(), named=False),
        loss=compute_log_losses(label, table["probability"]),
        correct=(table["probability"] > 0.5) == (label == 1),
        key=table["words"],
    )
