"""A server behind a proxy: a path prefix, a certificate authority of one's own, and uploads that are cut."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import pytest

from helpers.certificates import make_server_context
from helpers.proxy import Proxy
from helpers.resuming import folder
from helpers.runs import last_run
from helpers.servers import mlflow_server
from helpers.trainings import Trainings
from tracked.console.errors import RunFailed, UserError
from tracked.runs import writer

pytestmark = pytest.mark.slow
Through = Callable[..., Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("server")) as uri:
        yield uri


@pytest.fixture
def through(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Through]:
    """Choose a proxy as the tracking server, with an MLflow experiment of the test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", request.node.name)
    monkeypatch.chdir(tmp_path)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # a system's own authorities
        monkeypatch.delenv(name, raising=False)
    mlflow.set_tracking_uri(server)
    mlflow.create_experiment(request.node.name)

    @contextmanager
    def choose(**options: Any) -> Iterator[Proxy]:
        with Proxy(server, **options) as proxy:
            mlflow.set_tracking_uri(proxy.uri)
            monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.uri)
            yield proxy

    yield choose
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(None)


def test_training_and_resume_below_a_path_prefix(through: Through, trainings: Trainings) -> None:
    with through(prefix="/team/mlflow") as proxy:
        trainings.train()
        trainings.assert_same_run(last_run())
        assert {request.path.split("/")[1] for request in proxy.seen} <= {"api", "version"}
        mlflow.set_tracking_uri(proxy.uri.removesuffix("/mlflow"))
        with pytest.raises(UserError, match=r"^MLFLOW_TRACKING_URI: 'http://[0-9.:]+/team' does not answer"):
            trainings.train()


def test_server_with_a_static_prefix_is_addressed_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trainings: Trainings
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with mlflow_server(tmp_path, prefix="/mlflow") as uri:
        assert uri.endswith("/mlflow")
        mlflow.set_tracking_uri(uri)
        trainings.train()
        trainings.assert_same_run(last_run())
        mlflow.set_tracking_uri(None)


def test_authority_of_ones_own_is_named_by_mlflows_setting(
    through: Through, trainings: Trainings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls, authority = make_server_context(tmp_path)
    with through(tls=tls) as proxy:
        with pytest.raises(UserError, match=r"^MLFLOW_TRACKING_SERVER_CERT_PATH: the certificate of") as error:
            trainings.train()
        assert "\n" not in str(error.value)
        assert proxy.seen == []
        monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(authority))
        trainings.train()
        trainings.assert_same_run(last_run())
        monkeypatch.delenv("MLFLOW_TRACKING_SERVER_CERT_PATH")
        monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
        trainings.train()
        trainings.assert_same_run(last_run())


def test_upload_that_a_proxy_cuts_is_told_at_once_and_completed_by_a_resume(
    through: Through, trainings: Trainings, capsys: pytest.CaptureFixture[str]
) -> None:
    """The proxy's limit is raised before the resume, as its administrator would."""
    with through(max_body=10_000) as proxy:
        begun = time.monotonic()
        with pytest.raises(RunFailed, match=r"missing in run [0-9a-f]{32}: rows.parquet; best.keras"):
            trainings.train()
        assert time.monotonic() - begun < writer.PATIENCE
        run = last_run()
        told = capsys.readouterr().err
        assert "MLflow refuses rows.parquet (413 Client Error: Request Entity Too Large" in told
        assert f"kept in {folder(run, 'diabetes')}" in told
        assert "history.csv" in {item.path for item in mlflow.MlflowClient().list_artifacts(run.info.run_id)}
        assert not mlflow.MlflowClient().search_model_versions(f"run_id = '{run.info.run_id}'")
        proxy.max_body = 0
        trainings.resume(f"--resume={run.info.run_id}")
        trainings.assert_same_run(run)
