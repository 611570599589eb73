"""Calls about a run whose result a command needs before it continues, with retries."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import mlflow
from mlflow.entities import Metric, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from tracked.console.lines import retold
from tracked.console.secrets import hide_in_addresses
from tracked.runs.outbox import with_retries
from tracked.runs.queries import MlflowRun
from tracked.training.journal import Entry


def get(run_id: str) -> MlflowRun:
    """Read a run again.

    Raises:
        RunFailed: if the store keeps failing, or the run does not exist.
    """
    return with_retries("reading the run again", partial(mlflow.MlflowClient().get_run, run_id))


def set_tags(what: str, run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags of a run, without secrets in addresses.

    Args:
        what: the work, as an error names it.

    Raises:
        RunFailed: if the store keeps failing.
    """
    run_tags = [RunTag(name, hide_in_addresses(value)) for name, value in tags.items()]
    with_retries(what, partial(mlflow.MlflowClient().log_batch, run_id, tags=run_tags))


def describe(run_id: str, markdown: str) -> None:
    """Set a run's description.

    Raises:
        RunFailed: if the store keeps failing.
    """
    set_tags("describing the run", run_id, {MLFLOW_RUN_NOTE: markdown})


def end(run_id: str, status: str) -> None:
    """End a run with a status.

    Raises:
        RunFailed: if the store keeps failing.
    """
    with retold():  # MLflow prints the run's address
        with_retries(f"ending run {run_id}", partial(mlflow.MlflowClient().set_terminated, run_id, status))


def log_epoch(run_id: str, entry: Entry, values: Mapping[str, float]) -> None:
    """Log some metrics of an epoch.

    Raises:
        RunFailed: if the store keeps failing.
    """
    points = [Metric(name, value, entry.time, entry.epoch) for name, value in values.items()]
    send = partial(mlflow.MlflowClient().log_batch, run_id, metrics=points)
    with_retries(f"storing epoch {entry.epoch}", send)


def upload(run_id: str, path: Path, folder: str | None) -> None:
    """Log a file as an artifact.

    Raises:
        RunFailed: if the store keeps failing.
    """
    send = partial(mlflow.MlflowClient().log_artifact, run_id, str(path), folder)
    with_retries(f"storing {path.name}", send)


def list_files(run_id: str, folder: str) -> list[str]:
    """List the paths of the artifacts in a folder of a run.

    Raises:
        RunFailed: if the store keeps failing.
    """
    files = with_retries(
        f"looking for the run's {folder}",
        partial(mlflow.MlflowClient().list_artifacts, run_id, folder),
    )
    return [file.path for file in files]


def logged_epochs(run: MlflowRun, metrics: Sequence[str]) -> dict[int, Entry]:
    """Read the logged epochs.

    Args:
        metrics: the metrics of an epoch.

    Raises:
        RunFailed: if the store keeps failing.
    """
    client, entries = mlflow.MlflowClient(), dict[int, Entry]()
    for name in metrics:
        if name not in run.data.metrics:
            continue
        read = partial(client.get_metric_history, run.info.run_id, name)
        for point in with_retries(f"reading the epochs of run {run.info.run_id}", read):
            if point.step:
                entry = entries.setdefault(point.step, Entry(point.step, point.timestamp, {}))
                entry.values.setdefault(name, point.value)
    return entries
