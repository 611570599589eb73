"""Find the values of n-grams in TensorFlow alone, for the registered model."""

import tensorflow as tf

from imdb_conv1d.id_ngrams import NONE, compute_offset
from imdb_conv1d.ngram_model import NgramModel
from imdb_conv1d.tokenizer import PADDING


class NgramLookup(tf.Module):
    """The values that the linear model of all training texts gives the n-grams of texts.

    Args:
        size: the number of ids.
        longest: words in the longest n-gram.
    """

    def __init__(self, model: NgramModel, size: int, longest: int) -> None:
        super().__init__(name="ngrams")
        self._size, self._longest, self.width = size, longest, longest * model.outputs
        self.keys = tf.Variable(model.keys, trainable=False)
        # The last row is that of places without an n-gram.
        self.ratios = tf.Variable(tf.pad(model.ratios[0], [[0, 1]]), trainable=False)
        self.weights = tf.Variable(tf.pad(model.weights[0], [[0, 1], [0, 0]]), trainable=False)

    def __call__(self, ids: tf.Tensor) -> tf.Tensor:
        """Look up the values of ids, int32 [n, length], padded in front.

        Returns:
            float32 [n, length, longest], or [n, length, longest, outputs] of several outputs.
        """
        numbers = self.number(ids)
        ratios = tf.gather(self.ratios, numbers)
        norms = tf.sqrt(tf.reduce_sum(tf.square(ratios), axis=[1, 2], keepdims=True))
        norms = tf.where(norms > 0, norms, 1.0)
        values = tf.gather(self.weights, numbers) / norms[..., tf.newaxis]
        return values[..., 0] if self.weights.shape[1] == 1 else values

    def number(self, ids: tf.Tensor) -> tf.Tensor:
        """Number the n-grams that begin at each position: int32 [n, length, longest].

        An n-gram that is not chosen, or that the text has before, has the number after the last one.
        """
        keys = self._compute_keys(ids)
        count = tf.size(self.keys)
        places = tf.searchsorted(self.keys, tf.reshape(keys, [-1]))
        found = tf.gather(self.keys, tf.minimum(places, count - 1)) == tf.reshape(keys, [-1])
        numbers = tf.where(found, places, count)
        return tf.reshape(_drop_repeats(tf.reshape(numbers, [tf.shape(ids)[0], -1]), count), tf.shape(keys))

    def _compute_keys(self, ids: tf.Tensor) -> tf.Tensor:
        """Compute the keys of ``id_ngrams``: int64 [n, length, longest], ``NONE`` where there is no n-gram."""
        wide, keys = tf.cast(ids, tf.int64), []
        codes, is_text = wide, ids != PADDING
        for length in range(1, self._longest + 1):
            if length > 1:
                codes = codes[:, :-1] * self._size + wide[:, length - 1 :]
            keys_here = tf.where(is_text[:, : tf.shape(codes)[1]], codes + compute_offset(self._size, length), NONE)
            keys.append(tf.pad(keys_here, [[0, 0], [0, length - 1]], constant_values=NONE))
        return tf.stack(keys, axis=-1)


def _drop_repeats(numbers: tf.Tensor, none: tf.Tensor) -> tf.Tensor:
    """Replace each number that stands in its row before by ``none``: int32 [n, places]."""
    order = tf.argsort(numbers, axis=1, stable=True)
    in_order = tf.gather(numbers, order, batch_dims=1)
    is_repeat = tf.pad(in_order[:, 1:] == in_order[:, :-1], [[0, 0], [1, 0]])
    back = tf.argsort(order, axis=1)  # the inverse permutation
    return tf.where(tf.gather(is_repeat, back, batch_dims=1), none, numbers)
