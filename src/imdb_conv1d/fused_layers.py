"""Dropout, convolution, ReLU and global max pool fused into one layer with its own, faster gradient.

For the windows X[i] of a batch's embeddings after dropout (i counts the positions of all its reviews), kernel W and
bias β, the article's three layers compute, for a review b and a filter f,

    y[b, f] = max over i in b of relu(X[i]·W[f] + β[f]) = relu(max over i in b of X[i]·W[f] + β[f]),

because adding a constant and ReLU preserve order, in floating point too: equal products give equal values. The maximum
is at one position p(b, f). Let ȳ = ∂loss/∂y where y > 0, else 0, and let A be the matrix with a row for each position
and a column for each filter that is 0 except for A[p(b, f), f] = ȳ[b, f]. Then

    ∂loss/∂W = Xᵀ A,     ∂loss/∂X = A Wᵀ,     ∂loss/∂β[f] = Σ over b of ȳ[b, f].

A has one entry for each review and filter. The separate layers' gradient has one for each position and filter, 200
times as many. So both products are sparse, and the gradient costs less than the forward pass. The code expands A over
the ``kernel_size`` words of a window, so that X is the embeddings themselves and no window is copied.

A batch is computed in ``PARTS``, side by side where TensorFlow has more than one thread, each operation in one thread.
So the bits do not depend on the number of threads. Dropout draws 16 random bits for a number, where Keras draws 32 and
uses 23: it drops the same share, to a 65,536th, but other numbers than Keras's layer with the same seed.

Where several positions share the maximum, TensorFlow divides the gradient among them; here the first position gets all
of it. If their windows hold the same words with the same dropout, the gradients of W, β and the embeddings' table are
equal either way. But Adam takes a word's second moment from the squares of its rows (below): k rows of g/k add up to a
k-th of the square of one row of g, so the steps differ. Two windows of the same words have the same dropout with a
probability of .68 ** (embedding_dims * kernel_size), as each number is kept in both with .8 ** 2 or dropped in both
with .2 ** 2. The table is for simulated texts of 2 to 59 words from a vocabulary of 11, with a learning rate of .001:
the maxima shared by equal windows (in 100 steps, of 200,000), and the largest difference from embeddings trained by the
plain layers (after 20 steps).

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
windows with a probability below 1e-8. What remains is rounding: different windows with values equal to the last bit (2
of four million maxima), or so close that another order of summation picks the other window. Both choices are
subgradients, but Adam can turn the choice into a difference of a whole step: at 100 * 3, one such maximum in 20 steps
led to 4e-4. Any two orders of summation diverge like this eventually.

Adam's step likewise sums the rows of the embeddings' gradient by one sparse product, with the matrix of words and
positions. On a GPU the plain layers are fast: use them there.
"""

import math
from itertools import pairwise
from typing import Any

import keras
import tensorflow as tf

ops = tf.raw_ops
MIN_FUSED_WIDTH = 64  # embedding_dims * kernel_size
PARTS = 4  # of a batch: what is computed of one stays in a core's cache, and cores work on different ones
BLOCK = 8  # windows
DRAWS = 1 << 16  # values of a random number
KERAS_PARTS = ("_get_variable_index", "_momentums", "_velocities")


def _make_sparse(rows: tf.Tensor, columns: tf.Tensor, values: tf.Tensor, shape: tuple[Any, Any]) -> tf.Tensor:
    """Make a sparse matrix from distinct entries sorted by row and column."""
    indices = tf.stack([tf.reshape(rows, [-1]), tf.reshape(columns, [-1])], axis=1)
    size = tf.stack([tf.cast(length, tf.int64) for length in shape])
    return ops.SparseTensorToCSRSparseMatrix(indices=indices, values=tf.reshape(values, [-1]), dense_shape=size)


def _transpose(matrix: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    # SparseMatrixMatMul(transpose_a=True) would sum in an order that varies between threads: so would the last bits.
    return ops.SparseMatrixTranspose(input=matrix, type=dtype)


def convolve_and_pool(
    x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, rate: float = 0.0, seed: tf.Tensor | None = None
) -> tf.Tensor:
    """Compute the maximum of each filter over a review, after dropout and ReLU, with its gradient.

    Args:
        x: [batch, length, channels], length at least kernel_size.
        kernel: [kernel_size, channels, filters].
        bias: [filters].
        rate: of dropout, to the nearest 65,536th; ``seed``, int32 [2], determines what is dropped. None: nothing is.

    Returns:
        [batch, filters].
    """
    dropped = 0 if seed is None else min(round(rate * DRAWS), DRAWS - 1)
    scale = DRAWS / (DRAWS - dropped)  # of the kernel, which is smaller than what it is multiplied with

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def compute(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, Any]:
        scaled, spans = kernel * scale, _divide(tf.shape(x)[0])

        @tf.function(autograph=False)  # type: ignore[untyped-decorator]  # in a graph traced once for all parts
        def convolve(part: tf.Tensor, number: tf.Tensor) -> list[tf.Tensor]:
            masks = []
            if dropped:
                with tf.name_scope("dropout"):
                    masks = [_draw_mask(tf.shape(part), dropped, seed + tf.stack([number, 0]), x.dtype)]
                    part *= masks[0]
            products = tf.nn.conv1d(part, scaled, stride=1, padding="VALID")
            with tf.name_scope("maxima"):
                top, position = find_maxima(products)
            total = tf.reduce_sum(part) + tf.reduce_sum(scaled)
            # oneDNN's maximum passes over what is not a number; a sum does not.
            return [part, tf.where(tf.math.is_finite(total), top, math.nan), position, *masks]

        parts = []
        for number, (start, end) in enumerate(spans):
            # oneDNN gives a convolution of no rows a wrong shape: a part without rows computes one, and drops it.
            found = convolve(x[start : tf.maximum(end, start + 1)], tf.constant(number))
            parts.append([one[: end - start] for one in found])
        inputs, tops, positions, *masks = zip(*parts, strict=True)
        pooled = tf.nn.relu(tf.concat(tops, axis=0) + bias)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            upstream = tf.where(pooled > 0, upstream, 0)
            to_x, to_kernel = _spread(tf.concat(inputs, axis=0), scaled, tf.concat(positions, axis=0), upstream)
            if dropped:
                pairs = zip(spans, masks[0], strict=True)
                to_x = tf.concat([to_x[start:end] * mask for (start, end), mask in pairs], axis=0)
            return to_x, to_kernel * scale, tf.reduce_sum(upstream, axis=0)

        return pooled, gradient

    return compute(x, kernel, bias)


def _divide(rows: tf.Tensor) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Divide a batch's rows among ``PARTS``: the first row of each, and the one after its last."""
    bounds = [rows * number // PARTS for number in range(PARTS + 1)]
    return list(pairwise(bounds))


def _draw_mask(shape: tf.Tensor, dropped: int, seed: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Draw zeros with a probability of ``dropped`` in ``DRAWS``, else ones: 64 random bits give four."""
    count = tf.reduce_prod(shape)
    drawn = tf.random.stateless_uniform([(count + 3) // 4], seed, None, None, dtype=tf.uint64)
    numbers = tf.reshape(tf.bitcast(drawn, tf.uint16), [-1])[:count]
    return tf.cast(tf.reshape(numbers, shape) >= tf.constant(dropped, tf.uint16), dtype)


def find_maxima(products: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Find the maximum of each filter over a review's windows, and its first place: a block, then the place in it.

    A pass over all products costs as much as a tenth of the convolution, and TensorFlow's argmax as a third of it. So
    one pass gives the maximum of each block of ``BLOCK`` windows, and only these and one block are looked at again.

    Args:
        products: [batch, windows, filters], all of them numbers.

    Returns:
        [batch, filters] and int64 [batch, filters].
    """
    batch, windows, _ = tf.unstack(tf.shape(products))
    filters = products.shape[2]
    number = -(-windows // BLOCK)
    # The first and the last block reach beyond the ends.
    beyond = (number * BLOCK - windows) // 2
    of_blocks = tf.squeeze(tf.nn.max_pool2d(products[:, :, tf.newaxis], [BLOCK, 1], [BLOCK, 1], "SAME"), 2)
    top = tf.reduce_max(of_blocks, axis=1)
    block = _find_first(of_blocks >= top[:, tf.newaxis], tf.range(number)[:, tf.newaxis], number - 1)
    places = (block * BLOCK - beyond)[:, tf.newaxis] + tf.range(BLOCK)[:, tf.newaxis]
    places = tf.clip_by_value(places, 0, windows - 1)
    first = (tf.range(batch) * windows * filters)[:, tf.newaxis, tf.newaxis] + tf.range(filters)
    candidates = tf.gather(tf.reshape(products, [-1]), first + places * filters)
    return top, tf.cast(_find_first(candidates >= top[:, tf.newaxis], places, windows - 1), tf.int64)


def _find_first(is_found: tf.Tensor, places: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
    """Find the least place along axis 1 where something was found, else ``last``; argmax takes three times as long."""
    return tf.reduce_min(tf.where(is_found, places, last), axis=1)


def _spread(x: tf.Tensor, kernel: tf.Tensor, positions: tf.Tensor, upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Compute A Wᵀ, in the form of x, and Xᵀ A, in the form of the kernel."""
    batch, length, channels = tf.unstack(tf.shape(x, tf.int64))
    width, _, filters = kernel.shape
    # The sorted entries of Aᵀ: a row for each filter and word of its window, in it an entry for each review.
    first = tf.range(batch) * length + tf.transpose(positions)
    words = tf.range(width, dtype=tf.int64)[:, tf.newaxis]
    columns = first[:, tf.newaxis] + words
    rows = tf.range(filters, dtype=tf.int64)[:, tf.newaxis, tf.newaxis] * width + words
    entries = tf.broadcast_to(tf.transpose(upstream)[:, tf.newaxis], tf.shape(columns))
    by_filter = _make_sparse(
        tf.broadcast_to(rows, tf.shape(columns)), columns, entries, (filters * width, batch * length)
    )
    by_position = _transpose(by_filter, x.dtype)
    to_kernel = ops.SparseMatrixMatMul(a=by_filter, b=tf.reshape(x, (-1, channels)))
    weights = tf.reshape(tf.transpose(tf.reshape(kernel, (-1, filters))), (filters * width, -1))
    to_x = ops.SparseMatrixMatMul(a=by_position, b=weights)
    to_kernel = tf.reshape(tf.transpose(tf.reshape(to_kernel, (filters, -1))), kernel.shape)
    return tf.reshape(to_x, tf.shape(x)), to_kernel


class FusedConvolution(keras.layers.Layer):
    """A ``keras.layers.Dropout``, a ``Conv1D`` with ReLU and a ``GlobalMaxPooling1D`` in one layer.

    It has the Dropout's random state and the Conv1D's weights.
    """

    def __init__(self, dropout: keras.layers.Dropout, convolution: keras.layers.Conv1D) -> None:
        super().__init__(dtype=convolution.dtype_policy)
        self.dropout, self.convolution = dropout, convolution

    def compute_output_spec(self, x: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """Describe the output, which Keras would else trace twice to find it."""
        return keras.KerasTensor((x.shape[0], self.convolution.filters), self.compute_dtype)

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Map float [batch, length, channels] to [batch, filters]."""
        kernel, bias = (tf.convert_to_tensor(one) for one in (self.convolution.kernel, self.convolution.bias))
        rate = self.dropout.rate if training else 0.0
        seed = tf.cast(self.dropout.seed_generator.next(), tf.int32) if rate else None
        return convolve_and_pool(x, kernel, bias, rate, seed)


def has_keras_parts(adam: keras.optimizers.Adam) -> bool:
    """Check that this version of Keras has the private attributes that the steps here need."""
    return all(hasattr(adam, name) for name in KERAS_PARTS)


class FusedAdam(keras.optimizers.Adam):
    """Adam with Keras's state and steps, in fewer operations.

    The gradient of an embedding has a row for each position, and many rows may belong to one word. Keras takes a word's
    first moment from the sum of its rows and the second from the sum of their squares, not from the square of the sum.
    Other implementations differ; this class follows Keras.

    If Keras has renamed the private attributes ``KERAS_PARTS``, Keras's own step is taken.
    """

    def update_step(
        self, gradient: tf.Tensor | tf.IndexedSlices, variable: tf.Variable, learning_rate: tf.Tensor
    ) -> None:
        """Update a variable and its two moments."""
        if not has_keras_parts(self):
            super().update_step(gradient, variable, learning_rate)
            return
        index, dtype = self._get_variable_index(variable), variable.dtype
        first, second = self._momentums[index].value, self._velocities[index].value
        rate, step = tf.cast(learning_rate, dtype), tf.cast(self.iterations + 1, dtype)
        power_1, power_2 = (tf.pow(tf.cast(beta, dtype), step) for beta in (self.beta_1, self.beta_2))
        if isinstance(gradient, tf.IndexedSlices):
            total, squares = _sum_by_row(gradient, variable.shape[0])
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


def _sum_by_row(slices: tf.IndexedSlices, rows: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Sum the slices, and their squares, for each row of the table."""
    number = tf.size(slices.indices, tf.int64)
    ones = tf.ones([number], slices.dtype)
    by_slice = _make_sparse(tf.range(number), tf.cast(slices.indices, tf.int64), ones, (number, rows))
    by_row = _transpose(by_slice, slices.dtype)
    total, squares = (ops.SparseMatrixMatMul(a=by_row, b=one) for one in (slices.values, tf.square(slices.values)))
    return total, squares
