from collections.abc import Iterator
from itertools import islice
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from helpers.runs import SignalAfter
from tracked.console.errors import Interrupted, RunFailed
from tracked.experiment import SweepingTrainee
from tracked.training import range_test
from tracked.training.keras_trainee import KerasTrainee
from tracked.training.schedules import WarmUp

X = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
Y = X @ np.array([[1.0], [-2.0], [0.5]], np.float32)


def make(rate: Any = 0.1, steps: int = 4, train: Any = (X, Y), **options: Any) -> KerasTrainee:
    keras.utils.set_random_seed(5)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "tanh"), keras.layers.Dropout(0.2, seed=1),
                              keras.layers.Dense(1)])  # fmt: skip
    model.compile(keras.optimizers.SGD(rate), "mse", metrics=["mae"], steps_per_execution=steps, **options)
    return KerasTrainee(model, train, (X, Y), seed=2, batch_size=8)


class BatchLosses(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.model.reset_metrics()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.losses.append(logs["loss"])


def test_losses_at_one_rate_are_those_of_the_trainings_own_batches() -> None:
    """Three batches an epoch: a sweep of eight steps goes on into epoch 3, in the order that a training has."""
    fitted, seen = make(0.05, steps=1), BatchLosses()
    fitted.fit([seen], 0, 3)
    swept = list(make(1.0).sweep([0.05] * 8))
    assert swept == pytest.approx(seen.losses[:8], rel=1e-6)


def test_sweep_takes_each_rate_once_and_gives_equal_bits_again() -> None:
    rates = [1e-3 * 1.5**step for step in range(12)]
    trainee = make()
    used = [(loss, trainee.learning_rate) for loss in trainee.sweep(rates)]
    assert [rate for _, rate in used] == pytest.approx(rates)
    assert list(make().sweep(rates)) == [loss for loss, _ in used]
    assert len({loss for loss, _ in used}) == 12


def test_sweep_that_is_ended_early_takes_no_further_step() -> None:
    trainee = make()
    losses = list(islice(trainee.sweep([0.1] * 100), 2))
    assert (len(losses), int(trainee.model.optimizer.iterations)) == (2, 2)


def test_sweep_takes_datasets_with_weights() -> None:
    def batches(epoch: tf.Variable) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices((X, Y, np.zeros(20, np.float32))).batch(8)

    assert list(make(train=batches).sweep([0.1] * 4)) == [0.0] * 4


def test_sweep_of_a_trainee_without_batches_ends() -> None:
    def batches(epoch: tf.Variable) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices((X[:0], Y[:0])).batch(8)

    assert list(make(train=batches).sweep([0.1] * 4)) == []


@pytest.mark.parametrize(
    "rate", [keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5),
             WarmUp(0.1, 3, keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5))],
    ids=["decay", "warm-up, decay"],
)  # fmt: skip
def test_optimizer_with_a_schedule_of_its_own_is_refused(rate: Any) -> None:
    with pytest.raises(RunFailed, match="the optimizer's learning rate is a schedule, which cannot be set; build it"):
        list(make(rate).sweep([0.1]))


def test_measure_ends_where_the_loss_diverges() -> None:
    trainee = make()
    measured = range_test.measure(trainee, SignalAfter(0), 1e-3, 1e6, 60)
    assert measured.end
    assert int(trainee.model.optimizer.iterations) == len(measured.losses) + (measured.end == "not finite") < 60


def test_signal_ends_the_measuring_between_two_steps() -> None:
    trainee = make()
    signals = SignalAfter(4)
    with pytest.raises(Interrupted):
        range_test.measure(trainee, signals, 1e-6, 1e-3, 60)
    assert int(trainee.model.optimizer.iterations) == 4


def test_trainee_with_a_sweep_can_be_tested_and_another_cannot() -> None:
    class Own:
        def sweep(self, rates: list[float]) -> Iterator[float]:
            yield from (1.0 for _ in rates)

    assert isinstance(make(), SweepingTrainee)
    assert isinstance(Own(), SweepingTrainee)
    assert not isinstance(object(), SweepingTrainee)
    measured = range_test.measure(Own(), SignalAfter(0), 1e-6, 1.0, 60)
    assert (len(measured.losses), measured.end) == (60, "")
