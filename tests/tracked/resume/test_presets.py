"""Presets of a training: what its run holds, and that a resume keeps the values that it began with."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import mlflow
import pytest
from mlflow.entities import Run
from pydantic import Field

from diabetes import Diabetes, DiabetesParameters
from helpers.recording import record
from helpers.resuming import metrics
from helpers.runs import SignalAfter, last_run
from helpers.verbs import Verb
from tracked.console.errors import Interrupted, UserError
from tracked.console.signals import Signals
from tracked.console.train_parameters import make_train_command, make_train_parameters
from tracked.reports.comparison_table import differing_parameters
from tracked.resume.resume_parameters import merge_parameters, recorded_parameters
from tracked.runs import metric_history, run_parameters

SMALL = {"hidden_units": 4, "patience": 2, "epochs": 4}
CHECKS = 9  # for signals in an epoch


class Parameters(DiabetesParameters):
    """Train a network, by default with the values of its class."""

    preset: Literal["plain", "small"] = Field("plain", description="Values of other parameters")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"plain": {}, "small": SMALL}


class Changed(Parameters):
    """A later version, whose preset sets another value, and one more."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"plain": {}, "small": SMALL | {"hidden_units": 5, "seed": 9}}


class WithPreset(Diabetes):
    """The second experiment with a preset."""

    name = "with-preset"
    Parameters = Parameters


class Later(WithPreset):
    Parameters = Changed


def fit(*arguments: str, experiment: Diabetes | None = None, signals: Signals | None = None) -> Run:
    Verb("train", experiment or WithPreset()).main(arguments, signals or Signals())
    return last_run()


def break_off(epochs: int, *arguments: str) -> Run:
    with pytest.raises(Interrupted):
        fit(*arguments, signals=SignalAfter(2 + epochs * CHECKS))
    return last_run()


def test_run_of_a_preset_holds_what_was_given_and_what_was_used(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = fit("--preset=small", "--hidden_units=64", "--epochs=2")
    out, err = capsys.readouterr()
    assert "preset small: hidden_units 4, patience 2\n" in out
    assert "hidden_units: the default, 64, counts as not given; preset small sets 4\n" in err
    assert run.info.run_name == "patience=2 seed=7 epochs=2 preset=small"
    defaults = make_train_parameters(WithPreset())().as_strings()
    logged = defaults | {"preset": "small", "epochs": "2"}
    assert run.data.params == logged | {"evaluate": "false"}
    assert run_parameters.read_launch(run)["parameters"] == logged
    used = {"hidden_units": 4, "patience": 2, "epochs": 2}
    assert json.loads(run.data.tags["preset_values"]) == used
    assert run_parameters.read_parameters(run) == logged | {name: str(value) for name, value in used.items()}
    assert set(metrics(run)["val_loss"]) == {1, 2}
    given = record([0.5], logged | {"preset": "plain", "hidden_units": "5", "patience": "2"})
    differing = differing_parameters([run, mlflow.get_run(given)])
    assert differing == {"preset": ["small", "plain"], "hidden_units": ["4", "5"]}


@pytest.mark.slow
def test_resume_keeps_the_values_that_the_preset_had(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    straight = fit("--hidden_units=4", "--patience=2", "--epochs=4")
    assert "preset_values" not in straight.data.tags
    run = break_off(1, "--preset=small")
    capsys.readouterr()
    fit("--resume=latest", "--preset=small", "--hidden_units=64", experiment=Later())
    out, err = capsys.readouterr()
    assert "preset small: hidden_units 4, patience 2, epochs 4\n" in out
    assert "hidden_units: the default, 64, counts as not given; the run's value, 4, is used\n" in err
    resumed = mlflow.get_run(run.info.run_id)
    assert metrics(resumed) == metrics(straight)
    assert resumed.data.params == run.data.params
    assert json.loads(resumed.data.tags["preset_values"]) == SMALL


@pytest.mark.slow
def test_epochs_that_a_preset_sets_are_extended_by_a_resume(store: str) -> None:
    run = break_off(1, "--preset=small")
    with pytest.raises(UserError, match=rf"^epochs: '3' is not allowed; allowed: 4 or more, as run {run.info.run_id}"):
        fit("--resume=latest", "--epochs=3")
    with pytest.raises(UserError, match=r"^hidden_units: '5' is not allowed; allowed: 4, as run"):
        fit("--resume=latest", "--hidden_units=5")
    with pytest.raises(Interrupted):
        fit("--resume=latest", "--epochs=5", "--patience=3", signals=SignalAfter(2 + CHECKS))
    fit("--resume=latest")
    resumed = mlflow.get_run(run.info.run_id)
    assert set(metrics(resumed)["val_loss"]) == {1, 2, 3, 4, 5}
    read = run_parameters.read_parameters(resumed)
    assert (read["epochs"], read["patience"], read["hidden_units"]) == ("5", "3", "4")


def test_run_of_mlflow_run_is_trained_with_its_preset(
    store: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = make_train_parameters(WithPreset())().as_strings() | {"preset": "small", "epochs": "1.0"}
    values["evaluate"] = "false"
    client = mlflow.MlflowClient()
    made = client.create_run("0", tags={"mlflow.project.entryPoint": "main"}).info.run_id
    for name, value in values.items():
        client.log_param(made, name, value)
    monkeypatch.setenv("MLFLOW_RUN_ID", made)
    # --epochs is at its default here, as mlflow run --run-id passes it
    fit(*[f"--{name}={value}" for name, value in (values | {"epochs": "200000"}).items()])
    run = mlflow.get_run(made)
    assert run.info.status == "FINISHED"
    assert run.data.params == values
    assert json.loads(run.data.tags["preset_values"]) == SMALL | {"epochs": 1}
    assert set(metrics(run)["val_loss"]) == {1}
    assert "counts as not given" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("tag", "units", "seed"), [('{"hidden_units": 4}', 4, 7), ("{}", 64, 7), (None, 5, 9), ("[]", 5, 9), ("{", 5, 9)]
)
def test_values_come_from_the_tag_else_from_the_preset(store: str, tag: str | None, units: int, seed: int) -> None:
    tags = {} if tag is None else {"preset_values": tag}
    run = mlflow.get_run(record([0.5, 0.4], {"preset": "small", "hidden_units": "64.0"}, tags))
    found = recorded_parameters(Later(), run)
    assert (found.hidden_units, found.seed) == (units, seed)  # type: ignore[attr-defined]


def test_extended_value_wins_over_the_presets(store: str) -> None:
    tags = {"preset_values": json.dumps(SMALL), "raised": '{"patience": 6}'}
    run = mlflow.get_run(record([0.5, 0.4], {"preset": "small", "patience": "30"}, tags))
    assert run_parameters.read_parameters(run)["patience"] == "6"
    assert run_parameters.read_given(run)["patience"] == "6"
    assert metric_history.read(run).patience == 6
    assert recorded_parameters(WithPreset(), run).patience == 6


def test_resume_of_a_run_from_before_the_preset_takes_its_default(store: str) -> None:
    launch = json.dumps({"parameters": {"hidden_units": "64"}})
    run = mlflow.get_run(record([0.5, 0.4], {"hidden_units": "64"}, {"launch": launch}))
    command = make_train_command(WithPreset())
    recorded, _ = merge_parameters(WithPreset(), run, command.parse([]))
    assert (recorded.preset, recorded.hidden_units) == ("plain", 64)  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"^preset: 'small' is not allowed; allowed: plain, as run"):
        merge_parameters(WithPreset(), run, command.parse(["--preset=small"]))
