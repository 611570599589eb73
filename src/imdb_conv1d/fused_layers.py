"""The same mathematics in less time: convolution, ReLU and global max pool as one layer, with a gradient of its own.

With the windows X[i] of a batch's dropped-out embeddings (i counts the positions of all its reviews), kernel W and bias
β, the three layers of the article compute, for a review b and a filter f,

    y[b, f] = max over i in b of relu(X[i]·W[f] + β[f]) = relu(max over i in b of X[i]·W[f] + β[f]),

because adding a constant and ReLU keep the order, in floating point too: equal products give equal values. The
maximum is taken at one position p(b, f). With ȳ = ∂loss/∂y where y > 0, else 0, and A the matrix with one row a
position and one column a filter that is 0 but for A[p(b, f), f] = ȳ[b, f],

    ∂loss/∂W = Xᵀ A,     ∂loss/∂X = A Wᵀ,     ∂loss/∂β[f] = Σ over b of ȳ[b, f].

A has one entry a review and filter where the gradient of the separate layers has one a position and filter: 200 times
as many. So both products are sparse, and the gradient costs less than the forward pass. Here A is spelled out for the
``kernel_size`` words of a window, so that X is the embeddings themselves and windows need not be copied.

Where several positions share the maximum, TensorFlow divides the gradient among them, and here the first one gets it
all. If their windows hold the same words with the same dropout, the gradients of W, β and the embeddings' table are the
same either way. But Adam takes a word's second moment from the squares of its rows (below), and of k rows of g/k
these add up to a k-th of what one row of g has: its steps differ. Two windows of the same words have the same dropout
with a probability of .68 ** (embedding_dims * kernel_size), as each of their numbers is kept in both with .8 ** 2 or
dropped in both with .2 ** 2. On made-up texts of 2 to 59 words, of which there are 11, with a learning rate of .001,
the maxima that equal windows share (in 100 steps, of 200,000), and the largest difference from embeddings that the
plain layers train (after 20 steps):

    embedding_dims * kernel_size    shared maxima    difference
                           2 * 1         64 %              8e-3
                           8 * 1         14 %              2e-3
                          16 * 1         0.8 %             1e-3
                          21 * 1         0.1 %             7e-4
                           8 * 3         0.01 %            2e-6
                          32 * 1         one               2e-8
                          50 * 1         none              2e-8
                 16 * 3 to 50 * 3        none              2e-8

So below ``MIN_FUSED_WIDTH`` the plain layers train. From there on, a window shares its maximum with one of 400 equal
ones with a probability of less than 1e-8. What is left is rounding: windows whose values are the same to the last
bit (2 of four million maxima), or so close that another order of adding up takes the other one. Both are subgradients
then, but Adam can make a whole step's difference of it: at 100 * 3, one such maximum in 20 steps led to 4e-4. Any two
ways of adding up part like this, sooner or later.

In Adam's step likewise, the rows of the embeddings' gradient are summed by one sparse product, with the matrix of which
word stands where. On a GPU use the plain layers, which are fast there.
"""

from typing import Any

import keras
import tensorflow as tf

ops = tf.raw_ops
MIN_FUSED_WIDTH = 64  # embedding_dims * kernel_size
KERAS_PARTS = ("_get_variable_index", "_momentums", "_velocities")


def _sparse(rows: tf.Tensor, columns: tf.Tensor, values: tf.Tensor, shape: tuple[Any, Any]) -> tf.Tensor:
    """A matrix by its entries, which must come sorted by row and column, none twice."""
    places = tf.stack([tf.reshape(rows, [-1]), tf.reshape(columns, [-1])], axis=1)
    size = tf.stack([tf.cast(length, tf.int64) for length in shape])
    return ops.SparseTensorToCSRSparseMatrix(indices=places, values=tf.reshape(values, [-1]), dense_shape=size)


def _transposed(matrix: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    # Not SparseMatrixMatMul(transpose_a=True): its threads add in an order that varies, and so do the last bits.
    return ops.SparseMatrixTranspose(input=matrix, type=dtype)


@tf.custom_gradient  # type: ignore[untyped-decorator]
def convolve_and_pool(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, Any]:
    """The largest value of each filter over a review, after ReLU, and its gradient.

    Args:
        x: [batch, length, channels], length at least kernel_size.
        kernel: [kernel_size, channels, filters].
        bias: [filters].

    Returns:
        [batch, filters].
    """
    products = tf.nn.conv1d(x, kernel, stride=1, padding="VALID")
    places = tf.argmax(products, axis=1)
    pooled = tf.nn.relu(tf.reduce_max(products, axis=1) + bias)

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        batch, length, channels = tf.unstack(tf.shape(x, tf.int64))
        width, _, filters = kernel.shape
        upstream = tf.where(pooled > 0, upstream, 0)
        # The entries of Aᵀ, sorted: one row a filter and word of its window, in it one entry a review.
        first = tf.range(batch) * length + tf.transpose(places)
        words = tf.range(width, dtype=tf.int64)[:, tf.newaxis]
        columns = first[:, tf.newaxis] + words
        rows = tf.range(filters, dtype=tf.int64)[:, tf.newaxis, tf.newaxis] * width + words
        entries = tf.broadcast_to(tf.transpose(upstream)[:, tf.newaxis], tf.shape(columns))
        by_filter = _sparse(
            tf.broadcast_to(rows, tf.shape(columns)), columns, entries, (filters * width, batch * length)
        )
        by_position = _transposed(by_filter, x.dtype)
        to_kernel = ops.SparseMatrixMatMul(a=by_filter, b=tf.reshape(x, (-1, channels)))
        weights = tf.reshape(tf.transpose(tf.reshape(kernel, (-1, filters))), (filters * width, -1))
        to_x = ops.SparseMatrixMatMul(a=by_position, b=weights)
        return (
            tf.reshape(to_x, tf.shape(x)),
            tf.reshape(tf.transpose(tf.reshape(to_kernel, (filters, -1))), kernel.shape),
            tf.reduce_sum(upstream, axis=0),
        )

    return pooled, gradient


class FusedConvolution(keras.layers.Layer):
    """Computes what a ``keras.layers.Conv1D`` with ReLU and a ``GlobalMaxPooling1D`` do, with the former's weights."""

    def __init__(self, convolution: keras.layers.Conv1D) -> None:
        super().__init__(dtype=convolution.dtype_policy)
        self.convolution = convolution

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Float [batch, length, channels] to [batch, filters]."""
        kernel, bias = self.convolution.kernel, self.convolution.bias
        return convolve_and_pool(x, tf.convert_to_tensor(kernel), tf.convert_to_tensor(bias))


class FusedAdam(keras.optimizers.Adam):
    """Adam, with the same state and the same steps as Keras's, in fewer operations.

    The gradient of an embedding comes as a row a position, of which many may be for the same word. From these, Keras
    takes a word's first moment from the sum of its rows and its second from the sum of their squares, not from the
    square of their sum. Other implementations do not, and here a training is to be Keras's.

    Where Keras keeps its moments elsewhere (``KERAS_PARTS`` are private to it), Keras's own step is taken.
    """

    def update_step(
        self, gradient: tf.Tensor | tf.IndexedSlices, variable: tf.Variable, learning_rate: tf.Tensor
    ) -> None:
        """Move a variable and its two moments."""
        if not all(hasattr(self, name) for name in KERAS_PARTS):
            super().update_step(gradient, variable, learning_rate)
            return
        index, dtype = self._get_variable_index(variable), variable.dtype
        first, second = self._momentums[index].value, self._velocities[index].value
        rate, step = tf.cast(learning_rate, dtype), tf.cast(self.iterations + 1, dtype)
        power_1, power_2 = (tf.pow(tf.cast(beta, dtype), step) for beta in (self.beta_1, self.beta_2))
        if isinstance(gradient, tf.IndexedSlices):
            total, squares = _sums_by_row(gradient, variable.shape[0])
            first.assign_add((total - first) * (1 - self.beta_1))
            second.assign_add((squares - second) * (1 - self.beta_2))
            rate *= tf.sqrt(1 - power_2) / (1 - power_1)
            variable.assign_sub(first * rate / (tf.sqrt(second) + self.epsilon))
            return
        ops.ResourceApplyAdam(
            var=variable.handle,
            m=first.handle,
            v=second.handle,
            beta1_power=power_1,
            beta2_power=power_2,
            lr=rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


def _sums_by_row(slices: tf.IndexedSlices, rows: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Sums of the slices, and of their squares, for each row of the table that they belong to."""
    number = tf.size(slices.indices, tf.int64)
    ones = tf.ones([number], slices.dtype)
    by_slice = _sparse(tf.range(number), tf.cast(slices.indices, tf.int64), ones, (number, rows))
    both = tf.concat([slices.values, tf.square(slices.values)], axis=1)
    return tf.split(ops.SparseMatrixMatMul(a=_transposed(by_slice, slices.dtype), b=both), 2, axis=1)
