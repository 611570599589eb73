"""What others make from a training's run, and what its completion makes of it: both are there afterwards."""

import dataclasses
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import pytest
from mlflow.entities import Run

from helpers.resuming import assert_same_run, break_off, folder, metrics, resume
from helpers.runs import last_run, run_train, versions
from helpers.verbs import Verb
from tracked.console.errors import RunFailed
from tracked.console.signals import Signals
from tracked.experiment import Package
from tracked.models import loader, publisher
from tracked.models.keras_package import package_keras
from tracked.reports import training_report
from tracked.training.table_dataset import TableDataset

from diabetes import Diabetes  # isort: skip  # its folder is on the path since verbs is imported

NAME = "imdb-conv1d"


def log_checkpoint(run: Run, **named: Any) -> str:
    """What a user does with the checkpoint of a training that broke off, at its run; returns the model's id."""
    network = keras.saving.load_model(next(folder(run).glob("best-*.keras")))
    with mlflow.start_run(run_id=run.info.run_id):
        return str(mlflow.tensorflow.log_model(network, name="mine", pip_requirements=["tensorflow"], **named).model_id)


def models(run: Run) -> set[str]:
    """The ids of the models at a run."""
    found = mlflow.search_logged_models([run.info.experiment_id], output_format="list")
    return {model.model_id for model in found if model.source_run_id == run.info.run_id}


def registered_at(run: Run) -> dict[tuple[str, str], str]:
    """The sources of all versions that name a run, by name and version."""
    found = mlflow.MlflowClient().search_model_versions(f"run_id = '{run.info.run_id}'")
    return {(version.name, str(version.version)): version.source for version in found}


def fail(*arguments: Any, **named: Any) -> None:
    raise RunFailed("it broke off")


def broken_off_after(owner: Any, name: str, data: Path) -> Run:
    """A training that has stopped by its rule, and whose completion ends where it would call this."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, fail)
        with pytest.raises(RunFailed, match="it broke off"):
            run_train(f"--data={data}", "--epochs=1")
    return last_run()


def test_versions_that_a_user_made_from_the_run_are_neither_taken_nor_deleted(
    store: str, noisy: Path, straight: dict[str, dict[int, float]]
) -> None:
    run, client = break_off(noisy, 2), mlflow.MlflowClient()
    theirs = [log_checkpoint(run, registered_model_name=NAME) for _ in range(2)]
    client.set_registered_model_alias(NAME, "champion", "1")
    resume("--resume", run.info.run_id)
    assert metrics(mlflow.get_run(run.info.run_id)) == straight
    (ours,) = models(run) - set(theirs)
    sources = {(NAME, str(number)): f"models:/{model}" for number, model in enumerate([*theirs, ours], start=1)}
    assert registered_at(run) == sources
    assert client.get_model_version_by_alias(NAME, "champion").version == 1
    assert client.get_model_version_by_alias(NAME, "candidate").version == 3
    assert mlflow.get_run(run.info.run_id).data.tags["registered_version"] == "3"
    assert client.get_logged_model(theirs[0]).name == "mine"


def test_a_version_that_a_user_made_from_the_run_forbids_no_more_epochs(store: str, noisy: Path) -> None:
    run = break_off(noisy, 1, "--epochs=2")
    log_checkpoint(run, registered_model_name=NAME)
    resume("--resume", run.info.run_id, "--epochs=3")
    assert [version.tags.get("best_epoch") for version in versions()][-1:] == [None]
    assert mlflow.get_run(run.info.run_id).data.metrics["stopped_epoch"] == 3


def test_a_model_that_a_user_logged_at_the_run_stays(
    store: str, noisy: Path, straight: dict[str, dict[int, float]]
) -> None:
    run = break_off(noisy, 2)
    theirs = log_checkpoint(run)
    resume("--resume", run.info.run_id)
    assert_same_run(run, straight)
    assert theirs in models(run)
    assert len(models(run)) == 2


def test_a_model_that_broke_off_before_its_registration_is_deleted(store: str, noisy: Path) -> None:
    run = broken_off_after(publisher, "require_same_loss", noisy)
    (stored,) = models(run)
    resume("--resume", run.info.run_id)
    ((_, source),) = registered_at(run).items()
    assert {f"models:/{model}" for model in models(run)} == {source} != {f"models:/{stored}"}


@pytest.mark.parametrize("how", ["registered", "copied, and the first deleted"])
def test_a_model_that_a_user_has_registered_by_hand_stays(store: str, noisy: Path, how: str) -> None:
    """One that the training had stored and not registered."""
    run, client = broken_off_after(publisher, "require_same_loss", noisy), mlflow.MlflowClient()
    (stored,) = models(run)
    mlflow.register_model(f"models:/{stored}", "theirs")
    if "copied" in how:
        client.copy_model_version("models:/theirs/1", "copy")
    if "deleted" in how:
        client.delete_registered_model("theirs")
    before = registered_at(run)
    resume("--resume", run.info.run_id)
    (ours,) = models(run) - {stored}
    assert stored in models(run)
    assert registered_at(run) == before | {(NAME, "1"): f"models:/{ours}"}


def test_a_registered_model_that_was_renamed_meanwhile_gets_no_second_version(store: str, noisy: Path) -> None:
    run, client = broken_off_after(training_report, "figures", noisy), mlflow.MlflowClient()
    (stored,) = models(run)
    client.rename_registered_model(NAME, "renamed")
    resume("--resume", run.info.run_id)
    assert registered_at(run) == {("renamed", "1"): f"models:/{stored}"}
    assert [model.name for model in client.search_registered_models()] == ["renamed"]
    assert client.get_model_version_by_alias("renamed", "candidate").version == 1
    found = mlflow.get_run(run.info.run_id)
    assert (found.info.status, found.data.tags["registered_version"]) == ("FINISHED", "1")
    assert "Registered as **renamed version 1**" in found.data.tags["mlflow.note.content"]


@pytest.mark.parametrize(("alias", "left"), [("", ["1"]), ("champion", ["1", "2"])])
def test_of_two_versions_of_a_training_the_second_goes_unless_an_alias_names_it(
    store: str, noisy: Path, alias: str, left: list[str]
) -> None:
    run, client = broken_off_after(training_report, "figures", noisy), mlflow.MlflowClient()
    first = client.get_model_version(NAME, "1")
    client.create_model_version(NAME, first.source, run.info.run_id, dict(first.tags))
    by_hand = client.create_model_version(NAME, first.source, run.info.run_id)
    if alias:
        client.set_registered_model_alias(NAME, alias, "2")
    resume("--resume", run.info.run_id)
    assert sorted(version for _, version in registered_at(run)) == [*left, str(by_hand.version)]
    assert mlflow.get_run(run.info.run_id).data.tags["registered_version"] == "1"


def test_a_version_whose_model_has_no_mark_yet_is_the_trainings_own(store: str, noisy: Path) -> None:
    """As of a training that was registered before models got a mark."""
    run, client = broken_off_after(training_report, "figures", noisy), mlflow.MlflowClient()
    (stored,) = models(run)
    for name in client.get_logged_model(stored).tags:
        client.delete_logged_model_tag(stored, name)
    resume("--resume", run.info.run_id)
    assert registered_at(run) == {(NAME, "1"): f"models:/{stored}"}
    assert models(run) == {stored}


# The stored model's loss is the training's: relative to it where it is above 1.


class Thousands(Diabetes):
    """The same patients with a score in thousandths: its losses are tens of thousands."""

    off = 0.0  # by how much the stored model's loss is told to differ, relative to it

    def load(self, parameters: Any, source: str) -> TableDataset:
        whole = super().load(parameters, source)
        table = whole.table.assign(target=whole.table["target"] * 1000)
        return TableDataset(whole.source, table, whole.target, whole.test)

    def package(self, parameters: Any, dataset: Any, folder: Path, checkpoint: Path) -> Package:
        made = super().package(parameters, dataset, folder, checkpoint)
        return dataclasses.replace(made, loss=lambda model: made.loss(model) * (1 + self.off))


@pytest.mark.parametrize("off", [1e-7, -1e-7])
def test_a_loss_of_thousands_may_differ_by_what_rounding_does(
    store: str, monkeypatch: pytest.MonkeyPatch, off: float
) -> None:
    monkeypatch.setattr(Thousands, "off", off)
    Verb("train", Thousands()).main(["--epochs=1"], Signals())
    run = last_run()
    assert run.data.metrics["val_loss"] > 10_000
    assert abs(off) * run.data.metrics["val_loss"] > publisher.TOLERANCE  # more than it may where it is below 1
    ((_, source),) = registered_at(run).items()
    assert models(run) == {source.removeprefix("models:/")}
    assert run.data.tags["registered_version"] == "1"


@pytest.mark.parametrize("off", [1e-4, -1e-4])
def test_a_loss_of_thousands_that_differs_by_more_is_refused_and_its_model_deleted(
    store: str, monkeypatch: pytest.MonkeyPatch, off: float
) -> None:
    monkeypatch.setattr(Thousands, "off", off)
    with pytest.raises(RunFailed) as failed:
        Verb("train", Thousands()).main(["--epochs=1"], Signals())
    run = last_run()
    logged = run.data.metrics["val_loss"]
    told = str(failed.value)
    assert told.startswith("the stored model scores the validation part with a loss of ")
    assert told.endswith(f", not {logged:.7f} as in training; nothing is registered")
    assert "\n" not in told
    assert run.info.status == "FAILED"
    assert "registered_version" not in run.data.tags
    assert models(run) == set()
    assert registered_at(run) == {}
    assert mlflow.MlflowClient().search_registered_models() == []


@pytest.mark.parametrize(
    ("logged", "off", "passes"),
    [
        (5000.0, 0.04, True),  # 8e-6 of it
        (5000.0, 0.06, False),
        (5000.0, -0.06, False),
        (0.5, 0.9e-5, True),
        (0.5, 1.1e-5, False),
        (0.001, 0.9e-5, True),  # below 1 it is not relative: rounding is not, either
        (0.001, 1.1e-5, False),
        (0.0, 1.1e-5, False),
        (5000.0, float("nan"), False),
        (5000.0, float("inf"), False),
    ],
)
def test_how_far_a_stored_models_loss_may_be_off(
    store: str, monkeypatch: pytest.MonkeyPatch, logged: float, off: float, passes: bool
) -> None:
    deleted: list[str] = []
    monkeypatch.setattr(loader, "load", lambda uri: uri)
    monkeypatch.setattr(mlflow.MlflowClient, "delete_logged_model", lambda _, model_id: deleted.append(model_id))
    package = Package(None, (float, (-1,)), (float, (-1,)), np.zeros(1), lambda model: logged + off)
    if passes:
        publisher.require_same_loss("m-1", package, logged)
    else:
        with pytest.raises(RunFailed, match=r"^the stored model scores .*; nothing is registered$"):
            publisher.require_same_loss("m-1", package, logged)
    assert deleted == ([] if passes else ["m-1"])


def test_a_fault_that_the_experiment_finds_is_told_and_the_model_deleted(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(model: Any) -> float:
        raise ValueError("answers twice")

    made = Diabetes.package
    monkeypatch.setattr(Diabetes, "package", lambda *told: dataclasses.replace(made(*told), loss=refuse))
    with pytest.raises(RunFailed, match=r"^the stored model answers twice; nothing is registered"):
        Verb("train", Diabetes()).main(["--epochs=1"], Signals())
    assert models(last_run()) == set()


def test_a_packaged_network_is_scored_by_the_mean_of_its_rows_losses(tmp_path: Path) -> None:
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    network.save(tmp_path / "best.keras")
    rng = np.random.default_rng(0)
    inputs, targets = rng.normal(size=(7, 3)).astype(np.float32), rng.normal(size=(7, 2)).astype(np.float32)
    made = package_keras(tmp_path / "best.keras", (inputs, targets), lambda y, p: ((y - p) ** 2).sum(axis=1))
    assert (made.inputs, made.outputs) == ((np.float32, (-1, 3)), (np.float32, (-1, 2)))
    assert made.example.shape == (2, 3)
    assert not made.example.any()  # nothing of the data is shown
    assert made.checked == "the 7 rows of the validation part"
    expected = ((targets - network(inputs).numpy()) ** 2).sum(axis=1).mean()
    assert made.loss(Plain(made.model)) == pytest.approx(expected, rel=1e-6)


class Plain:
    """A network as MLflow gives it."""

    def __init__(self, network: keras.Model) -> None:
        self.predict = lambda inputs: network(inputs).numpy()
