"""The trainer's rate of each epoch, and trainees that cannot follow a schedule."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import pytest

from diabetes import Diabetes, DiabetesParameters
from helpers.keras_rules import keras_plateau
from tracked.console.errors import RunFailed
from tracked.console.signals import Signals
from tracked.console.train_parameters import TrainParameters
from tracked.training.keras_trainee import KerasTrainee
from tracked.training.plateau_rates import list_next_rates, make_rule
from tracked.training.rate_control import RateControl
from tracked.training.trainer import Trainer


class Scripted:
    """A trainee of epochs with given losses, whose rate can be set, or cannot."""

    note, weights = "", 0

    def __init__(self, losses: Sequence[float], rate: float = 0.25) -> None:
        self.losses, self.learning_rate = losses, rate
        self.tags: dict[str, str] = {}
        self.used: list[float] = []

    def fit(self, callbacks: Sequence[Any], initial_epoch: int, epochs: int) -> None:
        model = keras.Sequential()
        for callback in callbacks:
            callback.set_model(model)
            callback.on_train_begin()
        model.stop_training = False
        for epoch in range(initial_epoch, min(epochs, len(self.losses))):
            self.used.append(self.learning_rate)
            logs = dict.fromkeys(("loss", "r2", "val_loss", "val_r2"), self.losses[epoch])
            for callback in callbacks:
                callback.on_epoch_end(epoch, logs)
            if model.stop_training:
                return

    def state(self) -> list[Any]:
        return []

    def restore(self, state: Sequence[Any]) -> None:
        pass

    def save(self, path: Path) -> None:
        keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]).save(path)


class Settable(Scripted):
    def set_learning_rate(self, rate: float) -> None:
        self.learning_rate = rate


LOSSES = [1.0, 0.9, 0.9, 0.95, 0.8, 0.8, 0.8, 0.8, 0.8]
PARAMETERS = DiabetesParameters(
    learning_rate=0.25, schedule="plateau", decay_factor=0.5, decay_patience=2, patience=4, epochs=9
)


def make_trainer(folder: Path, parameters: TrainParameters, logged: list[dict[str, float]]) -> Trainer:
    return Trainer(Diabetes(), parameters, folder, lambda epoch, time, values: logged.append(values), Signals())


def test_epochs_train_with_the_rates_that_kerass_callback_would_set(tmp_path: Path) -> None:
    """A cut applies from the next epoch on: each epoch's metric is the rate that it trained with."""
    logged: list[dict[str, float]] = []
    trainer, trainee = make_trainer(tmp_path, PARAMETERS, logged), Settable(LOSSES, 9.0)
    trainer.restore(trainee)
    trainer.fit()
    rule = make_rule(PARAMETERS)
    assert rule is not None
    expected = [rate for rate, *_ in keras_plateau(rule, 0.25, LOSSES)]
    assert trainee.used == [0.25, *expected[:-1]] == [0.25] * 4 + [0.125] * 3 + [0.0625] * 2
    assert [values["learning_rate"] for values in logged] == trainee.used
    assert list_next_rates(PARAMETERS, logged) == expected


def test_plateau_of_a_trainee_without_a_settable_rate_is_refused_before_the_first_epoch(tmp_path: Path) -> None:
    message = (
        r"^schedule=plateau cannot set the trainee's learning rate \(it has no set_learning_rate\); give the result of "
        "make_rate to its optimizer, or start a new training with schedule=constant and without warmup_steps$"
    )
    with pytest.raises(RunFailed, match=message):
        make_trainer(tmp_path, PARAMETERS, []).restore(Scripted(LOSSES))


def test_plateau_of_an_optimizer_with_a_schedule_of_its_own_is_refused(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.1, 5, 0.5)), "mse")
    rows = keras.ops.convert_to_numpy(keras.ops.ones((4, 1)))
    trainee = KerasTrainee(model, (rows, rows), (rows, rows), seed=1)
    with pytest.raises(RunFailed, match=r"^schedule=plateau cannot set .* \(This optimizer was created with a"):
        RateControl(PARAMETERS).restore(trainee, [])


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"schedule": "cosine"}, "schedule=cosine"),
        ({"schedule": "exponential", "warmup_steps": 2}, "schedule=exponential"),
        ({"schedule": "constant", "warmup_steps": 2}, "warmup_steps=2"),
    ],
)
def test_schedule_by_steps_that_the_optimizer_lacks_is_refused(values: dict[str, Any], named: str) -> None:
    parameters = DiabetesParameters(**values)
    with pytest.raises(RunFailed, match=f"^{named} has no effect on the trainee; give the result of make_rate"):
        RateControl(parameters).restore(Settable(LOSSES), [])


def test_trainee_without_a_settable_rate_trains_with_a_constant_one(tmp_path: Path) -> None:
    logged: list[dict[str, float]] = []
    constant = DiabetesParameters(patience=4, epochs=9)
    trainer, trainee = make_trainer(tmp_path, constant, logged), Scripted(LOSSES, 0.3)
    trainer.restore(trainee)
    trainer.fit()
    assert {values["learning_rate"] for values in logged} == set(trainee.used) == {0.3}
    assert list_next_rates(constant, logged) == []


def test_parameters_of_a_training_without_a_rate_have_no_rule() -> None:
    assert make_rule(TrainParameters()) is None
    RateControl(TrainParameters()).restore(Scripted(LOSSES), [])
