"""Batches of reviews of similar length, each cut to its longest, in an order that depends on seed and epoch alone.

A cut batch keeps at least ``kernel_size`` positions of padding wherever the full length has as many. So the convolution
sees every window of the full length, padding included; only windows of padding alone occur less often. The maximum over
the windows is the same.
"""

import math
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np
import tensorflow as tf

from imdb_conv1d.ids import EncodedPart
from imdb_conv1d.tokenizer import PADDING
from tracked.training.reproducibility import without_autotune

Batch: TypeAlias = tuple[Any, ...]  # ids, labels and, with class weights, the rows' weights
VALIDATION_BATCH = 256  # larger than a training batch, as it needs no gradient; does not change the result
POOL = 50  # batches whose reviews are sorted by length together
MULTIPLE = 8  # cut lengths are multiples of 8: fewer lengths for which oneDNN prepares a convolution
MAX_CACHED = 1 << 26  # bytes
MAX_VALUES = 1 << 26  # bytes of what a lookup gives for a validation batch
ALIGNMENT = 64  # bytes: TensorFlow ends the process over shared memory that starts elsewhere


class Lookup(Protocol):
    """What gives a second input of the network.

    Args:
        width: float32 values of a position.
    """

    width: int

    def __call__(self, rows: tf.Tensor, at: tf.Tensor, is_text: tf.Tensor) -> tf.Tensor:
        """Look up the values of a batch: float32 [batch, length, …].

        Args:
            rows: the texts' numbers, [batch].
            at: the places of their ids in the part's values, [batch, length].
            is_text: whether a position is one of the text's, [batch, length].
        """


def make_training_batches(
    part: EncodedPart,
    labels: np.ndarray,
    batch_size: int,
    kernel_size: int,
    seed: int,
    epoch: tf.Variable,
    class_weights: np.ndarray | None = None,
    lookup: Lookup | None = None,
) -> tf.data.Dataset:
    """Make the batches of one epoch: the value of ``epoch`` when the first batch is taken.

    An epoch's order is a stateless function of (seed, epoch), so any epoch can be repeated alone. (With a seed, Keras
    shuffles every epoch into the same order.)

    Args:
        labels: of each row, [n]: float32, 0 or 1, of two classes; int32 codes of more.
        epoch: int64, counted from 1.
        class_weights: a row's weight in the loss by its label, [classes]. Only the training loss is weighted: that of
            the validation part stays a mean of its rows.
        lookup: gives a second input of the network.

    Returns:
        int32 [batch, length], or a pair of them and the second input; the labels [batch] as given and, with
        ``class_weights``, float32 [batch].
    """
    lengths = tf.constant(part.lengths, tf.int64)
    once = tf.data.Dataset.from_tensors(0)
    orders = once.map(lambda _: _order_rows(lengths, batch_size, seed, epoch.read_value()))
    rows = orders.flat_map(lambda order: tf.data.Dataset.from_tensor_slices(order).batch(batch_size))
    cut = _make_cutter(part, labels, kernel_size, class_weights, lookup)
    batches = rows.map(cut, num_parallel_calls=1).prefetch(2 if lookup else 8)
    count = math.ceil(len(part) / batch_size)
    return batches.apply(tf.data.experimental.assert_cardinality(count)).with_options(_make_options())


def make_validation_batches(
    part: EncodedPart, labels: np.ndarray, kernel_size: int, lookup: Lookup | None = None
) -> tf.data.Dataset:
    """Make batches of all reviews, sorted by length and cut likewise; a mean does not depend on the order.

    They are kept in memory after the first epoch if they take no more than ``MAX_CACHED`` bytes.
    """
    order = np.argsort(part.lengths, kind="stable")
    size = bound_rows(VALIDATION_BATCH, int(part.lengths.max()), lookup.width) if lookup else VALIDATION_BATCH
    rows = tf.data.Dataset.from_tensor_slices(order).batch(size)
    batches = rows.map(_make_cutter(part, labels, kernel_size, lookup=lookup))
    if not lookup and 4 * len(part) * part.maxlen <= MAX_CACHED:  # int32, none longer than maxlen
        batches = batches.cache()
    return batches.prefetch(2).with_options(_make_options())


def bound_rows(most: int, length: int, width: int) -> int:
    """Bound the texts in one batch, so that ``width`` float32 values a position take ``MAX_VALUES`` bytes or less."""
    return max(1, min(most, MAX_VALUES // (4 * length * width)))


def balance_classes(labels: np.ndarray, classes: int) -> np.ndarray:
    """Compute each class's weight, float32 [classes]: inverse to its frequency, and 1 on average over the rows.

    A class without rows is not counted.
    """
    counts = np.bincount(labels.astype(np.int64), minlength=classes)
    return (len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))).astype(np.float32)


def _make_options() -> tf.data.Options:
    """Options without tf.data's optimizations, one of which copies the ids."""
    options = without_autotune()
    options.experimental_optimization.apply_default_optimizations = False
    return options


def share(values: np.ndarray) -> tf.Tensor:
    """Make a tensor of an array's memory, or of a copy where TensorFlow cannot share it."""
    if values.ctypes.data % ALIGNMENT or not values.flags.writeable:
        return tf.constant(values)
    with tf.device("CPU"):
        return tf.experimental.dlpack.from_dlpack(values.__dlpack__())


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
    part: EncodedPart,
    labels: np.ndarray,
    kernel_size: int,
    class_weights: np.ndarray | None = None,
    lookup: Lookup | None = None,
) -> Callable[[tf.Tensor], Batch]:
    """Make the function from row numbers to a cut batch."""
    values, all_labels = share(part.values), tf.constant(labels)
    starts, lengths = tf.constant(part.starts, tf.int64), tf.constant(part.lengths, tf.int64)
    weights = None if class_weights is None else tf.constant(class_weights, tf.float32)

    def cut(rows: tf.Tensor) -> Batch:
        present = tf.gather(lengths, rows)
        longest = tf.reduce_max(present)
        length = tf.minimum(-(-(longest + kernel_size) // MULTIPLE) * MULTIPLE, part.maxlen)
        # Each column's place in its text; negative in the padding before it.
        places = tf.range(length) - (length - present)[:, tf.newaxis]
        at = tf.gather(starts, rows)[:, tf.newaxis] + tf.maximum(places, 0)
        ids = tf.where(places < 0, PADDING, tf.cast(tf.gather(values, at), tf.int32))
        inputs = ids if lookup is None else (ids, lookup(rows, at, places >= 0))
        batch = inputs, tf.gather(all_labels, rows)
        return batch if weights is None else (*batch, tf.gather(weights, tf.cast(batch[1], tf.int32)))

    return cut
