"""A compiled Keras network with its data, as a trainee: each epoch can be repeated from the state before it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from tracked.training import rate_sweep, schedules
from tracked.training.reproducibility import without_autotune

Arrays: TypeAlias = tuple[np.ndarray, np.ndarray]  # inputs [n, …] and targets [n, …]
Batches: TypeAlias = Callable[[tf.Variable], tf.data.Dataset]  # of the epoch in the variable, counted from 1
VALIDATION_BATCH = 256  # forward pass only; the size affects rounding alone


class KerasTrainee:
    """A compiled ``keras.Model`` with its data.

    An epoch's result is a function of the state before it and of its number: the order of rows depends on (seed, epoch)
    alone, and the state holds the weights, the layers' random states and the optimizer's variables. Keras's and
    TensorFlow's global random states are not in it: a layer that draws needs its own ``keras.random.SeedGenerator``.

    Args:
        model: compiled, with the loss named loss and the metrics that the experiment declares.
        train: inputs [n, …] and targets [n, …], shuffled here; or a function that makes a ``tf.data.Dataset`` of
            batches from a variable with the epoch, counted from 1, in an order that depends on the epoch alone.
        validation: inputs and targets, or a dataset of batches.
        seed: for the order of arrays; ``batch_size``: their rows in a step.
        tags: tags for the run.
        note: a line to print, or empty.

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
            raise ValueError("arrays need a seed for their order; pass seed")
        self.batches = train if callable(train) else shuffled(*train, batch_size=batch_size, seed=seed or 0)
        self.validation = validation if isinstance(validation, tf.data.Dataset) else _in_order(*validation)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the last step as the shortest decimal of its float32 value."""
        return schedules.last_rate(self.model.optimizer)

    @property
    def has_schedule(self) -> bool:
        """Whether a schedule determines the learning rate of each step."""
        return schedules.schedule_of(self.model.optimizer) is not None

    def set_learning_rate(self, rate: float) -> None:
        """Set the learning rate of the steps to come.

        Raises:
            TypeError: if a schedule of steps determines the rate.
        """
        schedules.set_rate(self.model.optimizer, rate)

    @property
    def weights(self) -> int:
        """Number of weights."""
        return int(self.model.count_params())

    def fit(self, callbacks: Sequence[keras.callbacks.Callback], initial_epoch: int, epochs: int) -> None:
        """Train from epoch ``initial_epoch + 1`` to ``epochs``."""
        with tf.device("CPU"):  # as the batches
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

    def sweep(self, rates: Sequence[float]) -> Iterator[float]:
        """Train for one step at each learning rate; yield each batch's loss before its step.

        The network is not trained afterwards: its calls of several steps are gone.
        """
        return rate_sweep.sweep(self.model, self.batches, rates)

    def save(self, path: Path) -> None:
        """Write the model with the optimizer's state, as ``keras.Model.save`` does; Keras alone can load it."""
        with schedules.storable(self.model.optimizer):
            self.model.save(path)

    def state(self) -> list[np.ndarray]:
        """Copy all that an epoch changes.

        Weights, random states of layers such as dropout, the optimizer's variables, and a warm-up's learning rate.
        """
        return [np.asarray(variable) for variable in self._variables()]

    def restore(self, state: Sequence[np.ndarray]) -> None:
        """Restore a state.

        Raises:
            ValueError: if the state is another network's; no variable is changed then.
        """
        variables = self._variables()
        forms = [(tuple(variable.shape), np.dtype(variable.dtype)) for variable in variables]
        state_forms = [(array.shape, array.dtype) for array in state]
        if forms != state_forms:
            pairs = ((a, b) for a, b in zip(state_forms, forms, strict=False) if a != b)
            change = next((f"{a[0]} -> {b[0]}" if a[0] != b[0] else f"{a[1]} -> {b[1]}" for a, b in pairs), "")
            change = change or f"{len(state_forms)} -> {len(forms)} variables"
            raise ValueError(f"the state belongs to another network ({change})")
        for variable, array in zip(variables, state, strict=True):
            variable.assign(array)

    def _variables(self) -> list[Any]:
        optimizer = self.model.optimizer
        if not optimizer.built:  # a loss-scaling optimizer makes new variables at each build
            optimizer.build(self.model.trainable_variables)
        rate = getattr(schedules.schedule_of(optimizer), "rate", None)
        return [*self.model.variables, *optimizer.variables, *([] if rate is None else [rate])]


class EpochNumber(keras.callbacks.Callback):
    """Set the batches' variable to the epoch, counted from 1."""

    def __init__(self, number: tf.Variable) -> None:
        super().__init__()
        self.number = number

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Set the variable: Keras counts from 0."""
        self.number.assign(epoch + 1)


def shuffled(inputs: np.ndarray, targets: np.ndarray, batch_size: int, seed: int) -> Batches:
    """Make batches of arrays in an order that is a stateless function of seed and epoch.

    A seeded shuffle of Keras repeats the same order in every epoch.
    """

    def batches(epoch: tf.Variable) -> tf.data.Dataset:
        rows, count = tf.range(len(inputs)), -(-len(inputs) // batch_size)

        def order(_: tf.Tensor) -> tf.Tensor:
            key = tf.stack([tf.constant(seed, tf.int64), epoch.read_value()])
            return tf.random.experimental.stateless_shuffle(rows, key)

        orders = tf.data.Dataset.from_tensors(0).map(order)
        chosen = orders.flat_map(lambda rows: tf.data.Dataset.from_tensor_slices(rows).batch(batch_size))
        x, y = tf.constant(inputs), tf.constant(targets)
        gathered = chosen.map(lambda rows: (tf.gather(x, rows), tf.gather(y, rows)), num_parallel_calls=1)
        return gathered.apply(tf.data.experimental.assert_cardinality(count)).with_options(without_autotune())

    return batches


def _in_order(inputs: np.ndarray, targets: np.ndarray) -> tf.data.Dataset:
    batches = tf.data.Dataset.from_tensor_slices((inputs, targets)).batch(VALIDATION_BATCH)
    return batches.cache().with_options(without_autotune())
