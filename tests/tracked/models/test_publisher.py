"""Completing a training: its model and version are stored once, checked, and leave those of others alone."""

import dataclasses
from collections.abc import Callable
from functools import partialmethod
from pathlib import Path
from types import SimpleNamespace
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
from tracked.runs.schema import STORED_BY
from tracked.training.table_dataset import TableDataset

from diabetes import Diabetes  # isort: skip  # its folder is on the path since verbs is imported

ADVICE = "nothing is registered; compare the loss in package with the one in build, then resume"

NAME = "imdb-conv1d"


def log_checkpoint(run: Run, **named: Any) -> str:
    """Log the checkpoint of a broken-off training at its run, as a user would; returns the model's id."""
    network = keras.saving.load_model(next(folder(run).glob("best-*.keras")))
    with mlflow.start_run(run_id=run.info.run_id):
        return str(mlflow.tensorflow.log_model(network, name="mine", pip_requirements=["tensorflow"], **named).model_id)


def models(run: Run) -> set[str]:
    """Return the ids of the models at a run."""
    logged = mlflow.search_logged_models([run.info.experiment_id], output_format="list")
    return {model.model_id for model in logged if model.source_run_id == run.info.run_id}


def registered_at(run: Run) -> dict[tuple[str, str], str]:
    """Return the sources of all versions of a run, by name and version."""
    registered = mlflow.MlflowClient().search_model_versions(f"run_id = '{run.info.run_id}'")
    return {(version.name, str(version.version)): version.source for version in registered}


def fail(*arguments: Any, **named: Any) -> None:
    raise RunFailed("it broke off")


def break_off_at(owner: Any, name: str, data: Path) -> Run:
    """Return a training that ran to its end and broke off where its completion calls ``owner.name``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, fail)
        with pytest.raises(RunFailed, match="it broke off"):
            run_train(f"--data={data}", "--epochs=1")
    return last_run()


@pytest.mark.slow
def test_resume_with_a_users_versions_of_the_run_keeps_them_and_registers_its_own(
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


@pytest.mark.slow
def test_resume_with_a_users_version_of_the_run_can_extend_epochs(store: str, noisy: Path) -> None:
    run = break_off(noisy, 1, "--epochs=2")
    log_checkpoint(run, registered_model_name=NAME)
    resume("--resume", run.info.run_id, "--epochs=3")
    assert [version.tags.get("best_epoch") for version in versions()][-1:] == [None]
    assert mlflow.get_run(run.info.run_id).data.metrics["stopped_epoch"] == 3


@pytest.mark.slow
def test_resume_with_a_users_model_at_the_run_keeps_it(
    store: str, noisy: Path, straight: dict[str, dict[int, float]]
) -> None:
    run = break_off(noisy, 2)
    theirs = log_checkpoint(run)
    resume("--resume", run.info.run_id)
    assert_same_run(run, straight)
    assert theirs in models(run)
    assert len(models(run)) == 2


@pytest.mark.slow
def test_resume_before_the_registration_replaces_the_stored_model(store: str, noisy: Path) -> None:
    run = break_off_at(publisher, "require_same_loss", noisy)
    (stored,) = models(run)
    resume("--resume", run.info.run_id)
    ((_, source),) = registered_at(run).items()
    assert {f"models:/{model}" for model in models(run)} == {source} != {f"models:/{stored}"}


def test_attempts_on_later_pages_of_a_search_are_deleted(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store returns two models a page, of five that the training stored."""
    client, search = mlflow.MlflowClient(), mlflow.MlflowClient.search_logged_models
    monkeypatch.setattr(mlflow.MlflowClient, "search_logged_models", partialmethod(search, max_results=2))
    with mlflow.start_run() as run:
        tags = {STORED_BY: run.info.run_id}
        ids = [client.create_logged_model("0", "m", run.info.run_id, tags).model_id for _ in range(5)]
        by_others = client.create_logged_model("0", "m", run.info.run_id).model_id
        for kept in (ids[2], ids[2], ""):
            publisher._delete_others(kept)
            assert models(run) == {by_others, *filter(None, [kept])}


@pytest.mark.slow
@pytest.mark.parametrize("how", ["registered", "copied, and the first deleted"])
def test_resume_with_a_stored_model_that_a_user_registered_keeps_it(store: str, noisy: Path, how: str) -> None:
    run, client = break_off_at(publisher, "require_same_loss", noisy), mlflow.MlflowClient()
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


@pytest.mark.slow
def test_resume_after_the_registered_model_was_renamed_adds_no_version(store: str, noisy: Path) -> None:
    run, client = break_off_at(training_report, "log_totals", noisy), mlflow.MlflowClient()
    (stored,) = models(run)
    client.rename_registered_model(NAME, "renamed")
    resume("--resume", run.info.run_id)
    assert registered_at(run) == {("renamed", "1"): f"models:/{stored}"}
    assert [model.name for model in client.search_registered_models()] == ["renamed"]
    assert client.get_model_version_by_alias("renamed", "candidate").version == 1
    resumed = mlflow.get_run(run.info.run_id)
    assert (resumed.info.status, resumed.data.tags["registered_version"]) == ("FINISHED", "1")
    assert "Registered as **renamed version 1**" in resumed.data.tags["mlflow.note.content"]


@pytest.mark.slow
@pytest.mark.parametrize(("alias", "left"), [("", ["1"]), ("champion", ["1", "2"])])
def test_second_version_of_a_training_is_deleted_unless_it_has_an_alias(
    store: str, noisy: Path, alias: str, left: list[str]
) -> None:
    run, client = break_off_at(training_report, "log_totals", noisy), mlflow.MlflowClient()
    first = client.get_model_version(NAME, "1")
    client.create_model_version(NAME, first.source, run.info.run_id, dict(first.tags))
    by_hand = client.create_model_version(NAME, first.source, run.info.run_id)
    if alias:
        client.set_registered_model_alias(NAME, alias, "2")
    resume("--resume", run.info.run_id)
    assert sorted(version for _, version in registered_at(run)) == [*left, str(by_hand.version)]
    assert mlflow.get_run(run.info.run_id).data.tags["registered_version"] == "1"


@pytest.mark.slow
def test_resume_with_a_registered_model_without_the_tag_keeps_it(store: str, noisy: Path) -> None:
    """As a training that was registered before models got the tag."""
    run, client = break_off_at(training_report, "log_totals", noisy), mlflow.MlflowClient()
    (stored,) = models(run)
    for name in client.get_logged_model(stored).tags:
        client.delete_logged_model_tag(stored, name)
    resume("--resume", run.info.run_id)
    assert registered_at(run) == {(NAME, "1"): f"models:/{stored}"}
    assert models(run) == {stored}


# The stored model's loss must be the training's: relative to it above 1, absolute below.


class Thousands(Diabetes):
    """The diabetes experiment with targets times 1,000: its losses are tens of thousands."""

    off = 0.0  # relative error added to the stored model's loss

    def load(self, parameters: Any, source: str) -> TableDataset:
        whole = super().load(parameters, source)
        table = whole.table.assign(target=whole.table["target"] * 1000)
        return TableDataset(whole.source, table, whole.target, whole.test)

    def package(self, parameters: Any, dataset: Any, folder: Path, checkpoint: Path) -> Package:
        package = super().package(parameters, dataset, folder, checkpoint)
        return dataclasses.replace(package, loss=lambda model: package.loss(model) * (1 + self.off))


@pytest.mark.slow
@pytest.mark.parametrize("off", [1e-7, -1e-7])
def test_stored_model_with_a_large_loss_off_by_rounding_is_registered(
    store: str, monkeypatch: pytest.MonkeyPatch, off: float
) -> None:
    monkeypatch.setattr(Thousands, "off", off)
    Verb("train", Thousands()).main(["--epochs=1"], Signals())
    run = last_run()
    assert run.data.metrics["val_loss"] > 10_000
    assert abs(off) * run.data.metrics["val_loss"] > publisher.TOLERANCE  # more than the absolute tolerance
    ((_, source),) = registered_at(run).items()
    assert models(run) == {source.removeprefix("models:/")}
    assert run.data.tags["registered_version"] == "1"


@pytest.mark.slow
@pytest.mark.parametrize("off", [1e-4, -1e-4])
def test_stored_model_with_a_large_loss_off_by_more_is_refused_and_deleted(
    store: str, monkeypatch: pytest.MonkeyPatch, off: float
) -> None:
    monkeypatch.setattr(Thousands, "off", off)
    with pytest.raises(RunFailed) as failed:
        Verb("train", Thousands()).main(["--epochs=1"], Signals())
    run = last_run()
    logged = run.data.metrics["val_loss"]
    message = str(failed.value)
    assert message.startswith("the stored model has a validation loss of ")
    assert message.endswith(f", but training logged {logged:.7f}; {ADVICE}")
    assert "\n" not in message
    assert run.info.status == "FAILED"
    assert "registered_version" not in run.data.tags
    assert models(run) == set()
    assert registered_at(run) == {}
    assert mlflow.MlflowClient().search_registered_models() == []


@pytest.mark.parametrize(
    ("logged", "off", "passes"),
    [
        (5000.0, 0.04, True),  # relative 8e-6
        (5000.0, 0.06, False),
        (5000.0, -0.06, False),
        (0.5, 0.9e-5, True),
        (0.5, 1.1e-5, False),
        (0.001, 0.9e-5, True),  # absolute below 1, as rounding errors are
        (0.001, 1.1e-5, False),
        (0.0, 1.1e-5, False),
        (5000.0, float("nan"), False),
        (5000.0, float("inf"), False),
    ],
)
def test_stored_models_loss_within_the_tolerance_passes_and_beyond_is_deleted(
    store: str, monkeypatch: pytest.MonkeyPatch, logged: float, off: float, passes: bool
) -> None:
    deleted: list[str] = []
    monkeypatch.setattr(loader, "load", lambda uri: Plain(np.asarray))
    monkeypatch.setattr(mlflow.MlflowClient, "delete_logged_model", lambda _, model_id: deleted.append(model_id))
    package = Package(None, (float, (-1,)), (float, (-1,)), np.zeros(1), lambda model: logged + off)
    if passes:
        publisher.require_same_loss("m-1", package, logged)
    else:
        with pytest.raises(RunFailed, match=rf"^the stored model has a validation loss .*; {ADVICE}$"):
            publisher.require_same_loss("m-1", package, logged)
    assert deleted == ([] if passes else ["m-1"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("example", "is_predicted"),
    [(np.zeros((2, 10)), True), (np.zeros((2, 10), int), True), (np.zeros((2, 3), np.float32), False)],
)
def test_stored_model_is_loaded_once_and_warned_of_if_it_cannot_predict_its_stored_example(
    store: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    example: np.ndarray,
    is_predicted: bool,
) -> None:
    loaded: list[str] = []
    package, load = Diabetes.package, mlflow.pyfunc.load_model
    monkeypatch.setattr(Diabetes, "package", lambda *args: dataclasses.replace(package(*args), example=example))
    monkeypatch.setattr(mlflow.pyfunc, "load_model", lambda uri, **named: (loaded.append(uri), load(uri, **named))[1])
    Verb("train", Diabetes()).main(["--epochs=1"], Signals())
    warned = "the stored model cannot predict its input example, which package made ("
    assert (warned in capsys.readouterr().err) is not is_predicted
    (model_id,) = models(last_run())
    assert loaded == [f"models:/{model_id}"]
    assert len(registered_at(last_run())) == 1


@pytest.mark.slow
def test_fault_found_by_the_experiment_is_reported_and_the_model_deleted(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(model: Any) -> float:
        raise ValueError("answers twice")

    package = Diabetes.package
    monkeypatch.setattr(Diabetes, "package", lambda *args: dataclasses.replace(package(*args), loss=refuse))
    with pytest.raises(RunFailed, match=r"^the stored model answers twice; nothing is registered"):
        Verb("train", Diabetes()).main(["--epochs=1"], Signals())
    assert models(last_run()) == set()


def test_loss_of_a_packaged_network_is_the_mean_over_its_rows(tmp_path: Path) -> None:
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    network.save(tmp_path / "best.keras")
    rng = np.random.default_rng(0)
    inputs, targets = rng.normal(size=(7, 3)).astype(np.float32), rng.normal(size=(7, 2)).astype(np.float32)
    package = package_keras(tmp_path / "best.keras", (inputs, targets), lambda y, p: ((y - p) ** 2).sum(axis=1))
    assert (package.inputs, package.outputs) == ((np.float32, (-1, 3)), (np.float32, (-1, 2)))
    assert package.example.shape == (2, 3)
    assert not package.example.any()  # no row of the data
    assert package.checked == "the 7 rows of the validation part"
    expected = ((targets - network(inputs).numpy()) ** 2).sum(axis=1).mean()
    assert package.loss(Plain(package.model)) == pytest.approx(expected, rel=1e-6)


class Plain:
    """A network with the interface of a loaded pyfunc model."""

    def __init__(self, network: Callable[[Any], Any]) -> None:
        self.metadata = SimpleNamespace(load_input_example=lambda uri: uri)
        self.predict = lambda inputs: np.asarray(network(inputs))
