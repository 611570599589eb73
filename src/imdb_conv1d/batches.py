"""Batches of reviews of like length, each cut to its longest, in an order that depends on seed and epoch alone.

A cut leaves at least ``kernel_size`` positions of padding wherever the full length has as many. So every window of
words that the convolution sees at the full length, padding included, it sees in the cut batch, only some of padding
alone fewer times, and a maximum over them is the same.
"""

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from imdb_conv1d.tokenizer import PADDING
from tracked.training.reproducibility import without_autotune

VALIDATION_BATCH = 256  # forward only, so larger than a training batch; the size does not change the result
POOL = 50  # batches among whose reviews those of like length are put together
MULTIPLE = 8  # of a cut length: fewer lengths, and so fewer convolutions that oneDNN has to prepare


def make_training_batches(
    ids: np.ndarray, labels: np.ndarray, batch_size: int, kernel_size: int, seed: int, epoch: tf.Variable
) -> tf.data.Dataset:
    """The batches of one epoch: of the one that ``epoch`` names when the first of them is taken.

    Keras, seeded, shuffles into the same order in every epoch. Here an epoch's order is a stateless function of
    (seed, epoch): it needs no generator's state, so any epoch can be repeated by itself.

    Args:
        ids: int [n, maxlen], padded in front.
        labels: 0 or 1, [n].
        epoch: int64, counted from 1.

    Returns:
        Pairs of int32 [batch, length] and float32 [batch].
    """
    lengths = tf.constant(_lengths(ids), tf.int64)
    once = tf.data.Dataset.from_tensors(0)
    orders = once.map(lambda _: _order(lengths, batch_size, seed, epoch.read_value()))
    rows = orders.flat_map(lambda order: tf.data.Dataset.from_tensor_slices(order).batch(batch_size))
    batches = rows.map(_cut(ids, labels, kernel_size), num_parallel_calls=1).prefetch(8)
    count = math.ceil(len(ids) / batch_size)
    return batches.apply(tf.data.experimental.assert_cardinality(count)).with_options(without_autotune())


def make_validation_batches(ids: np.ndarray, labels: np.ndarray, kernel_size: int) -> tf.data.Dataset:
    """All reviews by length, cut likewise; a mean over them does not depend on their order."""
    order = np.argsort(_lengths(ids), kind="stable")
    batches = tf.data.Dataset.from_tensor_slices(order).batch(VALIDATION_BATCH).map(_cut(ids, labels, kernel_size))
    return batches.cache().prefetch(2).with_options(without_autotune())


def _lengths(ids: np.ndarray) -> np.ndarray:
    return (ids != PADDING).sum(axis=1)


def _order(lengths: tf.Tensor, batch_size: int, seed: int, epoch: tf.Tensor) -> tf.Tensor:
    """Row numbers of an epoch, int32 [n]: full batches of like length in random order, then what remains."""
    key = tf.stack([tf.constant(seed, tf.int64), epoch])
    rows = tf.random.experimental.stateless_shuffle(tf.range(len(lengths)), key)
    count = len(lengths) // batch_size
    full, rest = tf.split(rows, [count * batch_size, len(lengths) - count * batch_size])
    pool = tf.range(count * batch_size, dtype=tf.int64) // (POOL * batch_size)
    length = tf.gather(lengths, full)
    full = tf.gather(full, tf.argsort(pool * (tf.reduce_max(lengths) + 1) + length, stable=True))
    # Epochs are positive, so this key is no other's.
    full = tf.random.experimental.stateless_shuffle(tf.reshape(full, (count, batch_size)), tf.stack([key[0], -epoch]))
    return tf.concat([tf.reshape(full, [-1]), rest], axis=0)


def _cut(ids: np.ndarray, labels: np.ndarray, kernel_size: int) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Row numbers to a batch."""
    all_ids, all_labels = tf.constant(ids, tf.int32), tf.constant(labels, tf.float32)
    maxlen = ids.shape[1]

    def cut(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        batch = tf.gather(all_ids, rows)
        longest = tf.reduce_max(tf.reduce_sum(tf.cast(batch != PADDING, tf.int32), axis=1))
        length = tf.minimum(-(-(longest + kernel_size) // MULTIPLE) * MULTIPLE, maxlen)
        return batch[:, maxlen - length :], tf.gather(all_labels, rows)

    return cut
