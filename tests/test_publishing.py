"""What others make from a training's run, and what its completion makes of it: both are there afterwards."""

from pathlib import Path
from typing import Any

import keras
import mlflow
import pytest
from mlflow.entities import Run

from resuming import assert_same_run, break_off, folder, metrics, resume
from test_train import last_run, run_train, versions
from tracked.console.errors import RunFailed
from tracked.models import publisher
from tracked.reports import training_report

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
