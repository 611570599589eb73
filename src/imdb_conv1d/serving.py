"""The network with its words in front: text in, probability out, in TensorFlow alone.

Saved as a SavedModel it needs neither this package nor Keras to be loaded, and holds no pickle.
"""

from pathlib import Path

import keras
import tensorflow as tf

from imdb_conv1d import text

CHUNK = 128  # texts scored at once: memory stays the same for any number of them


class TextClassifier(tf.Module):
    """``classifier(texts)``: string [n] to the probability of a positive review, float32 [n]."""

    def __init__(self, network: keras.Model, vocabulary: Path, maxlen: int) -> None:
        """``network`` takes ids [n, maxlen]; ``vocabulary`` is a file with the word of each id; it is saved along."""
        super().__init__(name="text_classifier")
        self.words = text.lookup(vocabulary)
        self.weights = [variable.value for variable in network.trainable_variables]
        self._maxlen = maxlen
        self._score = lambda ids: network(ids, training=False)[:, 0]

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[tf.TensorSpec([None], tf.string, name="text")]
    )
    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        """Score in pieces of ``CHUNK``, since a piece holds [CHUNK, maxlen, filters] numbers at its widest."""
        number = tf.size(texts)
        pieces = tf.TensorArray(tf.float32, size=0, dynamic_size=True, infer_shape=False, element_shape=[None])
        for start in tf.range(0, number, CHUNK):
            tf.autograph.experimental.set_loop_options(parallel_iterations=1)
            scores = self._score(text.to_ids(texts[start : start + CHUNK], self.words, self._maxlen))
            pieces = pieces.write(pieces.size(), scores)
        return pieces.concat()
