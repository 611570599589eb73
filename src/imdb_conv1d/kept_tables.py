"""Classify few texts quickly: a loaded model's vocabulary and the tables of its convolution are kept in memory.

The model itself computes the tables (``table_convolution``) in each call, or convolves, both of which few texts do not
pay for. Here texts are numbered and rows of kept tables added up one text after the other, in NumPy, as one text's sums
fit in a processor's cache; TensorFlow would take longer to be called than the sums take. Everything is of one thread.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from scipy.special import expit, softmax

from imdb_conv1d import words
from imdb_conv1d.explainer import Weights
from imdb_conv1d.table_convolution import MAX_BYTES
from imdb_conv1d.tokenizer import PADDING, START, UNKNOWN

TOLERANCE = 1e-5  # between the model's logits and those computed here
UNLIKELY = "qxzqjxkqz"  # no word of any vocabulary


class KeptTables:
    """The network of a loaded ``TextClassifier`` as a function of texts.

    Args:
        weights: of its network.
        codes: its vocabulary.
        maxlen: the number of last words that it takes.
        tokens: what it splits texts into.
    """

    def __init__(self, weights: Weights, codes: Mapping[str, int], maxlen: int, tokens: str) -> None:
        self._codes, self._maxlen, self._tokens = codes, maxlen, tokens
        # [place, id, filter]: what a word adds to a filter at each place of a window.
        self._tables = [(weights.embedding @ kernel).astype(np.float32) for kernel in weights.kernel]
        self._bias = weights.bias.astype(np.float32)
        self._hidden, self._hidden_bias, self._output, self._output_bias = (
            array.astype(np.float32)
            for array in (weights.hidden, weights.hidden_bias, weights.output, weights.output_bias)
        )

    @classmethod
    def of(cls, model: Any, outputs: int, maxlen: int, tokens: str) -> "KeptTables | None":
        """Keep the tables of a loaded model.

        None if its network is another one, its tables would be large, or its own logits of some texts are others.

        Args:
            outputs: the number of logits that it should have.
            maxlen: 0 if it is unknown.
        """
        weights = _read_weights(model)
        if weights is None or weights.outputs != outputs or maxlen < weights.shortest:
            return None
        codes = _export(model.words.resource_handle)
        if max(codes.values(), default=0) >= len(weights.embedding):
            return None
        found, texts = cls(weights, codes, maxlen, tokens), _make_up(codes, maxlen, tokens)
        own = np.reshape(model.logits(tf.constant(texts)), (len(texts), outputs))
        return found if np.allclose(found.compute_logits(texts), own, rtol=TOLERANCE, atol=TOLERANCE) else None

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        """Predict probabilities as the model does: of code 1, float64 [n], or of each of more classes, [n, classes]."""
        logits = self.compute_logits(texts).astype(np.float64)
        return np.asarray(expit(logits[:, 0]) if logits.shape[1] == 1 else softmax(logits, axis=1))

    def compute_logits(self, texts: Sequence[str]) -> np.ndarray:
        """Compute the logits of texts, float32 [n, outputs]."""
        ids = [self._number(text) for text in texts]
        pooled = np.empty((len(ids), len(self._bias)), np.float32)
        space = np.empty((2, max(map(len, ids), default=0), len(self._bias)), np.float32)
        for row, own in zip(pooled, ids, strict=True):
            self._pool(own, space[0], space[1], out=row)
        pooled = np.maximum(pooled + self._bias, 0)
        # A product by @ would wake the threads of NumPy's library, which processes beside this one need.
        hidden = np.maximum(np.einsum("ni,ij->nj", pooled, self._hidden) + self._hidden_bias, 0)
        return np.einsum("ni,ij->nj", hidden, self._output) + self._output_bias

    def _number(self, text: str) -> np.ndarray:
        """Number a text's last words, with so much padding in front as makes windows that differ."""
        find, width = self._codes.get, len(self._tables)
        ids = [find(word, UNKNOWN) for word in words.split_words(text, self._tokens)[-self._maxlen :]]
        if len(ids) < self._maxlen:
            ids = [*[PADDING] * min(width, self._maxlen - 1 - len(ids)), START, *ids]
        return np.array(ids, np.intp)

    def _pool(self, ids: np.ndarray, sums: np.ndarray, more: np.ndarray, out: np.ndarray) -> None:
        """Find the largest sum of each filter over all windows; ``sums`` and ``more`` are overwritten."""
        first, *others = self._tables
        windows = len(ids) - len(others)
        sums, more = sums[:windows], more[:windows]
        first.take(ids[:windows], axis=0, out=sums, mode="clip")  # to check an id, take would copy what it writes
        for place, table in enumerate(others, start=1):
            table.take(ids[place : place + windows], axis=0, out=more, mode="clip")
            np.add(sums, more, out=sums)
        sums.max(axis=0, out=out)


def _read_weights(model: Any) -> Weights | None:
    """Read the weights of a loaded model; None of another network, and of one whose tables would be large."""
    shapes = [tuple(weight.shape) for weight in getattr(model, "weights", [])]
    is_plain = hasattr(model, "words") and hasattr(model, "logits") and getattr(model, "ngrams", None) is None
    if not is_plain or [len(shape) for shape in shapes[:2]] != [2, 3]:
        return None
    (size, _), (width, _, filters) = shapes[:2]
    if 4 * width * size * filters > MAX_BYTES:
        return None
    try:
        return Weights.of([np.asarray(weight) for weight in model.weights])
    except ValueError:
        return None


def _export(table: tf.Tensor) -> dict[str, int]:
    """Export the vocabulary of a table; a word that is not UTF-8 is found in no text."""
    found = tf.raw_ops.LookupTableExportV2(table_handle=table, Tkeys=tf.string, Tvalues=tf.int64)
    keys, values = (tensor.numpy().tolist() for tensor in found)
    return {key.decode("utf-8", "surrogateescape"): value for key, value in zip(keys, values, strict=True)}


def _make_up(codes: Mapping[str, int], maxlen: int, tokens: str) -> list[str]:
    """Make up texts to compare logits of: without a token, short ones, full ones and longer ones; some are unknown."""
    chance, known = np.random.default_rng(0), sorted(filter(str.isalnum, codes)) or ["a"]
    sizes = sorted({0, 1, 2, 3, maxlen // 2, maxlen - 1, maxlen, 2 * maxlen})
    joined = [(" " if tokens == "words" else "").join(chance.choice(known, size)) for size in sizes]
    return [*joined, *(f"{text} {UNLIKELY}" for text in joined[:-1])]
