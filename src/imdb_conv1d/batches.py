"""The batches of a training: every epoch in an order of its own that depends on seed and epoch alone."""

import math

import numpy as np
import tensorflow as tf

VALIDATION_BATCH = 256  # forward only, so larger than a training batch; the size does not change the result


def training_batches(
    ids: np.ndarray, labels: np.ndarray, batch_size: int, seed: int, epochs: range
) -> tuple[tf.data.Dataset, int]:
    """Batches of the epochs one after the other, and the number of batches in each.

    Keras, seeded, shuffles into the same order in every epoch. Here an epoch's order is a stateless function of
    (seed, epoch): it needs no generator's state, so any epoch can be repeated by itself.

    Args:
        ids: int [n, maxlen].
        labels: 0 or 1, [n].
        epochs: the epochs to give out, counted from 1.
    """
    rows = len(ids)
    all_ids, all_labels = tf.constant(ids), tf.constant(labels, tf.float32)

    def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        key = tf.stack([tf.constant(seed, tf.int64), epoch])
        order = tf.random.experimental.stateless_shuffle(tf.range(rows), key)
        return tf.data.Dataset.from_tensor_slices(order).batch(batch_size)

    def gather(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.gather(all_ids, rows), tf.gather(all_labels, rows)

    numbers = tf.data.Dataset.range(epochs.start, epochs.stop)
    batches = numbers.flat_map(one_epoch).map(gather, tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)
    return batches, math.ceil(rows / batch_size)


def validation_batches(ids: np.ndarray, labels: np.ndarray) -> tf.data.Dataset:
    """The reviews in their own order."""
    rows = tf.data.Dataset.from_tensor_slices((ids, labels.astype(np.float32)))
    return rows.batch(VALIDATION_BATCH).cache().prefetch(tf.data.AUTOTUNE)
