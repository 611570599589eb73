"""Batches of reviews of similar length, each cut to its longest, in an order that depends on seed and epoch alone.

A cut batch keeps at least ``kernel_size`` positions of padding wherever the full length has as many. So the convolution
sees every window of the full length, padding included; only windows of padding alone occur less often. The maximum over
the windows is the same.
"""

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from imdb_conv1d.tokenizer import PADDING
from tracked.training.reproducibility import without_autotune

VALIDATION_BATCH = 256  # larger than a training batch, as it needs no gradient; does not change the result
POOL = 50  # batches whose reviews are sorted by length together
MULTIPLE = 8  # cut lengths are multiples of 8: fewer lengths for which oneDNN prepares a convolution


def make_training_batches(
    ids: np.ndarray, labels: np.ndarray, batch_size: int, kernel_size: int, seed: int, epoch: tf.Variable
) -> tf.data.Dataset:
    """Make the batches of one epoch: the value of ``epoch`` when the first batch is taken.

    An epoch's order is a stateless function of (seed, epoch), so any epoch can be repeated alone. (With a seed, Keras
    shuffles every epoch into the same order.)

    Args:
        ids: int [n, maxlen], padded in front.
        labels: 0 or 1, [n].
        epoch: int64, counted from 1.

    Returns:
        Pairs of int32 [batch, length] and float32 [batch].
    """
    lengths = tf.constant(_count_words(ids), tf.int64)
    once = tf.data.Dataset.from_tensors(0)
    orders = once.map(lambda _: _order_rows(lengths, batch_size, seed, epoch.read_value()))
    rows = orders.flat_map(lambda order: tf.data.Dataset.from_tensor_slices(order).batch(batch_size))
    batches = rows.map(_make_cutter(ids, labels, kernel_size), num_parallel_calls=1).prefetch(8)
    count = math.ceil(len(ids) / batch_size)
    return batches.apply(tf.data.experimental.assert_cardinality(count)).with_options(without_autotune())


def make_validation_batches(ids: np.ndarray, labels: np.ndarray, kernel_size: int) -> tf.data.Dataset:
    """Make batches of all reviews, sorted by length and cut likewise; a mean does not depend on the order."""
    order = np.argsort(_count_words(ids), kind="stable")
    batches = (
        tf.data.Dataset.from_tensor_slices(order).batch(VALIDATION_BATCH).map(_make_cutter(ids, labels, kernel_size))
    )
    return batches.cache().prefetch(2).with_options(without_autotune())


def _count_words(ids: np.ndarray) -> np.ndarray:
    return (ids != PADDING).sum(axis=1)


def _order_rows(lengths: tf.Tensor, batch_size: int, seed: int, epoch: tf.Tensor) -> tf.Tensor:
    """Order the rows of an epoch, int32 [n]: full batches of similar length in random order, then the rest."""
    key = tf.stack([tf.constant(seed, tf.int64), epoch])
    rows = tf.random.experimental.stateless_shuffle(tf.range(len(lengths)), key)
    count = len(lengths) // batch_size
    full, rest = tf.split(rows, [count * batch_size, len(lengths) - count * batch_size])
    pool = tf.range(count * batch_size, dtype=tf.int64) // (POOL * batch_size)
    length = tf.gather(lengths, full)
    full = tf.gather(full, tf.argsort(pool * (tf.reduce_max(lengths) + 1) + length, stable=True))
    # Epochs are positive, so no other shuffle has this key.
    full = tf.random.experimental.stateless_shuffle(tf.reshape(full, (count, batch_size)), tf.stack([key[0], -epoch]))
    return tf.concat([tf.reshape(full, [-1]), rest], axis=0)


def _make_cutter(
    ids: np.ndarray, labels: np.ndarray, kernel_size: int
) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Make the function from row numbers to a cut batch."""
    all_ids, all_labels = tf.constant(ids, tf.int32), tf.constant(labels, tf.float32)
    maxlen = ids.shape[1]

    def cut(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        batch = tf.gather(all_ids, rows)
        longest = tf.reduce_max(tf.reduce_sum(tf.cast(batch != PADDING, tf.int32), axis=1))
        length = tf.minimum(-(-(longest + kernel_size) // MULTIPLE) * MULTIPLE, maxlen)
        return batch[:, maxlen - length :], tf.gather(all_labels, rows)

    return cut
