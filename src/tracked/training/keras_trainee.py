"""A compiled Keras network with its data, as the trainer drives it: every epoch can be repeated by itself."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from tracked.training.reproducibility import without_autotune

Arrays: TypeAlias = tuple[np.ndarray, np.ndarray]  # inputs [n, …] and targets [n, …]
Batches: TypeAlias = Callable[[tf.Variable], tf.data.Dataset]  # those of the epoch that the variable names
VALIDATION_BATCH = 256  # forward only; the size changes no result but by rounding


class KerasTrainee:
    """Drive a compiled ``keras.Model``.

    What an epoch learns follows from the state before it and from its number: its order is a function of (seed, epoch),
    and the state holds the weights, the layers' random states and the optimizer's variables. What draws from Keras's
    global random state or from TensorFlow's is not in it: such a call needs a ``keras.random.SeedGenerator`` of its
    layer.

    Args:
        model: compiled; its loss is called loss, and its metrics as the experiment declares them.
        train: inputs and targets, shuffled here in an order that depends on ``seed`` and the epoch alone; or a function
            that makes a ``tf.data.Dataset`` of batches likewise, from a variable that names the epoch, counted from 1.
        validation: inputs and targets, or a dataset of batches.
        seed: of the order of arrays; ``batch_size`` their rows in a step.
        tags: are set at the run.
        note: a line for people, or empty.

    Raises:
        ValueError: for arrays without a seed.
    """

    def __init__(
        self,
        model: keras.Model,
        train: Arrays | Batches,
        validation: Arrays | tf.data.Dataset,
        seed: int | None = None,
        batch_size: int = 32,
        tags: Mapping[str, str] | None = None,
        note: str = "",
    ) -> None:
        self.model, self.tags, self.note = model, tags or {}, note
        if not callable(train) and seed is None:
            raise ValueError("arrays are shuffled by a seed, and none is given")
        self.batches = train if callable(train) else shuffled(*train, batch_size=batch_size, seed=seed or 0)
        self.validation = validation if isinstance(validation, tf.data.Dataset) else _in_order(*validation)

    @property
    def learning_rate(self) -> float:
        """The optimizer's, as the number that was asked for: Keras keeps it in float32."""
        return float(str(np.float32(self.model.optimizer.learning_rate)))

    @property
    def weights(self) -> int:
        """Number of numbers that are learned."""
        return int(self.model.count_params())

    def fit(self, callbacks: Sequence[keras.callbacks.Callback], initial_epoch: int, epochs: int) -> None:
        """Train from the epoch after ``initial_epoch`` on."""
        with tf.device("CPU"):  # where the batches are made
            number = tf.Variable(0, dtype=tf.int64)
        self.model.fit(
            self.batches(number),
            initial_epoch=initial_epoch,
            epochs=epochs,
            validation_data=self.validation,
            shuffle=False,  # the batches are shuffled already
            verbose=0,
            callbacks=[EpochNumber(number), *callbacks],
        )

    def save(self, path: Path) -> None:
        """Write the model with the optimizer's state, as ``keras.Model.save`` does."""
        self.model.save(path)

    def state(self) -> list[np.ndarray]:
        """Give all that a step changes: weights, random states of layers such as dropout, the optimizer's variables."""
        return [np.asarray(variable) for variable in self._variables()]

    def restore(self, state: Sequence[np.ndarray]) -> None:
        """Put a state back.

        Raises:
            ValueError: if it is another network's; nothing is changed then.
        """
        variables = self._variables()
        there = [(tuple(variable.shape), np.dtype(variable.dtype)) for variable in variables]
        former = [(array.shape, array.dtype) for array in state]
        if there != former:
            pairs = ((a, b) for a, b in zip(former, there, strict=False) if a != b)
            first = next((f"{a[0]} -> {b[0]}" if a[0] != b[0] else f"{a[1]} -> {b[1]}" for a, b in pairs), "")
            first = first or f"{len(former)} -> {len(there)} variables"
            raise ValueError(f"it is the state of another network ({first})")
        for variable, array in zip(variables, state, strict=True):
            variable.assign(array)

    def _variables(self) -> list[Any]:
        optimizer = self.model.optimizer
        if not optimizer.built:  # a loss-scaling one makes new variables each time
            optimizer.build(self.model.trainable_variables)
        return [*self.model.variables, *optimizer.variables]


class EpochNumber(keras.callbacks.Callback):
    """Tells the batches which epoch they are for, counted from 1."""

    def __init__(self, number: tf.Variable) -> None:
        super().__init__()
        self.number = number

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Count from 1, where Keras counts from 0."""
        self.number.assign(epoch + 1)


def shuffled(inputs: np.ndarray, targets: np.ndarray, batch_size: int, seed: int) -> Batches:
    """Make the batches of arrays, in an order that is a stateless function of seed and epoch.

    Keras, seeded, shuffles into the same order in every epoch.
    """

    def batches(epoch: tf.Variable) -> tf.data.Dataset:
        rows, count = tf.range(len(inputs)), -(-len(inputs) // batch_size)

        def order(_: tf.Tensor) -> tf.Tensor:
            key = tf.stack([tf.constant(seed, tf.int64), epoch.read_value()])
            return tf.random.experimental.stateless_shuffle(rows, key)

        orders = tf.data.Dataset.from_tensors(0).map(order)
        chosen = orders.flat_map(lambda rows: tf.data.Dataset.from_tensor_slices(rows).batch(batch_size))
        x, y = tf.constant(inputs), tf.constant(targets)
        made = chosen.map(lambda rows: (tf.gather(x, rows), tf.gather(y, rows)), num_parallel_calls=1)
        return made.apply(tf.data.experimental.assert_cardinality(count)).with_options(without_autotune())

    return batches


def _in_order(inputs: np.ndarray, targets: np.ndarray) -> tf.data.Dataset:
    made = tf.data.Dataset.from_tensor_slices((inputs, targets)).batch(VALIDATION_BATCH)
    return made.cache().with_options(without_autotune())
