"""The rate of every step, against Keras's schedules; and networks with a schedule, stored and loaded back."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from imdb_conv1d import networks
from imdb_conv1d.parameters import TrainParameters
from tracked.console.rate_parameters import RateParameters
from tracked.training import schedules
from tracked.training.keras_trainee import KerasTrainee
from tracked.training.schedules import make_rate

STEPS = 5  # in an epoch
SETTINGS = {"learning_rate": 0.25, "decay_factor": 0.1, "decay_epochs": 2}
LAST = np.arange(12)
EXPONENTIAL = 0.25 * 0.1 ** (LAST / 10)
COSINE = 0.25 * (0.1 + 0.9 * (1 + np.cos(np.pi * np.minimum(LAST / 10, 1))) / 2)
X, Y = np.linspace(-1, 1, 20, dtype=np.float32).reshape(10, 2), np.ones((10, 1), np.float32)


def make_parameters(**values: Any) -> RateParameters:
    return RateParameters(**SETTINGS | values)


def rates_of(rate: Any, steps: int) -> list[float]:
    return [float(rate(step)) for step in range(steps)]


@pytest.mark.parametrize("schedule", ["constant", "plateau"])
def test_rate_without_a_schedule_of_steps_is_a_number(schedule: str) -> None:
    """So the optimizer has the variables that it had before there were schedules."""
    rate = make_rate(make_parameters(schedule=schedule), STEPS)
    assert type(rate) is float
    assert rate == 0.25


@pytest.mark.parametrize(
    ("schedule", "own", "by_hand"),
    [
        ("exponential", keras.optimizers.schedules.ExponentialDecay(0.25, 10, 0.1), EXPONENTIAL),
        ("cosine", keras.optimizers.schedules.CosineDecay(0.25, 10, alpha=0.1), COSINE),
    ],
)
def test_rate_of_each_step_is_that_of_kerass_schedule(schedule: str, own: Any, by_hand: np.ndarray) -> None:
    rate = make_rate(make_parameters(schedule=schedule), STEPS)
    assert type(rate) is type(own)
    assert rates_of(rate, 12) == rates_of(own, 12)
    assert rates_of(rate, 12) == pytest.approx(by_hand, rel=1e-6)


@pytest.mark.parametrize("schedule", ["constant", "plateau", "exponential", "cosine"])
def test_warm_up_rises_from_its_first_step_on_and_then_begins_the_schedule(schedule: str) -> None:
    without = make_rate(make_parameters(schedule=schedule), STEPS)
    rate = make_rate(make_parameters(schedule=schedule, warmup_steps=4), STEPS)
    after = [0.25] * 12 if isinstance(without, float) else rates_of(without, 12)
    assert rates_of(rate, 16) == [0.0625, 0.125, 0.1875, 0.25, *after]


def test_cosine_with_a_warm_up_of_keras_is_one_step_behind() -> None:
    """Keras's first step would have the rate 0."""
    own = make_rate(make_parameters(schedule="cosine", warmup_steps=4), STEPS)
    kerass = keras.optimizers.schedules.CosineDecay(0.0, 10, alpha=0.1, warmup_target=0.25, warmup_steps=4)
    assert rates_of(kerass, 1) == [0]
    assert rates_of(own, 4) == rates_of(kerass, 5)[1:]
    assert rates_of(own, 16)[4:] == rates_of(kerass, 16)[4:]


def test_rate_with_the_largest_parameters_is_finite() -> None:
    largest = 2**31 - 1
    for schedule in ("exponential", "cosine"):
        parameters = make_parameters(schedule=schedule, decay_epochs=largest, warmup_steps=largest)
        assert rates_of(make_rate(parameters, 10**6), 1) == pytest.approx([0.25 / largest])
        assert rates_of(make_rate(parameters.model_copy(update={"warmup_steps": 0}), 10**6), 1) == [0.25]


class RecordedSteps(keras.optimizers.SGD):
    """Note the rate of every step in a variable, wherever it is computed."""

    def build(self, variables: Any) -> None:
        super().build(variables)
        self.rates = keras.Variable(np.zeros(64, np.float32), trainable=False)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        self.rates.value.scatter_nd_update([[self.iterations.value]], [learning_rate])
        super().update_step(gradient, variable, learning_rate)


def fit(rate: Any, steps_per_execution: int) -> KerasTrainee:
    """Train for two epochs of five steps; the weights are one variable."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")])
    model.compile(RecordedSteps(rate), "mse", steps_per_execution=steps_per_execution)
    trainee = KerasTrainee(model, (X, Y), (X, Y), seed=1, batch_size=2)
    trainee.fit([], 0, 2)
    return trainee


@pytest.mark.parametrize("steps_per_execution", [1, 4])
def test_every_step_of_a_fit_has_its_rate_however_many_steps_a_call_takes(steps_per_execution: int) -> None:
    rate = make_rate(make_parameters(schedule="cosine", warmup_steps=4), STEPS)
    trainee = fit(rate, steps_per_execution)
    assert trainee.model.optimizer.rates.numpy()[:11] == pytest.approx([*rates_of(rate, 10), 0], rel=1e-6)
    assert trainee.learning_rate == pytest.approx(float(rate(9)), rel=1e-6)
    assert trainee.has_schedule


def test_rate_set_between_epochs_is_that_of_the_next_steps() -> None:
    rate = make_rate(make_parameters(schedule="plateau", warmup_steps=7), STEPS)
    trainee = fit(rate, 4)
    initial = trainee.state()
    trainee.set_learning_rate(0.125)
    trainee.fit([], 2, 3)
    warm = [0.25 * n / 7 for n in range(1, 8)]
    expected = [*warm, *[0.25] * 3, *[0.125] * 5]
    assert trainee.model.optimizer.rates.numpy()[:15] == pytest.approx(expected, rel=1e-6)
    assert trainee.learning_rate == 0.125
    trainee.restore(initial)  # which has the rate
    assert trainee.learning_rate == 0.25


def test_rate_of_a_schedule_by_steps_cannot_be_set() -> None:
    for values in ({"schedule": "cosine"}, {"schedule": "exponential", "warmup_steps": 3}):
        optimizer = keras.optimizers.Adam(make_rate(make_parameters(**values), STEPS))
        with pytest.raises(TypeError, match="LearningRateSchedule"):
            schedules.set_rate(optimizer, 0.1)


def test_last_rate_before_the_first_step_is_that_of_the_first() -> None:
    assert schedules.last_rate(keras.optimizers.Adam(0.1)) == 0.1
    assert schedules.last_rate(keras.optimizers.Adam(make_rate(make_parameters(warmup_steps=5), STEPS))) == 0.05


KERASS = {"exponential": "ExponentialDecay", "cosine": "CosineDecay"}


@pytest.mark.parametrize("warmup_steps", [0, 3])
@pytest.mark.parametrize("schedule", ["constant", "plateau", "exponential", "cosine"])
def test_stored_network_with_any_schedule_is_loaded_by_keras_alone(
    schedule: str, warmup_steps: int, tmp_path: Path
) -> None:
    """The file names no class of this project, and the optimizer goes on with its state."""
    small = {"maxlen": 20, "max_features": 30, "embedding_dims": 22, "filters": 5, "hidden_dims": 6, "batch_size": 8}
    parameters = TrainParameters(schedule=schedule, warmup_steps=warmup_steps, **SETTINGS | small)
    network = networks.build(parameters, "", 2, 64)
    for model in (network.plain, network.trained):
        model.optimizer.build(model.trainable_variables)
    network.trained.optimizer.iterations.assign(9)
    if schedule == "plateau":
        schedules.set_rate(network.trained.optimizer, 0.125)
    network.save(tmp_path / "best.keras")
    own = schedules.schedule_of(network.trained.optimizer)
    assert (own is None) == (schedule in ("constant", "plateau") and not warmup_steps)
    assert schedules.schedule_of(network.plain.optimizer) is own  # it is back in its place
    with zipfile.ZipFile(tmp_path / "best.keras") as archive:
        stored = json.loads(archive.read("config.json"))["compile_config"]["optimizer"]["config"]["learning_rate"]
    loaded = keras.saving.load_model(tmp_path / "best.keras", safe_mode=True)
    rate = schedules.last_rate(network.trained.optimizer)
    assert schedules.last_rate(loaded.optimizer) == rate
    assert len(loaded.optimizer.variables) == len(network.trained.optimizer.variables)
    if own is None:
        assert stored == rate == (0.125 if schedule == "plateau" else 0.25)
    elif warmup_steps:  # a constant
        assert schedules.schedule_of(loaded.optimizer)(99) == np.float32(rate)
    else:
        assert (stored["module"], stored["class_name"]) == ("keras.optimizers.schedules", KERASS[schedule])
        assert stored["config"]["decay_steps"] == 2 * 8


@pytest.mark.parametrize("make", [keras.optimizers.Adam, networks.FusedAdam, networks.ScatteredAdam])
def test_fused_optimizers_take_the_scheduled_rate(make: Callable[..., Any]) -> None:
    rate = make_rate(make_parameters(schedule="exponential", warmup_steps=2), STEPS)
    optimizer, weight = make(rate), keras.Variable([1.0])
    optimizer.build([weight])
    for step in range(4):
        before = weight.numpy()
        optimizer.apply([keras.ops.convert_to_tensor([0.5])], [weight])  # Adam's step is the rate where g is the same
        assert before - weight.numpy() == pytest.approx([float(rate(step))], rel=1e-4)
