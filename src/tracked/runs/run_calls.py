"""Calls about a run that are waited for, and tried again: what a command must know or have said before it goes on."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import mlflow
from mlflow.entities import Metric, RunTag

from tracked.runs.connection import refuses
from tracked.runs.outbox import persist
from tracked.runs.queries import Recorded
from tracked.training.journal import Entry


def get(run_id: str) -> Recorded:
    """Read a run again.

    Raises:
        RunFailed: if the store keeps failing, or there is no such run.
    """
    return persist("reading the run again", partial(mlflow.MlflowClient().get_run, run_id), refuses)


def set_tags(what: str, run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags of a run.

    Args:
        what: what is being done, for an error.

    Raises:
        RunFailed: if the store keeps failing.
    """
    said = [RunTag(name, value) for name, value in tags.items()]
    persist(what, partial(mlflow.MlflowClient().log_batch, run_id, tags=said), refuses)


def end(run_id: str, status: str) -> None:
    """End a run with a status.

    Raises:
        RunFailed: if the store keeps failing.
    """
    persist(f"ending run {run_id}", partial(mlflow.MlflowClient().set_terminated, run_id, status), refuses)


def log_epoch(run_id: str, entry: Entry, values: Mapping[str, float]) -> None:
    """Store some metrics of an epoch.

    Raises:
        RunFailed: if the store keeps failing.
    """
    points = [Metric(name, value, entry.time, entry.epoch) for name, value in values.items()]
    send = partial(mlflow.MlflowClient().log_batch, run_id, metrics=points)
    persist(f"storing epoch {entry.epoch}", send, refuses)


def upload(run_id: str, path: Path, folder: str | None) -> None:
    """Store a file at a run.

    Raises:
        RunFailed: if the store keeps failing.
    """
    send = partial(mlflow.MlflowClient().log_artifact, run_id, str(path), folder)
    persist(f"storing {path.name}", send, refuses)


def list_files(run_id: str, folder: str) -> list[str]:
    """List the paths of what a run has in a folder.

    Raises:
        RunFailed: if the store keeps failing.
    """
    found = persist(
        f"looking for the run's {folder}", partial(mlflow.MlflowClient().list_artifacts, run_id, folder), refuses
    )
    return [file.path for file in found]


def logged_epochs(run: Recorded, metrics: Sequence[str]) -> dict[int, Entry]:
    """What the store has of each epoch.

    Args:
        metrics: those that an epoch has.

    Raises:
        RunFailed: if the store keeps failing.
    """
    client, found = mlflow.MlflowClient(), dict[int, Entry]()
    for name in metrics:
        if name not in run.data.metrics:
            continue
        read = partial(client.get_metric_history, run.info.run_id, name)
        for point in persist(f"reading the epochs of run {run.info.run_id}", read, refuses):
            if point.step:
                entry = found.setdefault(point.step, Entry(point.step, point.timestamp, {}))
                entry.values.setdefault(name, point.value)
    return found
