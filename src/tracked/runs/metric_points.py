"""Read the points of a metric, of many runs at a time."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias

import mlflow
from mlflow.entities import Metric
from mlflow.entities.metric import MetricWithRunId
from mlflow.utils.rest_utils import http_request, verify_rest_response

from tracked.console.lines import format_count
from tracked.runs.outbox import with_retries

MAX_POINTS = 200_000  # of one query
INFINITE = 1.797e308  # MLflow stores an infinite value as the largest finite one
# A server answers its own pages for many runs at a time, with these limits.
SERVER_PAGES = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
SERVER_RUNS, SERVER_POINTS = 100, 25_000
ABSENT = (401, 403, 404, 405)  # a gateway or another server has no such page, or shows it to browsers alone
Query: TypeAlias = Callable[[Sequence[str], str, int], Sequence[MetricWithRunId] | None]


def read_points(run_ids: Sequence[str], metric: str) -> dict[str, list[Metric]]:
    """Read the points of a metric, in any order, by run id.

    For one run, SQLite scans the points of all runs, unless it has statistics, and a server takes a request for each.
    So a store is queried for many runs at a time, which MLflow's database and server can and its client cannot.
    """
    store = getattr(getattr(mlflow.MlflowClient(), "_tracking_client", None), "store", None)  # private to MLflow
    if of_many := getattr(store, "get_metric_history_bulk", None):
        return _read(of_many, run_ids, metric, MAX_POINTS)
    if credentials := getattr(store, "get_host_creds", None):
        points: dict[str, list[Metric]] = {}
        for start in range(0, len(run_ids), SERVER_RUNS):
            query = partial(_ask_server, credentials)
            points |= _read(query, run_ids[start : start + SERVER_RUNS], metric, SERVER_POINTS)
        return points
    return _read_alone(run_ids, metric)


def _read_alone(run_ids: Sequence[str], metric: str) -> dict[str, list[Metric]]:
    read = mlflow.MlflowClient().get_metric_history
    return {one: with_retries(f"reading {metric} of run {one}", partial(read, one, metric)) for one in run_ids}


def _read(query: Query, run_ids: Sequence[str], metric: str, most: int) -> dict[str, list[Metric]]:
    """Read with a query that answers at most so many points, by halves where there are more."""
    if len(run_ids) == 1:
        return _read_alone(run_ids, metric)
    what = f"reading {metric} of {format_count(len(run_ids), 'run')}"
    with _without_collector():
        rows = with_retries(what, partial(query, run_ids, metric, most))
    if rows is None:
        return _read_alone(run_ids, metric)
    if len(rows) == most:
        middle = len(run_ids) // 2
        return _read(query, run_ids[:middle], metric, most) | _read(query, run_ids[middle:], metric, most)
    points: dict[str, list[Metric]] = {run_id: [] for run_id in run_ids}
    for row in rows:
        points[row.run_id].append(row)
    return points


def _ask_server(
    credentials: Callable[[], Any], run_ids: Sequence[str], metric: str, most: int
) -> list[MetricWithRunId] | None:
    """Ask a server for the points of many runs; None if it does not answer such a question."""
    asked = [*(("run_id", run_id) for run_id in run_ids), ("metric_key", metric), ("max_results", most)]
    response = http_request(credentials(), SERVER_PAGES, "GET", params=asked)
    if response.status_code in ABSENT:
        return None
    rows = verify_rest_response(response, SERVER_PAGES).json()["metrics"]
    return [
        MetricWithRunId(Metric(row["key"], row["value"], row["timestamp"], row["step"]), row["run_id"]) for row in rows
    ]


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
