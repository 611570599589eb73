"""Take steps of a training, each at a learning rate of its own."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from tracked.console.errors import RunFailed
from tracked.training import schedules


def sweep(
    model: keras.Model, batches: Callable[[tf.Variable], tf.data.Dataset], rates: Sequence[float]
) -> Iterator[float]:
    """Train a compiled network for one step at each rate; yield each batch's loss before its step.

    The batches are those of epoch 1, then those of epoch 2 and so on.

    Args:
        batches: makes the batches of the epoch in the variable, counted from 1.

    Raises:
        RunFailed: if the optimizer's learning rate is a schedule of Keras, which cannot be set.
    """
    model.steps_per_execution = 1  # several steps in one call would share a rate
    for rate, batch in zip(rates, _take_epochs(batches), strict=False):
        try:
            schedules.set_rate(model.optimizer, rate)
        except TypeError:
            advice = "build it with the number parameters.learning_rate"
            raise RunFailed(f"the optimizer's learning rate is a schedule, which cannot be set; {advice}") from None
        inputs, targets, weights = keras.utils.unpack_x_y_sample_weight(batch)
        model.reset_metrics()
        yield float(model.train_on_batch(inputs, targets, weights, return_dict=True)["loss"])


def _take_epochs(batches: Callable[[tf.Variable], tf.data.Dataset]) -> Iterator[Any]:
    """Take the batches of one epoch after the other; ends at an epoch without any."""
    with tf.device("CPU"):  # as the batches
        number = tf.Variable(0, dtype=tf.int64)
    data, batch = batches(number), None
    while True:
        number.assign_add(1)
        batch = None
        for batch in data:
            yield batch
        if batch is None:
            return
