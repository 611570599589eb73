"""Who may do what on a real server with users: each cell of the table in docs/team.md."""

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes

from diabetes import Diabetes
from helpers import EXAMPLE, ROOT
from helpers.reviews import TINY, make_reviews
from helpers.servers import free_port
from helpers.team import AuthServer, basic_auth_server
from helpers.verbs import Verb
from imdb_conv1d.experiment import EXPERIMENT
from tracked.console.errors import NameRefused, RunFailed, UserError
from tracked.console.signals import Signals
from tracked.runs import evaluations, registry
from tracked.verbs import command

pytestmark = [pytest.mark.slow, pytest.mark.needs("Team")]
SHORT = ("--epochs=2", "--hidden_units=4")
OF_ANN = "of ann"
USERS = {"no user": "", "wrong password": "ann", "no right": "dan", "READ": "eve", "EDIT": "bob", "MANAGE": "ann"}


def read_table() -> dict[tuple[str, str], str]:
    """Read what docs/team.md says, by verb and right."""
    text = (ROOT / "docs" / "team.md").read_text().partition("## Who may do what\n")[2].partition("\n## ")[0]
    lines = text.splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    (header, *body) = rows
    return {
        (verb.strip("`"), right): cell for verb, *cells in body for right, cell in zip(header[1:], cells, strict=True)
    }


TABLE = read_table()


def test_the_table_has_all_verbs_and_rights() -> None:
    assert {verb for verb, _ in TABLE} == {*command.VERBS, *EXPERIMENT.own_verbs}
    assert {right for _, right in TABLE} == set(USERS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("team")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[AuthServer]:
    with basic_auth_server(folder / "server") as started:
        for user in {*USERS.values()} - {""}:
            started.add_user(user)
        yield started


@pytest.fixture(autouse=True)
def _place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))  # without credentials of its own
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    yield
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(None)


def act_as(monkeypatch: pytest.MonkeyPatch, server: AuthServer, user: str, place: str = "") -> None:
    """Make MLflow, in this process and those it starts, act as a user."""
    for name, value in server.environment(user).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", place or f"of {user}")
    mlflow.set_tracking_uri(server.uri)


@pytest.fixture(scope="module")
def made(server: AuthServer, folder: Path) -> str:
    """What ann has: two versions of diabetes with a history of champions, one of imdb-conv1d, all in one experiment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        act_as(patch, server, "ann", OF_ANN)
        for seed in (1, 2):
            train("train", *SHORT, f"--seed={seed}")
        make_reviews(200).to_csv(folder / "reviews.csv", index=False)
        Verb("train").main([*TINY, f"--data={folder}/reviews.csv", "--epochs=1"], Signals())
        experiment = mlflow.get_experiment_by_name(OF_ANN)
        assert experiment
        for user, right in (("dan", "NO_PERMISSIONS"), ("eve", "READ"), ("bob", "EDIT")):
            server.grant(user, "experiment", experiment.experiment_id, right)
            for name in (Diabetes.name, EXPERIMENT.name):
                server.grant(user, "registered_model", name, right)
        mlflow.set_tracking_uri(None)
    return str(experiment.experiment_id)


def train(verb: str, *arguments: str) -> int:
    return int(Verb(verb, Diabetes()).main(arguments, Signals()) or 0)


def arguments_of(verb: str, folder: Path) -> list[str]:
    model = f"--model=models:/{Diabetes.name}/2"
    return {
        "train": [*SHORT],
        "find_rate": [],
        "search": ["--epochs=2", "--trials=1", "--confirm=0", "--workers=1"],
        "evaluate": [model, "--baseline=false"],
        "predict": [model, f"--data={write_patients(folder)}", f"--output={folder}/answers-{time.time_ns()}"],
        "explain": [f"--model=models:/{EXPERIMENT.name}/1", "--text=a very good film"],
        "replay": [f"--experiment={OF_ANN}"],
        "compare": [f"--experiment={OF_ANN}"],
        "promote": [model],
        "rollback": [],
        "unfinished": [f"--experiment={OF_ANN}"],
        "tidy": [f"--experiment={OF_ANN}"],
    }[verb]


def write_patients(folder: Path) -> Path:
    path = folder / "patients.csv"
    load_diabetes(as_frame=True).data.head(20).to_csv(path, index=False)
    return path


def run_verb(verb: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run a verb; its exit status and what it printed, an error's line included."""
    if verb == "serve":
        return run_endpoint()
    experiment = EXPERIMENT if verb == "explain" else Diabetes()
    capsys.readouterr()
    try:
        status = int(Verb(verb, experiment).main(arguments_of(verb, folder), Signals()) or 0)
    except UserError as error:
        return 2, str(error)
    out, err = capsys.readouterr()
    return status, out + err


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def run_endpoint() -> tuple[int, str]:
    """Start an endpoint, ask until it is ready, and end it."""
    port = free_port()
    script = [sys.executable, EXAMPLE / "diabetes.py", "serve", f"--model=models:/{Diabetes.name}/2"]
    done = subprocess.Popen(
        [*script, f"--port={port}", "--workers=1"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )

    until = time.monotonic() + 120
    while done.poll() is None and time.monotonic() < until and not is_ready(port):
        time.sleep(0.1)
    done.send_signal(signal.SIGTERM)
    out, _ = done.communicate(timeout=60)
    lines = out.splitlines()
    error = next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), out)
    return done.returncode, error if done.returncode == 2 else out


@pytest.mark.parametrize(("verb", "right"), TABLE, ids=lambda one: one.replace(" ", "-"))
def test_verb_with_a_right_does_what_the_table_says(
    verb: str,
    right: str,
    server: AuthServer,
    made: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cell, user = TABLE[verb, right], USERS[right]
    if verb in ("promote", "rollback"):
        set_champions(server)
    act_as(monkeypatch, server, user or "ann")
    if right == "no user":
        monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
        monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD")
    if right == "wrong password":
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "not the password")
    before = count_left(server)
    status, printed = run_verb(verb, folder, capsys)
    if refused := re.fullmatch("refused: `(.*)`", cell):
        assert (status, printed.partition(":")[0].partition(",")[0]) == (2, refused[1]), printed
        assert ("401" if right in ("no user", "wrong password") else "403") in printed
        assert "\n" not in printed
        assert count_left(server) == before  # asking leaves nothing
        return
    assert status in ((0, 3) if verb == "promote" else (0,)), printed
    is_read_only = "the model may only be read (403)" in printed
    assert is_read_only == (cell == "yes, nothing at the model"), printed
    assert ("is read only for user" in printed) == (cell == "yes, in one's own experiment"), printed
    assert cell.partition(",")[0] == "yes"


def set_champions(server: AuthServer) -> None:
    """Make version 1 the champion, after version 2, as a rollback finds it."""
    name = {"name": Diabetes.name}
    server.call("POST", "2.0/mlflow/registered-models/alias", {**name, "alias": "champion", "version": "1"})
    server.call(
        "POST", "2.0/mlflow/registered-models/set-tag", {**name, "key": "champions", "value": json.dumps(["2", "1"])}
    )


def count_left(server: AuthServer) -> tuple[int, int, int]:
    """Count what is in the store: runs, versions and files."""
    found = server.call("POST", "2.0/mlflow/experiments/search", {"max_results": 1000})["experiments"]
    ids = [one["experiment_id"] for one in found]
    runs = server.call("POST", "2.0/mlflow/runs/search", {"experiment_ids": ids, "max_results": 1000}).get("runs", [])
    versions = server.call("GET", "2.0/mlflow/model-versions/search", {}).get("model_versions", [])
    return len(runs), len(versions), len([*(server.folder / "artifacts").rglob("*")])


def test_experiment_that_may_only_be_read_is_refused_by_its_setting(
    server: AuthServer, made: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    act_as(monkeypatch, server, "eve", OF_ANN)
    before = count_left(server)
    with pytest.raises(
        UserError, match=rf"^MLFLOW_EXPERIMENT_NAME: user 'eve' may not begin a run in .*{OF_ANN}.* \(403\)"
    ):
        train("train", *SHORT, "--model_name=of-eve")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", made)
    with pytest.raises(UserError, match=r"^MLFLOW_EXPERIMENT_ID: .* or a new name as MLFLOW_EXPERIMENT_NAME$"):
        train("train", *SHORT, "--model_name=of-eve")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "77777")
    with pytest.raises(UserError, match=r"^MLFLOW_EXPERIMENT_ID: .*'77777' \(403\)"):
        train("train", *SHORT, "--model_name=of-eve")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID")
    with pytest.raises(UserError, match=r"^MLFLOW_EXPERIMENT_NAME: user 'eve' may not begin a run in .*Default"):
        train("train", *SHORT, "--model_name=of-eve")
    assert count_left(server) == before


def test_evaluation_in_a_readers_own_experiment_decides_nothing_for_others(
    server: AuthServer, made: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reader can write any numbers there."""
    model = f"models:/{Diabetes.name}/1"
    act_as(monkeypatch, server, "eve")
    assert train("evaluate", f"--model={model}", "--baseline=false") == 0
    stored = registry.find(model)
    eves = evaluations.find_for_model(Diabetes(), stored)
    assert eves
    assert eves.data.tags["mlflow.user"]
    act_as(monkeypatch, server, "ann", OF_ANN)
    assert train("evaluate", f"--model={model}", "--baseline=false") == 0
    act_as(monkeypatch, server, "eve")
    assert train("evaluate", f"--model={model}", "--baseline=false") == 0  # the newest of all
    act_as(monkeypatch, server, "ann", OF_ANN)
    found = evaluations.find_for_model(Diabetes(), stored)
    (compared,) = evaluations.find_for_trainings(Diabetes(), {stored.run_id: set()}, made).values()
    assert found
    assert found.info.experiment_id == compared.info.experiment_id == made != eves.info.experiment_id
    assert evaluations.keep_trusted([found, eves], made) == [found]
    act_as(monkeypatch, server, "eve")  # the owner's counts for her
    assert evaluations.keep_trusted([found, eves], made) == [found, eves]


def test_right_to_the_name_taken_away_in_mid_training_keeps_all_and_another_name_completes_it(
    server: AuthServer, made: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add_user("fay")
    server.grant("fay", "registered_model", Diabetes.name, "EDIT")
    act_as(monkeypatch, server, "fay")
    take_away = lambda *_: server.revoke("fay", "registered_model", Diabetes.name)  # noqa: E731
    with monkeypatch.context() as patch:
        from tracked.models import publisher

        store_model = publisher.store_model
        patch.setattr(publisher, "store_model", lambda *arguments: (take_away(), store_model(*arguments))[1])
        with pytest.raises(
            NameRefused, match=r"^model_name: user 'fay' may not add a version to 'diabetes' \(403\)"
        ) as e:
            train("train", *SHORT)
    (run,) = mlflow.search_runs(experiment_names=["of fay"], output_format="list")
    resume, rename = e.value.__notes__
    assert resume.startswith("to resume: ")
    assert resume.endswith(f"--resume {run.info.run_id}")
    assert rename.endswith(f"--resume {run.info.run_id} --model_name NAME")
    with pytest.raises(UserError, match=r"^model_name: user 'fay' may not add a version"):  # told before the work now
        train("train", f"--resume={run.info.run_id}")
    epochs = {
        name: len(mlflow.MlflowClient().get_metric_history(run.info.run_id, name)) for name in ("loss", "val_loss")
    }
    assert train("train", f"--resume={run.info.run_id}", "--model_name=fays") == 0
    assert mlflow.MlflowClient().get_model_version_by_alias("fays", "candidate").run_id == run.info.run_id
    again = {name: len(mlflow.MlflowClient().get_metric_history(run.info.run_id, name)) for name in epochs}
    assert epochs == again == {"loss": 2, "val_loss": 2}
    assert mlflow.get_run(run.info.run_id).info.status == "FINISHED"


def test_right_to_the_experiment_taken_away_in_mid_training_loses_no_epoch(
    server: AuthServer, made: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add_user("gus")
    act_as(monkeypatch, server, "gus")
    from tracked.training.epoch_recorder import EpochRecorder

    place = mlflow.create_experiment("of gus")
    record = EpochRecorder.on_epoch_end

    def take_away(self: EpochRecorder, epoch: int, logs: dict[str, float] | None = None) -> None:
        if epoch == 2:
            server.grant("gus", "experiment", place, "READ")
        record(self, epoch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(EpochRecorder, "on_epoch_end", take_away)
        patch.setattr("tracked.runs.writer.PATIENCE", 1.0)
        patch.setattr("tracked.runs.context.PATIENCE_AFTER_ERROR", 1.0)
        patch.setattr("tracked.runs.outbox.PAUSES", (0.2,))
        with pytest.raises(RunFailed) as error:
            train("train", "--epochs=5", "--hidden_units=4", "--model_name=of-gus")
    (run,) = mlflow.search_runs([place], output_format="list")
    assert any(run.info.run_id in note for note in error.value.__notes__)
    server.grant("gus", "experiment", place, "MANAGE")
    assert train("train", f"--resume={run.info.run_id}") == 0
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "val_loss")
    assert [point.step for point in history] == [1, 2, 3, 4, 5]


def test_predictions_table_is_read_back(made: str, folder: Path) -> None:
    """The readers' predictions are whole: a refused link at the model has cost no row."""
    manifests = sorted(folder.glob("answers-*/manifest.json"))
    assert manifests
    for manifest in manifests:
        assert json.loads(manifest.read_text())["answered"] == len(pd.read_csv(folder / "patients.csv"))
