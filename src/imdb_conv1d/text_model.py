"""The network behind its tokenizer: text in, probabilities out, in TensorFlow alone.

Its SavedModel loads without this package and without Keras, and holds no pickle.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import keras
import tensorflow as tf

from imdb_conv1d import tokenizer
from imdb_conv1d.batches import bound_rows
from imdb_conv1d.ngram_lookup import NgramLookup
from imdb_conv1d.table_convolution import TableConvolution

# AutoGraph would take half a second to convert what is called here. So no ``if`` or ``for`` may depend on a tensor.
_of_texts = tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")], autograph=False)

_Map: TypeAlias = Callable[[tf.Tensor], tf.Tensor]
CHUNK = 128  # texts scored at once at most, which bounds the memory
TABLE_CHUNK = 32  # by tables: what stays in a processor's cache is faster


class TextClassifier(tf.Module):
    """A classifier of texts: string [n] to the probability of label 1, float64 [n].

    Of a network with more than two classes, to the probability of each, float64 [n, classes].

    ``logits(texts)`` are the log odds, float32 [n], or each class's logit, float32 [n, classes]. Losses computed from
    them are exact for very certain predictions: a float32 probability is 1 from a logit of 17 on.
    ``logits_of_ids(ids)`` are those of texts whose words are numbered already.
    """

    def __init__(
        self,
        network: keras.Model,
        vocabulary: Path,
        maxlen: int,
        tokens: str = "words",
        ngrams: NgramLookup | None = None,
    ) -> None:
        """Make the classifier.

        Args:
            network: maps ids [n, maxlen] to probabilities; its last layer is a sigmoid of one number or a softmax.
                With ``ngrams``, it takes the values that this gives for the ids, too.
            vocabulary: a file with one word a line, whose line number is its id; saved with the model.
            tokens: what a text is split into, words or characters.
        """
        super().__init__(name="text_classifier")
        self.words = tokenizer.make_lookup(vocabulary)
        self.weights = [variable.value for variable in network.trainable_variables]
        self.ngrams, self._maxlen, self._tokens = ngrams, maxlen, tokens
        self._chunk = bound_rows(CHUNK, maxlen, ngrams.width) if ngrams else CHUNK
        self._classes = int(network.output_shape[-1])  # 1 stands for two classes
        self._network = _Untracked(keras.Model(network.inputs, network.layers[-2].output))
        by_tables = None if ngrams else TableConvolution.find(network, maxlen)
        self._tables = _ByTables(by_tables[0], by_tables[1][:-1]) if by_tables else None
        self.logits_of_ids = tf.function(
            self._compute_of_ids,
            input_signature=[tf.TensorSpec([None, maxlen], tf.int32, name="ids")],
            autograph=False,
        )

    @_of_texts  # type: ignore[untyped-decorator]
    def logits(self, texts: tf.Tensor) -> tf.Tensor:
        """Compute logits in chunks, as the largest tensor of a chunk is [chunk, maxlen, filters].

        Those of many texts are computed from tables, which is faster and equal up to rounding.
        """
        by_tables = self._tables
        if by_tables is None:
            return self._compute(texts, self._number, self._call_network, self._chunk)
        return tf.cond(
            tf.size(texts) >= by_tables.enough,
            lambda: self._compute(texts, self._number, by_tables.begin(), TABLE_CHUNK),
            lambda: self._compute(texts, self._number, self._call_network, self._chunk),
        )

    def _compute_of_ids(self, ids: tf.Tensor) -> tf.Tensor:
        """Compute the logits of ids, int32 [n, maxlen], padded in front; each chunk is full, so that bits stay.

        Texts can be split and their words numbered in less time outside the graph.
        """
        tables, count = self._tables, tf.shape(ids)[0]
        call, chunk = (tables.begin(), TABLE_CHUNK) if tables else (self._call_network, self._chunk)
        ids = tf.pad(ids, [[0, -count % chunk], [0, 0]], constant_values=tokenizer.PADDING)
        return self._compute(ids, lambda piece: piece, call, chunk)[:count]

    def _call_network(self, ids: tf.Tensor) -> tf.Tensor:
        return self._network.call([ids, self.ngrams(ids)] if self.ngrams else ids)

    def _number(self, texts: tf.Tensor) -> tf.Tensor:
        return tokenizer.to_ids(tokenizer.tokenize(texts, self._tokens), self.words, self._maxlen)

    def _compute(self, rows: tf.Tensor, to_ids: _Map, call: _Map, chunk: int) -> tf.Tensor:
        shape = [None] if self._classes == 1 else [None, self._classes]
        chunks = -(-tf.shape(rows)[0] // chunk)
        pieces = tf.TensorArray(tf.float32, size=chunks, infer_shape=False, element_shape=shape)

        def score(number: tf.Tensor, pieces: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            logits = call(to_ids(rows[number * chunk : (number + 1) * chunk]))
            return number + 1, pieces.write(number, logits[:, 0] if self._classes == 1 else logits)

        _, pieces = tf.while_loop(lambda number, _: number < chunks, score, (0, pieces), parallel_iterations=1)
        return pieces.concat()

    @_of_texts  # type: ignore[untyped-decorator]
    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        """Compute probabilities in float64, which is below 1 up to a logit of 36."""
        logits = tf.cast(self.logits(texts), tf.float64)
        return tf.sigmoid(logits) if self._classes == 1 else tf.nn.softmax(logits)


class _Untracked:
    """A wrapper that hides a network from ``tf.Module``, so that only its variables and operations are saved."""

    def __init__(self, network: keras.Model) -> None:
        self._network = network

    def call(self, inputs: tf.Tensor | list[tf.Tensor]) -> tf.Tensor:
        return self._network(inputs, training=False)


class _ByTables:
    """The network's convolution by tables and the layers behind it, hidden likewise."""

    def __init__(self, convolution: TableConvolution, rest: Sequence[keras.Layer]) -> None:
        self._convolution, self._rest = convolution, list(rest)
        self.enough = convolution.enough

    def begin(self) -> _Map:
        """Compute the tables; what is returned maps ids to logits by them."""
        tables = self._convolution.make_tables()

        def call(ids: tf.Tensor) -> tf.Tensor:
            values = self._convolution(ids, tables)
            for layer in self._rest:
                values = layer(values, training=False)
            return values

        return call
