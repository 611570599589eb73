"""The verb unfinished: what it lists and what it closes."""

import json
import os
import socket
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import Run

import unfinished
from conftest import TINY
from imdb_conv1d.config import TrainParameters
from imdb_conv1d.console import Interrupted, Signals, UserError
from imdb_conv1d.trainings import stand
from test_resume import break_off, folder, holding, resume
from test_train import SignalAfter, artifacts, last_run, run_train


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    unfinished.main(arguments, Signals())
    return capsys.readouterr().out


def test_it_lists_each_with_its_last_epoch_and_how_it_goes_on(
    store: str, noisy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert listed(capsys) == "no training in the experiment Default is unfinished\n"
    run_train(f"--data={noisy}", "--epochs=1")
    run = break_off(noisy, 2)
    first, second, third = listed(capsys).splitlines()
    assert first == f"{run.info.run_id}  {run.info.run_name}"
    assert second.endswith(", last epoch 2, status KILLED; dead, stop_reason interrupted")
    assert third == f"    goes on with: --resume {run.info.run_id}"
    assert len(mlflow.search_runs(["0"], output_format="list")) == 2  # none of its own


def test_one_that_is_worked_on_is_alive_and_is_not_closed(
    store: str, noisy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = break_off(noisy, 1)
    with holding(run) as process:
        text = listed(capsys, "--close=dead")
        assert f"alive: process {process.pid} on host {socket.gethostname()}" in text
        assert "goes on with" not in text
        assert mlflow.get_run(run.info.run_id).data.tags["stop_reason"] == "interrupted"
        with pytest.raises(
            UserError, match=rf"^close: '{run.info.run_id}' is not allowed; allowed: a training that no"
        ):
            unfinished.main(["--close", run.info.run_id], Signals())
    assert folder(run).exists()


def died(run: Run) -> None:
    """As a process leaves its run that is killed: no status, no reason."""
    client = mlflow.MlflowClient()
    client.update_run(run.info.run_id, status="RUNNING")
    client.delete_tag(run.info.run_id, "stop_reason")


def test_a_dead_one_does_not_stay_running_for_ever(store: str, noisy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    older, newer = break_off(noisy, 1), break_off(noisy, 2)
    died(older)
    assert "status RUNNING; dead, stop_reason unknown" in listed(capsys)
    assert f"closed {older.info.run_id} as KILLED, after epoch 1" in listed(capsys, "--close", older.info.run_id)
    found = mlflow.get_run(older.info.run_id)
    assert (found.info.status, found.data.tags["stop_reason"], stand(found)) == ("KILLED", "closed", "interrupted")
    assert found.data.tags["closed_from"] == "unknown"
    assert {"journal.jsonl", "checkpoint/best.keras"} <= artifacts(found)
    assert not folder(older).exists()
    assert folder(newer).exists()
    assert older.info.run_id not in listed(capsys)
    # It can still be asked for by its id, and begins at epoch 1.
    with pytest.raises(Interrupted):
        resume("--resume", older.info.run_id, signals=SignalAfter(2))
    assert "closed " in listed(capsys, "--close=dead")
    assert listed(capsys) == "no training in the experiment Default is unfinished\n"


def test_one_whose_version_is_registered_is_closed_as_finished(
    store: str, noisy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_train(f"--data={noisy}", "--epochs=1")
    run = last_run()
    mlflow.MlflowClient().update_run(run.info.run_id, status="RUNNING")
    assert stand(mlflow.get_run(run.info.run_id)) == "finished"
    assert f"closed {run.info.run_id} as FINISHED" in listed(capsys, "--close=dead")
    assert mlflow.get_run(run.info.run_id).data.tags["stop_reason"] == "epochs"


def test_what_mlflow_run_wrote_over_is_told_by_the_tag(
    store: str, noisy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = break_off(noisy, 1)
    mlflow.MlflowClient().set_terminated(
        run.info.run_id, "FINISHED"
    )  # a child that exited with 0, as mlflow run sees it
    assert "status FINISHED; dead, stop_reason interrupted" in listed(capsys)


def test_one_that_mlflow_run_has_made_and_not_begun_may_live(
    store: str, noisy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client = mlflow.MlflowClient()
    made = client.create_run("0", tags={"mlflow.project.entryPoint": "main"})
    for name, value in TrainParameters.parse(TINY).spelled().items():
        client.log_param(made.info.run_id, name, value)
    client.create_run("0", tags={"mlflow.project.entryPoint": "main"})  # of another project
    client.create_run("0", tags={"mlflow.project.entryPoint": "evaluate"})
    text = listed(capsys, "--close=dead")
    assert "not known here whether it lives" in text
    assert text.count("\n") == 3
    assert client.get_run(made.info.run_id).info.status == "RUNNING"
    assert "closed" in listed(capsys, "--close", made.info.run_id)
    assert client.get_run(made.info.run_id).info.status == "KILLED"


def test_one_that_has_just_begun_lives(store: str, noisy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Between the run's creation and its folder's: the process is known by what the run was begun with."""
    told = {"pid": os.getpid(), "host": socket.gethostname(), "snapshots": "", "parameters": {}}
    made = mlflow.MlflowClient().create_run("0", tags={"verb": "train", "launch": json.dumps(told)})
    assert f"alive: process {os.getpid()} on host" in listed(capsys, "--close=dead")
    with pytest.raises(UserError, match=rf"a training that no process works on: process {os.getpid()}"):
        resume("--resume", made.info.run_id)
    assert mlflow.get_run(made.info.run_id).info.status == "RUNNING"


def test_a_mistake_is_said(store: str, noisy: Path) -> None:
    with pytest.raises(
        UserError, match="close: 'all' is not allowed; allowed: no, dead, or the run id of an unfinished"
    ):
        unfinished.main(["--close=all"], Signals())
    with pytest.raises(UserError, match="experiment: 'none' is not allowed"):
        unfinished.main(["--experiment=none"], Signals())


def test_under_mlflow_run_its_run_says_what_it_is(
    store: str, noisy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = mlflow.MlflowClient().create_run("0", tags={"mlflow.project.entryPoint": "unfinished"})
    monkeypatch.setenv("MLFLOW_RUN_ID", made.info.run_id)
    assert "is unfinished" in listed(capsys)
    assert mlflow.get_run(made.info.run_id).data.tags["verb"] == "unfinished"
