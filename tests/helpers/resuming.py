"""Interrupt and resume trainings in the test's process, and compare them with an uninterrupted one."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import Run

from helpers import SRC
from helpers.runs import SignalAfter, last_run, points, run_train, table
from helpers.verbs import train
from tracked.console.errors import Interrupted
from tracked.console.signals import Signals
from tracked.training import run_folder
from tracked.training.snapshots import Snapshots

ARGUMENTS = ["--patience=3", "--epochs=60"]  # on the noisy reviews it stops after epoch 5 and keeps epoch 2


def metrics(run: Run) -> dict[str, dict[int, float]]:
    """Read all metrics by name and step, except the seconds of an epoch."""
    return {name: points(run, name) for name in run.data.metrics if name != "epoch_seconds"}


def break_off(data: Path, epochs: int, *arguments: str) -> Run:
    """Interrupt a training in the epoch after ``epochs``: signals are checked at the start and twice an epoch."""
    with pytest.raises(Interrupted):
        run_train(f"--data={data}", *(arguments or ARGUMENTS), signals=SignalAfter(2 + 2 * epochs))
    assert last_epoch(last_run()) == epochs
    return last_run()


def last_epoch(run: Run) -> int:
    return Snapshots(folder(run)).last_epoch


def folder(run: Run, experiment: str = "imdb-conv1d") -> Path:
    return run_folder.find_root(experiment, mlflow.get_tracking_uri()) / run.info.run_id


def resume(*arguments: str, signals: Signals | None = None) -> None:
    train.main(arguments, signals or Signals())


def assert_same_run(run: Run, uninterrupted: dict[str, dict[int, float]]) -> None:
    """Assert that a run equals the uninterrupted one: every epoch once, every bit, one version.

    Args:
        uninterrupted: its metrics, by name and step.
    """
    run = mlflow.get_run(run.info.run_id)
    assert metrics(run) == uninterrupted
    assert set(points(run, "epoch_seconds")) == set(uninterrupted["val_loss"])
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "val_loss")
    times = [point.timestamp for point in history]
    assert times == sorted(times)
    assert (run.info.status, run.data.tags["stop_reason"]) == ("FINISHED", "patience")
    assert "error" not in run.data.tags
    (version,) = mlflow.MlflowClient().search_model_versions(f"run_id = '{run.info.run_id}'")
    assert run.data.tags["registered_version"] == str(version.version)
    assert list(table(run, "history.csv")["epoch"]) == list(uninterrupted["val_loss"])
    assert list(table(run, "early_stopping.csv")["event"])[-1] == "stopped"
    assert not folder(run).exists()


def unended(data: Path) -> Run:
    """Make a training whose process died just before it ended the run."""
    run_train(f"--data={data}", "--epochs=1")
    run = last_run()
    mlflow.MlflowClient().update_run(run.info.run_id, status="RUNNING")
    return run


@contextmanager
def holding(run: Run) -> Iterator["subprocess.Popen[str]"]:
    """Hold the run folder in another process."""
    code = (
        f"import sys; sys.path.insert(0, {str(SRC)!r})\n"
        "from pathlib import Path\nfrom tracked.training.run_folder_lock import RunFolderLock\n"
        f"with RunFolderLock() as lock:\n  lock.take(Path({str(folder(run))!r}))\n"
        "  print('held', flush=True)\n  input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()
