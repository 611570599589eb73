"""Read the points of a metric, of many runs at a time."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import mlflow
from mlflow.entities import Metric

from tracked.console.lines import format_count
from tracked.runs.outbox import with_retries

MAX_POINTS = 200_000  # of one query


def read_points(run_ids: Sequence[str], metric: str) -> dict[str, list[Metric]]:
    """Read the points of a metric, in any order, by run id.

    For one run, SQLite scans the points of all runs, unless it has statistics. So a database is queried for many runs
    at a time, which MLflow's store can and its client cannot.
    """
    client = mlflow.MlflowClient()
    store = getattr(getattr(client, "_tracking_client", None), "store", None)  # private to MLflow
    of_many = getattr(store, "get_metric_history_bulk", None)  # absent over HTTP
    if of_many is None or len(run_ids) == 1:
        return {
            run_id: with_retries(
                f"reading {metric} of run {run_id}",
                partial(client.get_metric_history, run_id, metric),
            )
            for run_id in run_ids
        }
    what = f"reading {metric} of {format_count(len(run_ids), 'run')}"
    with _without_collector():
        rows = with_retries(what, partial(of_many, run_ids, metric, MAX_POINTS))
    if len(rows) == MAX_POINTS:
        middle = len(run_ids) // 2
        return read_points(run_ids[:middle], metric) | read_points(run_ids[middle:], metric)
    points: dict[str, list[Metric]] = {run_id: [] for run_id in run_ids}
    for row in rows:
        points[row.run_id].append(row)
    return points


@contextmanager
def _without_collector() -> Iterator[None]:
    """Disable Python's cycle collector, which takes half of the time on a hundred thousand new objects."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
