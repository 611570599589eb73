"""tidy on a real server with users: an administrator's removes artifacts, another user's run folders alone."""

from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from diabetes import Diabetes
from helpers.team import AuthServer, basic_auth_server
from helpers.tidying import MadeUp
from helpers.verbs import Verb
from tracked.console.signals import Signals

pytestmark = [pytest.mark.slow, pytest.mark.needs("Team")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthServer]:
    with basic_auth_server(tmp_path_factory.mktemp("team") / "server") as started:
        for user in ("ann", "bob"):
            started.add_user(user)
        yield started


def become(server: AuthServer, user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment(user).items():
        monkeypatch.setenv(name, value)
    mlflow.set_tracking_uri(server.uri)


def test_only_an_administrator_removes_artifacts_and_a_hidden_version_keeps_its_model(
    server: AuthServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DIABETES_SNAPSHOTS", str(tmp_path / "snapshots"))
    become(server, "ann", monkeypatch)
    place = mlflow.MlflowClient().create_experiment("of ann")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", place)
    made = MadeUp(tmp_path / "snapshots", place)
    registered, *_ = made.registered()
    folder = made.folder(registered)
    free, used = made.closed(), made.closed()
    model_id = made.model(used)
    become(server, "bob", monkeypatch)
    made.version(used, f"models:/{model_id}", "of bob")
    server.grant("ann", "registered_model", "of bob", "NO_PERMISSIONS")
    trained = {"history.csv", "checkpoint/best.keras", "data/rows.parquet"}

    become(server, "ann", monkeypatch)
    assert "of bob" not in {version.name for version in mlflow.MlflowClient().search_model_versions()}
    Verb("tidy", Diabetes()).main(["--keep=0", "--yes=true"], Signals())
    assert made.files(free) == made.files(used) == trained
    assert not folder.exists()
    assert "only run folders are looked at: user ann may not read everything" in capsys.readouterr().out

    become(server, "admin", monkeypatch)
    Verb("tidy", Diabetes()).main(["--keep=0", "--yes=true"], Signals())
    assert made.files(free) == {"history.csv"}
    assert made.files(used) == trained
    become(server, "bob", monkeypatch)
    assert Path(mlflow.artifacts.download_artifacts("models:/of bob/1"), "MLmodel").exists()
