"""A real MLflow server behind a proxy that injects faults: nothing is lost or logged twice."""

import json
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.entities import Run
from sklearn.datasets import load_diabetes

from diabetes import Diabetes
from helpers.proxy import Fault, Proxy, Request
from helpers.servers import mlflow_server
from helpers.trainings import Trainings
from tracked.console.errors import RunFailed, UserError
from tracked.console.signals import Signals
from tracked.models import publisher
from tracked.predict.journal import Journal
from tracked.runs import context, outbox, writer
from tracked.verbs import predict

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("server")) as uri:
        yield uri


@pytest.fixture
def proxy(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Proxy]:
    """The proxy as the test's tracking server, with an MLflow experiment; snapshots are in the test's folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", request.node.name)
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(server)
    mlflow.create_experiment(request.node.name)
    with Proxy(server) as made:
        mlflow.set_tracking_uri(made.uri)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", made.uri)
        yield made
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(None)


def experiment() -> str:
    """This test's MLflow experiment."""
    return os.environ["MLFLOW_EXPERIMENT_NAME"]


def only_run(server: str, name: str) -> Run:
    """Read the experiment's only run from the server itself; a second one would be an orphan."""
    mlflow.set_tracking_uri(server)
    (run,) = mlflow.search_runs(experiment_names=[name], output_format="list")
    models = mlflow.search_logged_models([run.info.experiment_id], output_format="list")
    assert len([model for model in models if str(model.status) == "READY"]) == len(models) <= 1
    return run


def epochs_sent(proxy: Proxy) -> list[int]:
    """List the steps of val_loss in the order of arrival at the proxy, without repeated attempts."""
    sent = [
        point["step"]
        for request in proxy.seen
        if request.path.endswith("/runs/log-batch")
        for point in request.json.get("metrics", [])
        if point["key"] == "val_loss"
    ]
    return [step for place, step in enumerate(sent) if step not in sent[:place]]


def test_train_without_a_server_fails_within_10_seconds(proxy: Proxy, trainings: Trainings, server: str) -> None:
    proxy.go()
    begun = time.monotonic()
    for call in (trainings.train, lambda: trainings.resume("--resume=latest")):
        with pytest.raises(UserError, match=r"^MLFLOW_TRACKING_URI: 'http://127.0.0.1:\d+' does not answer") as error:
            call()
        assert "\n" not in str(error.value)
    assert time.monotonic() - begun < 20
    mlflow.set_tracking_uri(server)
    assert mlflow.search_runs(experiment_names=[experiment()], output_format="list") == []


def test_server_lost_during_training_gets_everything_afterwards_in_order(
    proxy: Proxy, trainings: Trainings, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is gone until the last epoch is trained; the training does not wait."""
    epoch, ended = writer.Run.log_epoch, []

    def note(self: writer.Run, step: int, milliseconds: int, values: Any) -> None:
        ended.append((step, milliseconds))
        epoch(self, step, milliseconds, values)
        if step == 2:
            time.sleep(0.3)  # these two arrive
            proxy.go()
        if step == 25:
            proxy.come_back()

    monkeypatch.setattr(writer.Run, "log_epoch", note)
    trainings.train("--epochs=25", "--patience=1000")
    run = only_run(server, experiment())
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "val_loss")
    assert [(point.step, point.timestamp) for point in history] == ended
    assert [step for step, _ in ended] == list(range(1, 26))
    assert epochs_sent(proxy) == list(range(1, 26))
    assert run.info.status == "FINISHED"


@pytest.mark.parametrize(
    ("trainings", "moment"),
    [("diabetes", "flushes"), ("imdb", "registers"), ("diabetes", "ends")],
    indirect=["trainings"],
)
def test_server_lost_at_the_end_leaves_a_command_that_completes_the_run(
    proxy: Proxy, trainings: Trainings, server: str, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    owner, name = {
        "flushes": (writer.Run, "flush"),
        "registers": (publisher, "register"),
        "ends": (writer.Run, "close"),
    }[moment]
    function = getattr(owner, name)

    def go_first(*arguments: Any, **named: Any) -> Any:
        proxy.go()
        return function(*arguments, **named)

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    before = set(threading.enumerate())
    with monkeypatch.context() as patch:
        patch.setattr(writer.Run.flush, "__defaults__", (1.0,))  # before go_first may take its place
        patch.setattr(owner, name, go_first)
        patch.setattr(outbox.with_retries, "__defaults__", (outbox.is_permanent_error, 1.0, (0.2,)))
        patch.setattr(context, "PATIENCE_AFTER_ERROR", 1.0)
        with pytest.raises(RunFailed) as error:
            trainings.train()
    for thread in set(threading.enumerate()) - before:  # they end with a process
        if thread.name == "outbox":
            thread.join(30)
    (resume_note,) = error.value.__notes__
    assert resume_note.startswith("to resume: ")
    proxy.come_back()
    mlflow.set_tracking_uri(proxy.uri)
    trainings.resume(*resume_note.split()[-2:])
    trainings.assert_same_run(only_run(server, experiment()))


@pytest.mark.parametrize("trainings", ["diabetes"], indirect=True)
def test_server_lost_while_rows_are_answered_costs_no_answer(
    proxy: Proxy, trainings: Trainings, server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trainings.train()
    load_diabetes(as_frame=True).frame.to_csv("rows.csv", index=False)
    note = Journal.note

    def go_first(self: Journal, **event: Any) -> None:
        proxy.go()
        note(self, **event)

    def run() -> None:
        model = f"models:/{Diabetes.name}@candidate"
        words = [f"--model={model}", "--data=rows.csv", "--output=out", "--part_rows=100"]
        predict.main(Diabetes(), words, Signals())

    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        patch.setattr(writer.Run.flush, "__defaults__", (1.0,))
        patch.setattr(outbox.with_retries, "__defaults__", (outbox.is_permanent_error, 1.0, (0.2,)))
        patch.setattr(context, "PATIENCE_AFTER_ERROR", 1.0)
        patch.setattr(Journal, "note", go_first)
        with pytest.raises(RunFailed) as error:
            run()
    assert "\n" not in str(error.value)
    assert error.value.__notes__ == ["what was done is kept: the same command resumes it"]
    written = {path.name: path.stat().st_mtime_ns for path in Path("out").glob("part-*")}
    assert len(written) == 5
    proxy.come_back()
    run()
    assert {path.name: path.stat().st_mtime_ns for path in Path("out").glob("part-*")} == written
    mlflow.set_tracking_uri(server)
    (found,) = mlflow.search_runs(
        experiment_names=[experiment()], filter_string="tags.verb = 'predict'", output_format="list"
    )
    assert (found.info.status, found.data.metrics["answered_rows"]) == ("FINISHED", 442)
    assert json.loads(Path("out/manifest.json").read_text())["run_id"] == found.info.run_id


def acts(request: Request) -> bool:
    """Check whether a request changes the store or the registry."""
    return request.method != "GET" and "/mlflow/" in request.path and "search" not in request.path


def first_of_each_kind(fault: Fault, which: Callable[[Request], bool] = lambda request: True) -> Any:
    return lambda request: fault if request.number == 1 and which(request) else None


FAULTS = {
    "answers 500": (
        Fault(status=500),
        lambda request: "experiments/search" not in request.path,
    ),  # the first request's failure is reported
    "cuts its answers off after having acted": (Fault(cut=True), acts),
    "answers after the client has given up": (Fault(seconds=1.5, after=True), acts),
}


@pytest.mark.parametrize(
    ("trainings", "name"),
    [("imdb" if name == "answers 500" else "diabetes", name) for name in FAULTS],
    indirect=["trainings"],
)
def test_train_completes_if_the_first_request_of_each_kind_meets(
    proxy: Proxy, trainings: Trainings, server: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    if "given up" in name:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    proxy.fault = first_of_each_kind(*FAULTS[name])
    trainings.train()
    met = {kind for kind, _ in proxy.faults}
    assert {
        "POST /api/2.0/mlflow/runs/create", "POST /api/2.0/mlflow/runs/log-batch",
        "POST /api/2.0/mlflow/model-versions/create", "POST /api/2.0/mlflow/runs/update",
        "POST /api/2.0/mlflow/registered-models/alias", "POST /api/2.0/mlflow/logged-models",
    } <= met  # fmt: skip
    proxy.fault = lambda request: None
    run = only_run(server, experiment())
    trainings.assert_same_run(run)
    assert epochs_sent(proxy) == list(trainings.uninterrupted["val_loss"])


def test_slow_server_delays_no_epoch(
    proxy: Proxy, trainings: Trainings, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first epoch's metrics are answered only after the third epoch: a training that waits would hang."""
    epoch, third, waited = writer.Run.log_epoch, threading.Event(), []

    def note(self: writer.Run, step: int, milliseconds: int, values: Any) -> None:
        epoch(self, step, milliseconds, values)
        if step == 3:
            third.set()

    def slow(request: Request) -> Fault | None:
        if "log-batch" in request.path and b"val_loss" in request.body:
            waited.append(third.wait(60))
        return Fault(seconds=0.1)

    monkeypatch.setattr(writer.Run, "log_epoch", note)
    proxy.fault = slow
    trainings.train()
    assert waited
    assert all(waited)
    proxy.fault = lambda request: None
    trainings.assert_same_run(only_run(server, experiment()))


@pytest.mark.parametrize("seed", [1])
def test_train_with_faults_at_every_fifth_request_and_an_interruption_completes(
    proxy: Proxy, trainings: Trainings, server: str, seed: int
) -> None:
    """Random faults; a training that gives up is resumed, as a user would do."""
    chance = random.Random(seed)
    kinds = [Fault(status=500), Fault(cut=True), Fault(seconds=0.2)]
    proxy.fault = lambda request: chance.choice(kinds) if chance.random() < 0.2 else None
    begun = False
    for _ in range(12):
        try:
            if not begun:
                trainings.train()
            else:
                trainings.resume("--resume=latest")
            break
        except UserError as error:
            if "no resumable run in experiment" in str(error):
                break  # the training had finished
            if not re.search("does not answer|no run can begin|cannot be found", str(error)):
                raise
        except RunFailed:
            pass
        mlflow.set_tracking_uri(server)
        begun = bool(mlflow.search_runs(experiment_names=[experiment()], output_format="list"))
        mlflow.set_tracking_uri(proxy.uri)
    assert len(proxy.faults) > 5
    proxy.fault = lambda request: None
    trainings.assert_same_run(only_run(server, experiment()))


def test_proxy_applies_each_fault(proxy: Proxy, server: str) -> None:
    """The tests above rely on these faults."""
    client = mlflow.MlflowClient(server)
    made = client.create_run(client.get_experiment_by_name(experiment()).experiment_id)
    behind = mlflow.MlflowClient(proxy.uri)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        proxy.fault = first_of_each_kind(Fault(status=500))
        with pytest.raises(mlflow.MlflowException, match="500"):
            behind.set_tag(made.info.run_id, "a", "1")
        assert "a" not in client.get_run(made.info.run_id).data.tags
        proxy.fault = lambda request: Fault(cut=True)
        with pytest.raises(mlflow.MlflowException, match=r"Connection|aborted"):
            behind.set_tag(made.info.run_id, "b", "1")
        assert client.get_run(made.info.run_id).data.tags["b"] == "1"
        proxy.go()
        with pytest.raises(mlflow.MlflowException, match="refused"):
            behind.set_tag(made.info.run_id, "c", "1")
        proxy.come_back()
        proxy.fault = lambda request: None
        behind.set_tag(made.info.run_id, "d", "1")
    assert client.get_run(made.info.run_id).data.tags["d"] == "1"
    assert json.loads(proxy.seen[-1].body)["key"] == "d"
