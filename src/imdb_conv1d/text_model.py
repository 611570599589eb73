"""The network behind its tokenizer: text in, probabilities out, in TensorFlow alone.

Its SavedModel loads without this package and without Keras, and holds no pickle.
"""

from pathlib import Path

import keras
import tensorflow as tf

from imdb_conv1d import tokenizer
from imdb_conv1d.batches import bound_rows
from imdb_conv1d.ngram_lookup import NgramLookup

CHUNK = 128  # texts scored at once at most, which bounds the memory


class TextClassifier(tf.Module):
    """A classifier of texts: string [n] to the probability of label 1, float64 [n].

    Of a network with more than two classes, to the probability of each, float64 [n, classes].

    ``logits(texts)`` are the log odds, float32 [n], or each class's logit, float32 [n, classes]. Losses computed from
    them are exact for very certain predictions: a float32 probability is 1 from a logit of 17 on.
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

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])  # type: ignore[untyped-decorator]
    def logits(self, texts: tf.Tensor) -> tf.Tensor:
        """Compute logits in chunks, as the largest tensor of a chunk is [chunk, maxlen, filters]."""
        shape = [None] if self._classes == 1 else [None, self._classes]
        pieces = tf.TensorArray(tf.float32, size=0, dynamic_size=True, infer_shape=False, element_shape=shape)
        for start in tf.range(0, tf.size(texts), self._chunk):
            tf.autograph.experimental.set_loop_options(parallel_iterations=1)
            words = tokenizer.tokenize(texts[start : start + self._chunk], self._tokens)
            ids = tokenizer.to_ids(words, self.words, self._maxlen)
            logits = self._network.call([ids, self.ngrams(ids)] if self.ngrams else ids)
            pieces = pieces.write(pieces.size(), logits[:, 0] if self._classes == 1 else logits)
        return pieces.concat()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])  # type: ignore[untyped-decorator]
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
