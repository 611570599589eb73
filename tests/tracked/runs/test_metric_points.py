"""Points of many runs from a real server, by its page for many runs and by a request for each."""

import math
from collections.abc import Iterator

import mlflow
import pytest
from mlflow.entities import Metric

from helpers.recording import record
from helpers.servers import mlflow_server
from tracked.runs import metric_points
from tracked.runs.metric_points import read_points

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of its own."""
    with mlflow_server(tmp_path_factory.mktemp("server")) as uri:
        yield uri
        mlflow.set_tracking_uri(None)


def show(found: dict[str, list[Metric]]) -> dict[str, list[tuple[int, int, str]]]:
    return {run: sorted((p.step, p.timestamp, repr(p.value)) for p in points) for run, points in found.items()}


def test_server_gives_the_points_of_many_runs_at_once_as_it_gives_those_of_each(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow.set_tracking_uri(server)
    runs = [record([0.5, math.nan, 0.4 - n / 100, *[0.6] * n]) for n in range(5)]
    runs += [record([0.5, math.inf, -math.inf]), record([], {"patience": 1})]
    alone = show({run: read_points([run], "val_loss")[run] for run in runs})
    assert [len(points) for points in alone.values()] == [3, 4, 5, 6, 7, 3, 0]
    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "get_metric_history", lambda *_: pytest.fail("asked of one run"))
        assert show(read_points(runs, "val_loss")) == alone
        patch.setattr(metric_points, "SERVER_RUNS", 4)
        assert show(read_points(runs, "val_loss")) == alone
    asked = []
    request = metric_points.http_request

    def count(*arguments: object, **more: object) -> object:
        asked.append(arguments)
        return request(*arguments, **more)

    monkeypatch.setattr(metric_points, "http_request", count)
    monkeypatch.setattr(metric_points, "SERVER_POINTS", 9)  # so that some answers are cut, and read by halves
    assert show(read_points(runs, "val_loss")) == alone
    assert len(asked) > 1
    monkeypatch.setattr(metric_points, "SERVER_PAGES", "/ajax-api/2.0/mlflow/metrics/no-such-page")
    assert show(read_points(runs, "val_loss")) == alone
