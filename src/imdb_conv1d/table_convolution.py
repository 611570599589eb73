"""Compute the convolution of many texts from tables, in TensorFlow alone, for the registered model.

Without dropout, an embedding and a convolution over it are linear up to the bias: what a filter gives at a position is
the sum of a number for each word of its window, which depends on the word and on its place in the window. These
numbers, [place, id, filter], are computed once for many texts; then a window costs ``kernel_size`` additions a filter
in the place of ``kernel_size * embedding_dims`` multiplications, and windows of padding alone are left out. The sums
are rounded in another order than the convolution's.
"""

import keras
import tensorflow as tf

from imdb_conv1d.tokenizer import PADDING

MAX_BYTES = 1 << 28  # of the tables
PAYS = 2  # times the cost of the tables that the convolutions of the texts must have


class TableConvolution:
    """An embedding, a convolution with ReLU and a maximum over all positions, of ids that are padded in front."""

    def __init__(self, embedding: keras.layers.Embedding, convolution: keras.layers.Conv1D, maxlen: int) -> None:
        self._embedding, self._convolution, self._maxlen = embedding, convolution, maxlen
        self._size = int(embedding.input_dim)
        self._width, self._dims, self._filters = (int(size) for size in convolution.kernel.shape)

    @classmethod
    def find(cls, network: keras.Model, maxlen: int) -> "tuple[TableConvolution, list[keras.Layer]] | None":
        """Find the convolution that a network of ids begins with, and the layers behind it; None if it has none.

        A network whose tables would be large has none either.
        """
        layers = [layer for layer in network.layers if not isinstance(layer, keras.layers.InputLayer)]
        kinds = keras.layers.Embedding, keras.layers.Dropout, keras.layers.Conv1D, keras.layers.GlobalMaxPooling1D
        if len(layers) < len(kinds) or not all(map(isinstance, layers, kinds)):
            return None
        found = cls(layers[0], layers[2], maxlen)
        return (found, layers[len(kinds) :]) if found.table_bytes <= MAX_BYTES else None

    @property
    def table_bytes(self) -> int:
        """The size of the tables in memory."""
        return 4 * self._width * self._size * self._filters

    @property
    def enough(self) -> int:
        """The number of texts from which tables are faster than convolutions."""
        return max(1, PAYS * self._size // self._maxlen)

    def make_tables(self) -> tf.Tensor:
        """Compute the tables: float32 [width * ids, filters]; row ``place * ids + id`` is of an id at a place."""
        embedding = tf.convert_to_tensor(self._embedding.embeddings)
        kernel = tf.convert_to_tensor(self._convolution.kernel)
        return tf.concat([tf.matmul(embedding, kernel[place]) for place in range(self._width)], axis=0)

    def __call__(self, ids: tf.Tensor, tables: tf.Tensor) -> tf.Tensor:
        """Compute the maxima of ids, int32 [n, maxlen]: float32 [n, filters]."""
        windows, texts = self._list_windows(ids)
        owners = tf.repeat(tf.range(tf.size(texts)), self._width)
        # It sums rows of the tables without copying them.
        sums = tf.raw_ops.SparseSegmentSum(data=tables, indices=tf.reshape(windows, [-1]), segment_ids=owners)
        bias = tf.convert_to_tensor(self._convolution.bias)
        return tf.nn.relu(tf.math.segment_max(sums, texts) + bias)

    def _list_windows(self, ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """List the windows that differ: rows of the tables, [windows, width], and the number of each one's text.

        One window of padding alone stays, where the full length has any.
        """
        count = self._maxlen - self._width + 1
        lengths = tf.reduce_sum(tf.cast(ids != PADDING, tf.int32), axis=1)
        first = self._maxlen - tf.minimum(lengths + self._width, self._maxlen)
        differs = tf.range(count)[tf.newaxis] >= first[:, tf.newaxis]
        rows = [ids[:, place : place + count] + place * self._size for place in range(self._width)]
        return tf.boolean_mask(tf.stack(rows, axis=-1), differs), tf.where(differs)[:, 0]
