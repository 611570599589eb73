"""Classify a user's texts: labels and probabilities, and what may drift."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from imdb_conv1d import schema
from imdb_conv1d.kept_tables import KeptTables
from imdb_conv1d.labels import Classes
from imdb_conv1d.numbered_texts import NumberedTexts
from imdb_conv1d.predict import predict_probabilities
from imdb_conv1d.text_model import CHUNK
from imdb_conv1d.text_observations import count_texts
from imdb_conv1d.text_reasons import TextReasons
from imdb_conv1d.tokenizer import PADDING
from tracked.predict.places import place

BATCH = 4096  # texts scored in one call, which bounds the memory


class TextScorer:
    """A model that classifies texts.

    Args:
        model: an ``mlflow.pyfunc.PyFuncModel``.
        inputs: names of the texts' columns; several are joined by line breaks.
        metadata: what was stored with the model.
        online: be quick with few texts; the last bits of an answer may depend on the others.
    """

    def __init__(self, model: Any, inputs: Sequence[str], metadata: Mapping[str, Any], online: bool = False) -> None:
        self.classes = Classes.of_model(metadata)
        self._model, self._inputs, self._raw, self._online = model, list(inputs), model.get_raw_model(), online
        self._tokens, self._maxlen = str(metadata.get(schema.TOKENS, "words")), int(metadata.get(schema.MAXLEN) or 0)
        outputs = 1 if self.classes.is_binary else len(self.classes)
        self._kept = KeptTables.of(self._raw, outputs, self._maxlen, self._tokens) if online else None
        self._names = np.array(self.classes.names, dtype=object)
        self._read: NumberedTexts | None = None

    @property
    def columns(self) -> Mapping[str, str]:
        """The predicted label, and a probability: of two labels, of the one with code 1; of more, of this one."""
        return {schema.PREDICTED: "int8" if self.classes.is_zero_one else "str", "probability": "float64"}

    @property
    def notes(self) -> Mapping[str, str]:
        """What an answer's columns mean, for an endpoint's pages."""
        of = f"of {self.classes.names[1]!r}" if self.classes.is_binary else "of the predicted label"
        return {schema.PREDICTED: "the label", "probability": of}

    def find_bad(self, table: pd.DataFrame) -> dict[Any, str]:
        """Find the rows whose text is missing, empty, or something else than a text."""
        bad: dict[Any, str] = {}
        for label, values in zip(table.index, zip(*(table[name] for name in self._inputs), strict=True), strict=True):
            others = [value for value in values if not isinstance(value, str) and not _is_missing(value)]
            if others:
                bad[label] = f"no text but {type(others[0]).__name__}"
            elif all(_is_missing(value) for value in values):
                bad[label] = "no text"
            elif not any(isinstance(value, str) and value.strip() for value in values):
                bad[label] = "an empty text"
        return bad

    def answer(self, table: pd.DataFrame) -> pd.DataFrame:
        """Predict each text's label, in batches of one shape: a text's bits do not depend on the others."""
        return self.describe(self.predict(table)).set_axis(table.index)

    def predict(self, table: pd.DataFrame) -> np.ndarray:
        """Predict each text's probability of code 1, float64 [n], or of each of more labels, [n, labels]."""
        texts = self._join(table)
        if self._kept:
            return self._kept.predict(texts)
        if self._online:
            return predict_probabilities(self._model, pd.Series(texts, dtype=object), self.classes)
        return self._predict(self._read_texts(texts))

    def describe(self, output: np.ndarray) -> pd.DataFrame:
        """Name the labels of probabilities, each with the probability to tell."""
        predicted, probability = self._choose(output)
        names = predicted.astype(np.int8) if self.classes.is_zero_one else pd.array(self._names[predicted], dtype="str")
        return pd.DataFrame({schema.PREDICTED: names, "probability": probability})

    def explain(self, table: pd.DataFrame) -> Mapping[str, Any] | None:
        """Explain the answer to a table of one text by what of the text made it; None if the network is another one."""
        return self._reasons.tell(self._join(table)[0]) if self._reasons else None

    @cached_property
    def _reasons(self) -> TextReasons | None:
        """What explains, made when it is asked for: its weights take twice the memory of the model's own."""
        return TextReasons.of(self._raw, self.classes, self._maxlen, self._tokens)

    def observe(self, table: pd.DataFrame, answers: pd.DataFrame) -> dict[str, Any]:
        """Count texts by their length, share of unknown words, label and probability."""
        named = answers[schema.PREDICTED]
        codes = named if self.classes.is_zero_one else named.map(self.classes.codes)
        return self._observe(self._read_texts(self._join(table)), codes.to_numpy(), answers["probability"].to_numpy())

    def observe_texts(self, texts: list[str]) -> dict[str, Any]:
        """Classify and observe texts."""
        read = self._read_texts(texts)
        return self._observe(read, *self._choose(self._predict(read)))

    def _join(self, table: pd.DataFrame) -> list[str]:
        """Join a row's texts as training does: a missing one is an empty text."""
        if len(self._inputs) == 1:
            return list(table[self._inputs[0]])
        rows = zip(*(table[name] for name in self._inputs), strict=True)
        return ["\n".join("" if _is_missing(value) else value for value in row) for row in rows]

    def _read_texts(self, texts: list[str]) -> NumberedTexts:
        if self._read is None or self._read.texts != texts:  # observe follows answer
            self._read = NumberedTexts.of(texts, self._tokens, getattr(self._raw, "words", None))
        return self._read

    def _predict(self, read: NumberedTexts) -> np.ndarray:
        """Predict probabilities: of code 1, float64 [n], or of each of more classes, [n, classes]."""
        fast = self._maxlen and read.ids is not None and hasattr(self._raw, "logits_of_ids")
        starts = range(0, len(read.texts), BATCH)
        pieces = [self._predict_ids(read, start) if fast else self._predict_texts(read, start) for start in starts]
        return np.concatenate(pieces or [np.empty(0 if self.classes.is_binary else (0, len(self.classes)))])

    def _predict_ids(self, read: NumberedTexts, start: int) -> np.ndarray:
        ids = read.pad(self._maxlen, start, start + BATCH)
        # TensorFlow computes the last few of many numbers one by one, which rounds them differently, too.
        placed, places = place(ids, CHUNK, PADDING)
        logits = tf.cast(self._raw.logits_of_ids(placed), tf.float64)
        probabilities = tf.sigmoid(logits) if self.classes.is_binary else tf.nn.softmax(logits)
        return np.asarray(probabilities)[places]

    def _predict_texts(self, read: NumberedTexts, start: int) -> np.ndarray:
        placed, places = place(np.array(read.texts[start : start + BATCH], dtype=object), CHUNK, "")
        return predict_probabilities(self._model, pd.Series(placed, dtype=object), self.classes)[places]

    def _choose(self, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Choose the code and the probability to tell of each text, both [n]."""
        if self.classes.is_binary:
            return (probabilities > 0.5).astype(np.int64), probabilities
        chosen = probabilities.argmax(axis=1)
        return chosen, probabilities[np.arange(len(chosen)), chosen]

    def _observe(self, read: NumberedTexts, codes: np.ndarray, probability: np.ndarray) -> dict[str, Any]:
        return count_texts(read, self._tokens, self.classes, codes, probability)


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value))
