"""Explain predictions of a stored model: windows or n-grams as words of the text, and what each word adds up to."""

from typing import Any

import numpy as np
import tensorflow as tf

from imdb_conv1d import explainer, gated_explainer, tokenizer
from imdb_conv1d.effects import Effects
from imdb_conv1d.explainer import Weights
from imdb_conv1d.explanation import Explanation, Window
from imdb_conv1d.gated_explainer import GatedWeights
from imdb_conv1d.labels import Classes
from imdb_conv1d.reading import Reading
from imdb_conv1d.schema import MAXLEN, TOKENS
from imdb_conv1d.spans import find_spans
from tracked.console.errors import UserError
from tracked.models import loader
from tracked.models.loader import DownloadedModel
from tracked.runs import run_calls
from tracked.runs.registry import StoredModel
from tracked.runs.run_parameters import read_parameters

TOLERANCE = 1e-3  # between the model's logits, in float32, and those computed here


class Explainer:
    """A stored model whose predictions are explained.

    Args:
        model: the loaded SavedModel of a ``TextClassifier``.
        maxlen: the number of last words that it takes.
        tokens: what it splits texts into.

    Raises:
        ValueError: if it holds another network.
    """

    def __init__(self, model: Any, classes: Classes, maxlen: int, tokens: str = "words") -> None:
        if not all(hasattr(model, name) for name in ("weights", "words", "logits")):
            raise ValueError("holds no weights and words of this experiment's network")
        self._model, self._classes, self._maxlen, self._tokens = model, classes, maxlen, tokens
        self._weights = weights = _read_weights(model)
        if weights.outputs != (1 if classes.is_binary else len(classes)) or maxlen < weights.shortest:
            raise ValueError(f"has {weights.outputs} outputs and maxlen {maxlen}, for {len(classes)} labels")

    @classmethod
    def load(cls, stored: StoredModel, model: DownloadedModel, classes: Classes) -> "Explainer":
        """Load a downloaded model to explain it.

        Raises:
            UserError: if it is no model of this experiment.
            RunFailed: if its training's run, which knows its length where its metadata do not, cannot be read.
        """
        own = model.metadata.own if model.metadata else {}
        maxlen = own.get(MAXLEN) or (read_parameters(run_calls.get(stored.run_id)).get(MAXLEN) if stored.run_id else 0)
        try:
            raw = loader.load(str(model.path)).get_raw_model()
            return cls(raw, classes, int(maxlen or 0), own.get(TOKENS, "words"))
        except ValueError as error:
            problem = f"model: {stored.title} {error}"
            raise UserError(f"{problem}; allowed: a model that this experiment trained") from None

    def explain(self, text: str, label: str = "") -> Explanation:
        """Explain the prediction of a text.

        Raises:
            ValueError: if the weights do not give the model's own logits.
        """
        reading = self._read(text)
        effects = _compute_effects(self._weights, reading.ids)
        expected = np.reshape(self._model.logits(tf.constant([text])).numpy().astype(float), -1)
        if not np.allclose(effects.logits, expected, rtol=TOLERANCE, atol=TOLERANCE):
            raise ValueError(f"gives the logits {expected.tolist()}, its weights {effects.logits.tolist()}")
        return Explanation(
            self._classes.names[effects.predicted],
            effects.probability,
            effects.logit,
            label,
            tuple(_describe(reading, effects, row) for row in range(len(effects.starts))),
            reading.to_pieces(effects.add_up(self._maxlen)),
            reading.spans is not None,
            effects.intercept,
        )

    def _read(self, text: str) -> Reading:
        words = [word.decode() for word in tokenizer.tokenize(tf.constant([text]), self._tokens)[0].numpy()]
        table = self._model.words.resource_handle
        unknown = tf.constant(tokenizer.UNKNOWN, tf.int64)
        found = tf.raw_ops.LookupTableFindV2(
            table_handle=table, keys=tf.constant(words, tf.string), default_value=unknown
        )
        ids = [tokenizer.START, *found.numpy().tolist()]
        padded = np.full(self._maxlen, tokenizer.PADDING)
        padded[-len(ids) :] = ids[-self._maxlen :]
        return Reading(text, words, padded, np.array(ids), find_spans(text, words))


def _read_weights(model: Any) -> Weights | GatedWeights:
    """Read the weights of a loaded model; one with n-grams has the gated network."""
    arrays, ngrams = [np.asarray(weight) for weight in model.weights], getattr(model, "ngrams", None)
    if ngrams is None:
        return Weights.of(arrays)
    return GatedWeights.of(arrays, *(np.asarray(table) for table in (ngrams.keys, ngrams.ratios, ngrams.weights)))


def _compute_effects(weights: Weights | GatedWeights, ids: np.ndarray) -> Effects:
    if isinstance(weights, Weights):
        return explainer.compute_effects(weights, ids)
    return gated_explainer.compute_effects(weights, ids)


def _describe(reading: Reading, effects: Effects, row: int) -> Window:
    words, first = reading.name_window(int(effects.starts[row]), int(effects.lengths[row]))
    held, share, gate = (
        None if values is None else values[row].item() for values in (effects.held, effects.shares, effects.gates)
    )
    return Window(words, first, float(effects.effects[row]), held, share, float(effects.probabilities[row]), gate)
