"""Eight concurrent trainings on one store, SQLite and PostgreSQL: none fails, and no point is missing."""

import json
import os
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from helpers import ROOT, warm
from helpers.postgresql import postgresql
from helpers.resuming import ARGUMENTS
from helpers.runs import SignalAfter, last_run
from helpers.trainings import Trainings
from tracked.console.errors import Interrupted

HERE = ROOT / "tests" / "helpers"
pytestmark = pytest.mark.slow
NUMBER = 8


def at_once(trainings: Trainings, uri: str, folder: Path) -> None:
    """Run the trainings, and assert that each succeeds."""
    command = [warm.python(), str(HERE / "at_once.py"), uri, str(folder), trainings.name, str(NUMBER), "--"]
    done = subprocess.run(
        [*command, *trainings.flags, *ARGUMENTS], capture_output=True, text=True, timeout=400, cwd=folder,
        env={**os.environ, "XDG_STATE_HOME": str(folder / "state")},
    )  # fmt: skip
    logs = "\n".join(path.read_text() for path in sorted(folder.glob("*.log")))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    assert json.loads(done.stdout) == {str(place): 0 for place in range(NUMBER)}


def assert_all_are_whole(trainings: Trainings, parameters: int) -> None:
    """Compare each run in the store with a training that ran alone."""
    runs = mlflow.search_runs(["0"], output_format="list")
    assert len(runs) == NUMBER
    client = mlflow.MlflowClient()
    for found in runs:
        run = mlflow.get_run(found.info.run_id)
        trainings.assert_same_run(run)
        assert len(run.data.params) == parameters
        (version,) = client.search_model_versions(f"name = '{run.data.params['model_name']}'")
        assert version.run_id == run.info.run_id
        assert client.get_model_version_by_alias(version.name, "candidate").version == version.version


@pytest.mark.parametrize("trainings", ["imdb"], indirect=True)
def test_eight_concurrent_trainings_on_a_locked_sqlite_store_all_finish(
    store: str, tmp_path: Path, trainings: Trainings
) -> None:
    over = threading.Event()
    held: list[int] = []

    def lock() -> None:
        while not over.wait(0.5):
            database = sqlite3.connect(tmp_path / "mlflow.db", timeout=60, isolation_level=None)
            database.execute("BEGIN EXCLUSIVE")
            time.sleep(1)
            database.execute("ROLLBACK")
            database.close()
            held.append(1)

    thread = threading.Thread(target=lock)
    thread.start()
    try:
        at_once(trainings, store, tmp_path)
    finally:
        over.set()
        thread.join()
    assert len(held) > 3
    assert_all_are_whole(trainings, parameters=38)


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with postgresql() as uri:
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        SqlAlchemyStore(uri, str(tmp_path / "artifacts"))
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        mlflow.set_tracking_uri(uri)
        yield uri
        while mlflow.active_run():
            mlflow.end_run()
        mlflow.set_tracking_uri(None)


@pytest.mark.needs("PostgreSQL")
def test_eight_concurrent_trainings_on_postgresql_with_one_resumed_all_finish(
    database: str, tmp_path: Path, trainings: Trainings
) -> None:
    at_once(trainings, database, tmp_path)
    assert_all_are_whole(trainings, parameters=16)
    with pytest.raises(Interrupted):
        trainings.train(signals=SignalAfter(2 + 2 * trainings.checks))  # in the third epoch: one check precedes
    run = last_run()
    assert [path.name for path in (tmp_path / "state/diabetes/snapshots").iterdir()] == [run.info.run_id]
    trainings.resume("--resume=latest")
    trainings.assert_same_run(run)
