"""The fused layers for short texts, where dense products are faster than sparse ones, and an Adam with fewer passes.

They serve networks of more than two classes: those of two keep the order of summation, and so the bits, of
``fused_layers``, whose notation is used here. In a text of 13 words, A has an entry in every eleventh row of a column.
There two dense products Xᵀ A and A Wᵀ take half the time of the sparse ones with all that prepares them; with more
positions they take more.

Where several positions share the maximum, the gradient is divided among them, as TensorFlow does. So unlike
``FusedConvolution``, this layer follows the plain ones at any width.
"""

from typing import Any

import keras
import tensorflow as tf

from imdb_conv1d.fused_layers import FusedAdam, has_keras_parts

MAX_SHORT = 32  # maxlen up to which the dense products are used


@tf.custom_gradient  # type: ignore[untyped-decorator]
def convolve_and_pool(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, Any]:
    """Compute the maximum of each filter over a text, after ReLU, with its gradient.

    Args and result as of ``fused_layers.convolve_and_pool``.
    """
    width, channels, filters = kernel.shape
    batch, length = tf.shape(x)[0], tf.shape(x)[1]
    number = length - width + 1
    windows = tf.concat([x[:, first : first + number] for first in range(width)], axis=-1)
    windows, weights = tf.reshape(windows, (-1, width * channels)), tf.reshape(kernel, (-1, filters))
    products = tf.reshape(tf.matmul(windows, weights), (batch, number, filters))
    top = tf.reduce_max(products, axis=1)
    pooled = tf.nn.relu(top + bias)

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        upstream = tf.where(pooled > 0, upstream, 0)
        is_top = tf.cast(tf.equal(products, top[:, tf.newaxis]), upstream.dtype)
        share = upstream / tf.reduce_sum(is_top, axis=1)
        a = tf.reshape(is_top * share[:, tf.newaxis], (-1, filters))
        to_kernel = tf.matmul(windows, a, transpose_a=True)
        to_windows = tf.reshape(tf.matmul(a, weights, transpose_b=True), (batch, number, width, channels))
        # A word stands in a window at each of its places: add up what it gets there.
        to_x = [tf.pad(to_windows[:, :, place], [[0, 0], [place, width - 1 - place], [0, 0]]) for place in range(width)]
        return tf.add_n(to_x), tf.reshape(to_kernel, kernel.shape), tf.reduce_sum(upstream, axis=0)

    return pooled, gradient


class ShortConvolution(keras.layers.Layer):
    """A ``keras.layers.Conv1D`` with ReLU and a ``GlobalMaxPooling1D`` in one layer, with the Conv1D's weights."""

    def __init__(self, convolution: keras.layers.Conv1D) -> None:
        super().__init__(dtype=convolution.dtype_policy)
        self.convolution = convolution

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Map float [batch, length, channels] to [batch, filters]."""
        kernel, bias = self.convolution.kernel, self.convolution.bias
        return convolve_and_pool(x, tf.convert_to_tensor(kernel), tf.convert_to_tensor(bias))


class ScatteredAdam(FusedAdam):
    """Adam with Keras's state and steps, up to rounding, that passes over the embeddings' table once.

    Keras takes a word's first moment m from the sum of its rows, s, and the second from the sum of their squares, q;
    TensorFlow's operation takes both from one gradient. It gets √q, and m first gets (s - √q)(1 - β₁) / β₁ for the
    words of the batch, which the operation's step m + (√q - m)(1 - β₁) turns into Keras's m + (s - m)(1 - β₁). The
    rounding of m is small beside √q, and so of no weight in a step of m / √v; correcting v could make it negative.
    """

    def update_step(
        self, gradient: tf.Tensor | tf.IndexedSlices, variable: tf.Variable, learning_rate: tf.Tensor
    ) -> None:
        """Update a variable and its two moments."""
        if isinstance(gradient, tf.IndexedSlices) and has_keras_parts(self):
            words, numbers = tf.unique(gradient.indices)
            rows = tf.concat([gradient.values, tf.square(gradient.values)], axis=1)
            total, squares = tf.split(tf.math.unsorted_segment_sum(rows, numbers, tf.size(words)), 2, axis=1)
            root = tf.sqrt(squares)
            first = self._momentums[self._get_variable_index(variable)].value
            ahead = (total - root) * ((1 - self.beta_1) / self.beta_1)
            tf.raw_ops.ResourceScatterAdd(resource=first.handle, indices=words, updates=ahead)
            gradient = tf.scatter_nd(words[:, tf.newaxis], root, variable.shape)
        super().update_step(gradient, variable, learning_rate)
