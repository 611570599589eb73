"""Explain predictions of a stored model: its windows as words of the text, and what each word adds up to."""

from typing import Any

import numpy as np
import tensorflow as tf

from imdb_conv1d import tokenizer
from imdb_conv1d.explainer import Effects, Weights, compute_effects
from imdb_conv1d.explanation import Explanation, Window
from imdb_conv1d.labels import Classes
from imdb_conv1d.reading import Reading
from imdb_conv1d.schema import MAXLEN, NETWORK, TOKENS
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
        self._weights = Weights.of([np.asarray(weight) for weight in model.weights])
        outputs = len(self._weights.output_bias)
        if outputs != (1 if classes.is_binary else len(classes)) or maxlen < self._weights.kernel_size:
            raise ValueError(f"has {outputs} outputs and maxlen {maxlen}, for {len(classes)} labels")

    @classmethod
    def load(cls, stored: StoredModel, model: DownloadedModel, classes: Classes) -> "Explainer":
        """Load a downloaded model to explain it.

        Raises:
            UserError: if it is no model of this experiment, or one of another network.
            RunFailed: if its training's run, which knows its length where its metadata do not, cannot be read.
        """
        own = model.metadata.own if model.metadata else {}
        if (network := own.get(NETWORK, "conv")) != "conv":  # whose weights are not those of windows
            raise UserError(f"model: {stored.title} has network={network}; allowed: a model of network=conv")
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
        effects = compute_effects(self._weights, reading.ids)
        expected = np.reshape(self._model.logits(tf.constant([text])).numpy().astype(float), -1)
        if not np.allclose(effects.logits, expected, rtol=TOLERANCE, atol=TOLERANCE):
            raise ValueError(f"gives the logits {expected.tolist()}, its weights {effects.logits.tolist()}")
        return Explanation(
            self._classes.names[effects.predicted],
            effects.probability,
            effects.logit,
            label,
            tuple(self._describe(reading, effects, row) for row in range(len(effects.starts))),
            reading.to_pieces(_add_up(effects, self._maxlen, self._weights.kernel_size)),
            reading.spans is not None,
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

    def _describe(self, reading: Reading, effects: Effects, row: int) -> Window:
        start, filters = int(effects.starts[row]), int(effects.held[row])
        words, first = reading.name_window(start, self._weights.kernel_size)
        share = filters / self._weights.filters
        return Window(words, first, float(effects.effects[row]), filters, share, float(effects.probabilities[row]))


def _add_up(effects: Effects, maxlen: int, kernel_size: int) -> np.ndarray:
    """Add up the effects of the windows over each position: float64 [maxlen]."""
    sums = np.zeros(maxlen)
    for start, effect in zip(effects.starts, effects.effects, strict=True):
        sums[start : start + kernel_size] += effect
    return sums
