"""Predict what an evaluation is compared with: always the most frequent class, and a linear model.

Both are fitted on the training part of the model's own data, which is read again.
"""

import json
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from imdb_conv1d import dataset, derived, linear_model, sources, splitting
from imdb_conv1d.columns import Layout
from imdb_conv1d.labels import Classes
from imdb_conv1d.linear_model import MAX_VALIDATION_VALUES, MAX_VALUES, LinearModel, Sample
from imdb_conv1d.parameters import EvaluateParameters
from imdb_conv1d.predict import compare_with_labels, name_rows
from imdb_conv1d.schema import BASELINES, LINEAR, MOST_FREQUENT, NAME, TOKENS
from imdb_conv1d.text_index import to_hex
from imdb_conv1d.texts_part import TextsPart
from tracked.console.errors import UserError
from tracked.console.lines import say
from tracked.experiment import SEEN_PARTS, TrainedOn
from tracked.training.derived_cache import DerivedCache

RECIPE = 1  # another number for whatever changes a baseline's predictions
Labelled = tuple[str, np.ndarray, list[str]]  # a part's name, codes [n] and texts of some of its rows


def describe_recipe(trained_on: TrainedOn) -> str:
    """Describe all that the baselines depend on beside the training's data and the rows to predict."""
    labels = list(Classes.of_model(trained_on.metadata).names)
    parts = {"recipe": RECIPE, "tokens": tokens_of(trained_on), "labels": labels, "splits": splits_of(trained_on)}
    return json.dumps(parts)


def splits_of(trained_on: TrainedOn) -> tuple[float, float] | None:
    """Read the shares of validation and test part; None if unknown. Earlier versions had one share of the test part."""
    given = trained_on.parameters
    if "validation_split" not in given:
        return None
    return float(given["validation_split"]), float(given.get("test_split", dataset.TEST_SPLIT))


def tokens_of(trained_on: TrainedOn) -> str:
    """Name what the model splits a text into; models of earlier versions split it into words."""
    return str(trained_on.metadata.get(TOKENS, "words"))


def predict_baselines(part: TextsPart, trained_on: TrainedOn) -> dict[str, pd.DataFrame]:
    """Predict the texts of a part with each baseline: tables as :func:`make_table` makes them.

    Raises:
        UserError: if the training's data cannot be read again, or have changed.
        RunFailed: if they change while they are read.
    """
    classes, tokens = Classes.of_model(trained_on.metadata), tokens_of(trained_on)
    texts = load_training(trained_on, classes, part)

    def predict() -> dict[str, np.ndarray]:
        model, shares = fit(_read_pieces(texts), len(classes), tokens)
        probabilities = [model.predict(piece["text"].tolist()) for piece in part.pieces()]
        return {"shares": shares, "linear": np.concatenate(probabilities)}

    cache = DerivedCache(NAME, is_allowed=trained_on.parameters.get("log_texts") == "true")
    key = derived.describe_baselines(texts, part, describe_recipe(trained_on))
    predicted = cache.take(key, "baselines", predict)
    ids, codes = name_part(part)
    by_name = {MOST_FREQUENT: np.tile(predicted["shares"], (len(codes), 1)), LINEAR: predicted["linear"]}
    return {name: make_table(ids, codes, by_name[name], classes) for name in BASELINES}


def fit(pieces: Iterable[Labelled], classes: int, tokens: str) -> tuple[LinearModel, np.ndarray]:
    """Fit the linear model, and count the training part's share of each class, [classes]."""
    train, validation = Sample(MAX_VALUES), Sample(MAX_VALIDATION_VALUES)
    samples, counts = dict(zip(SEEN_PARTS, (train, validation), strict=True)), np.zeros(classes)
    for name, codes, texts in pieces:
        samples[name].add(texts, codes, tokens)
        counts += np.bincount(codes, minlength=classes) if name == SEEN_PARTS[0] else 0
    some = f"{train.share:.2%} of " if train.share < 1 else ""
    say(f"baselines: fitting the linear model on {some}{train.total:,} training texts")
    return linear_model.fit(train, validation, classes, tokens), counts / counts.sum()


def make_table(ids: list[str], codes: np.ndarray, probabilities: np.ndarray, classes: Classes) -> pd.DataFrame:
    """Make the table of some predictions, with the columns of the model's own.

    Args:
        codes: the labels' codes, [n].
        probabilities: of each class, [n, classes].
    """
    chosen = probabilities[:, 1] if classes.is_binary else probabilities
    return pd.DataFrame({"id": ids, **compare_with_labels(chosen, codes, classes)})


def load_training(trained_on: TrainedOn, classes: Classes, part: TextsPart | None = None) -> dataset.LabelledTexts:
    """Load the data that a model was trained on again.

    Args:
        part: texts that are read already; if their data are the training's, these are not read once more.

    Raises:
        UserError: if they cannot be read, or are not the same.
    """
    splits = splits_of(trained_on)
    if not trained_on.source or splits is None:
        raise UserError("the model does not name the data and the parameters that it was trained with")
    if part and part.digest == trained_on.digest and part.classes == classes:
        return dataset.LabelledTexts(part.texts, part.index, splitting.assign_parts(part.index, *splits))
    as_trained = EvaluateParameters.model_construct()  # auto for all that says how data are read
    source = sources.resolve(trained_on.source, Layout.of(as_trained, trained_on.metadata))
    texts = dataset.load(source, *splits, trained_on.parameters.get("positive_label", "auto"))
    if texts.digest != trained_on.digest or texts.classes != classes:
        digests = f"{trained_on.digest[:12]} -> {texts.digest[:12]}"
        raise UserError(f"data: {texts.source} changed since the training (digest {digests})")
    return texts


def _read_pieces(texts: dataset.LabelledTexts) -> Iterator[Labelled]:
    count = texts.count(SEEN_PARTS[0])  # the training part's rows have the first numbers
    codes = np.concatenate([texts.labels(name) for name in SEEN_PARTS])
    for numbers, piece in texts.read_texts():
        of_training = numbers < count
        for name, mask in zip(SEEN_PARTS, (of_training, ~of_training), strict=True):
            if mask.any():
                yield name, codes[numbers[mask]], [text for text, take in zip(piece, mask, strict=True) if take]


def name_part(part: TextsPart) -> tuple[list[str], np.ndarray]:
    """Name the rows to predict as the model's predictions name them, with their labels' codes, int32 [n]."""
    rows = np.flatnonzero(part.take)
    codes, hashes = part.index.labels[rows], to_hex(part.index.hashes[rows])
    names = np.array(part.classes.names, dtype=object)[codes]
    return name_rows(hashes, names, part.copies, named=not part.classes.is_zero_one), codes
