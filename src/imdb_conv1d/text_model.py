"""The network with its words in front: text in, probability out, in TensorFlow alone.

Saved as a SavedModel it needs neither this package nor Keras to be loaded, and holds no pickle.
"""

from pathlib import Path

import keras
import tensorflow as tf

from imdb_conv1d import tokenizer

CHUNK = 128  # texts scored at once: memory stays the same for any number of them


class TextClassifier(tf.Module):
    """``classifier(texts)``: string [n] to the probability of a positive review, float64 [n].

    ``classifier.logits(texts)`` gives the log of the odds, float32 [n], from which a loss is exact however sure the
    network is: a float32 probability is 1 from a logit of 17 on.
    """

    def __init__(self, network: keras.Model, vocabulary: Path, maxlen: int) -> None:
        """``network`` takes ids [n, maxlen] and ends with a sigmoid.

        ``vocabulary`` is a file with the word of each id; it is saved along.
        """
        super().__init__(name="text_classifier")
        self.words = tokenizer.make_lookup(vocabulary)
        self.weights = [variable.value for variable in network.trainable_variables]
        self._maxlen = maxlen
        self._network = _Untracked(keras.Model(network.inputs, network.layers[-2].output))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])  # type: ignore[untyped-decorator]
    def logits(self, texts: tf.Tensor) -> tf.Tensor:
        """Score in pieces of ``CHUNK``, since a piece holds [CHUNK, maxlen, filters] numbers at its widest."""
        pieces = tf.TensorArray(tf.float32, size=0, dynamic_size=True, infer_shape=False, element_shape=[None])
        for start in tf.range(0, tf.size(texts), CHUNK):
            tf.autograph.experimental.set_loop_options(parallel_iterations=1)
            words = tokenizer.tokenize(texts[start : start + CHUNK])
            ids = tokenizer.to_ids(words, self.words, self._maxlen)
            pieces = pieces.write(pieces.size(), self._network.call(ids))
        return pieces.concat()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])  # type: ignore[untyped-decorator]
    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        """Probabilities in float64, which tells 1 from nearly 1 up to a logit of 36."""
        return tf.sigmoid(tf.cast(self.logits(texts), tf.float64))


class _Untracked:
    """Keeps a network out of what is saved with a module: its variables and its operations are all that is needed."""

    def __init__(self, network: keras.Model) -> None:
        self._network = network

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        return self._network(ids, training=False)[:, 0]
