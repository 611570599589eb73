"""A training on a server that asks for credentials leaves none of them anywhere, however it ends."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from helpers.proxy import Fault, Proxy, Request
from helpers.secretive import SCRIPT, USER, WAYS, Secretive, ask, make_secret
from helpers.servers import mlflow_server

pytestmark = pytest.mark.slow
SHORT = ("train", "--epochs=3")
LONG = ("train", "--epochs=100000", "--patience=100000")
BUG = f"""
import os, sys
sys.path.insert(0, {str(SCRIPT.parent)!r})
from diabetes import Diabetes
from tracked.verbs import command
class Broken(Diabetes):
    def build(self, *arguments):
        raise KeyError(f"no such layer in {{dict(os.environ)}}")
command.run(Broken())
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("server")
    with mlflow_server(folder) as uri:
        yield uri, folder


@pytest.fixture
def proxy(server: tuple[str, Path]) -> Iterator[Proxy]:
    with Proxy(server[0]) as made:
        yield made


@pytest.fixture
def user(server: tuple[str, Path], proxy: Proxy, tmp_path: Path) -> Iterator[Secretive]:
    """Ann, whose list of processes is watched; nothing that she leaves holds a secret."""
    user = Secretive(tmp_path / "ann", proxy.uri, make_secret("password"), make_secret("token"), (server[1],))
    proxy.fault = ask({USER: user.password}, user.token)
    with user.watched():
        yield user
    assert user.find() == []
    assert user.search.files >= 3


def is_training(proxy: Proxy) -> bool:
    """Whether an epoch's metrics have reached the proxy."""
    return any(request.path.endswith("/log-batch") and b"val_loss" in request.body for request in proxy.seen)


@pytest.mark.parametrize("way", WAYS)
def test_training_leaves_no_credentials(way: str, user: Secretive) -> None:
    status, said = user.run(way, *SHORT)
    assert status == 0, said
    assert "registered diabetes version" in said
    assert user.find() == []
    assert user.search.packed > 5  # of the model, the pictures, the tables


@pytest.mark.parametrize("way", WAYS)
def test_refused_credentials_are_not_told(way: str, user: Secretive) -> None:
    status, said = user.run(way, *SHORT, password=user.wrong)
    assert status == 2
    assert "401" in said


def test_killed_interrupted_and_resumed_training_leaves_no_credentials(user: Secretive, proxy: Proxy) -> None:
    process = user.start("address", *LONG)
    snapshots = user.folder / "state" / "diabetes" / "snapshots"
    user.wait_for(process, lambda: is_training(proxy) and any(snapshots.glob("*/*.npz")))
    user.kill(process)
    (folder,) = snapshots.iterdir()
    assert any(folder.glob("*.npz"))
    assert user.find() == []
    resumed = user.start("address", "train", f"--resume={folder.name}")
    user.wait_for(resumed, lambda: "resuming after epoch" in user.read())
    assert user.kill(resumed, signal.SIGTERM) == 143
    assert "to resume: " in user.read()


def test_training_without_the_right_to_register_does_not_tell_the_credentials(user: Secretive, proxy: Proxy) -> None:
    allowed = proxy.fault

    def refuse(request: Request) -> Fault | None:
        return Fault(status=403) if "registered-models/create" in request.path else allowed(request)

    proxy.fault = refuse
    status, said = user.run("address", *SHORT)
    assert status != 0
    assert "403" in said


def test_server_that_is_away_or_goes_away_does_not_make_a_training_tell_the_credentials(
    user: Secretive, proxy: Proxy
) -> None:
    process = user.start("address", *LONG)
    user.wait_for(process, lambda: is_training(proxy))
    proxy.go()
    user.wait_for(process, lambda: "MLflow did not take" in user.read())
    assert f"{USER}:***@" in user.read() or f"{USER}:" not in user.read()
    user.kill(process, signal.SIGTERM)
    status, said = user.run("address", *SHORT)
    assert status == 2
    assert f"{USER}:***@127.0.0.1" in said


@pytest.mark.parametrize("way", ["environment", "address", "token"])
def test_bug_that_prints_the_whole_environment_does_not_tell_the_credentials(way: str, user: Secretive) -> None:
    script = user.folder / "work" / "broken.py"
    script.write_text(BUG)
    status, said = user.run(way, *SHORT, script=script)
    assert status == 1
    assert "Traceback" in said
    assert "no such layer" in said
    assert "***" in said


def test_search_and_prediction_leave_no_credentials(user: Secretive) -> None:
    from sklearn.datasets import load_diabetes

    load_diabetes(as_frame=True).data.head(50).to_csv(user.folder / "work" / "new.csv", index=False)
    status, said = user.run("address", "search", "--trials=2", "--workers=2", "--epochs=2", "--confirm=0")
    assert status == 0, said
    status, said = user.run("address", "evaluate")
    assert status == 0, said
    status, said = user.run("address", "predict", "--data=new.csv", "--output=answers", "--workers=1")
    assert status == 0, said
    assert json.loads((user.folder / "work" / "answers" / "manifest.json").read_text())["answered"] == 50


def test_address_of_the_project_with_a_token_is_stored_without_it(
    user: Secretive, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = mlflow.MlflowClient(server[0])
    # As mlflow run does with a project's address; its own parent's process is not ours.
    tags = {"mlflow.source.name": "https://ann:short@host/p.git", "mlflow.project.entryPoint": "main"}
    run_id = client.create_run("0", tags=tags).info.run_id
    settings = user.environment
    monkeypatch.setattr(user, "environment", lambda *way: settings(*way) | {"MLFLOW_RUN_ID": run_id})
    status, said = user.run("environment", *SHORT)
    assert status == 0, said
    assert client.get_run(run_id).data.tags["mlflow.source.name"] == "https://ann:***@host/p.git"


def test_password_in_a_parameter_is_refused_at_once(user: Secretive) -> None:
    status, said = user.run("environment", "train", "--model_name=https://ann:short@host")
    assert status == 2
    assert said.startswith("error: model_name: 'https://ann:***@host' holds a password or a token")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("place", ["tag", "artifact", "run folder", "output"])
def test_secret_that_is_planted_is_found(place: str, server: tuple[str, Path], proxy: Proxy, tmp_path: Path) -> None:
    user = Secretive(tmp_path / "ann", proxy.uri, make_secret("password"), make_secret("token"), (server[1],))
    client = mlflow.MlflowClient(server[0])
    run_id = client.create_run("0").info.run_id
    assert user.find() == []
    if place == "tag":
        client.set_tag(run_id, "error", f"at http://ann:{user.password}@host")
    elif place == "artifact":
        client.log_dict(run_id, {"settings": {"password": user.password}}, "settings.json")
    elif place == "run folder":
        import numpy as np

        np.savez_compressed(user.folder / "state" / "snapshot.npz", told=np.array([user.token]))
    else:
        (user.folder / "said" / "1").write_text(f"Authorization: Bearer {user.token}")
    assert user.find() != []
    if place == "tag":
        client.delete_run(run_id)
