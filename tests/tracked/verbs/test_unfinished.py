"""The verb unfinished: its list, and the trainings it closes."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import zipfile
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
import pytest
from mlflow.entities import Run

from helpers.resuming import break_off, folder, holding, last_epoch, resume, unended
from helpers.reviews import TINY
from helpers.runs import SignalAfter, artifacts, points, run_train, table
from helpers.verbs import unfinished
from imdb_conv1d.experiment import EXPERIMENT
from imdb_conv1d.parameters import TrainParameters
from tracked.console.errors import Interrupted, RunFailed, UserError
from tracked.console.signals import Signals
from tracked.resume import close as closing_verb
from tracked.resume import training_status
from tracked.runs import run_parameters
from tracked.runs.queries import status_of
from tracked.training import holder


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    unfinished.main(arguments, Signals())
    return capsys.readouterr().out


def test_unfinished_lists_last_epoch_and_resume_command(
    store: str, noisy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert listed(capsys) == "no unfinished training in experiment Default\n"
    run_train(f"--data={noisy}", "--epochs=1")
    run = break_off(noisy, 2)
    first, second, third = listed(capsys).splitlines()
    assert first == f"{run.info.run_id}  {run.info.run_name}"
    assert second.endswith(", last epoch 2, status KILLED; dead, stop_reason interrupted")
    assert third == f"    resume with: --resume {run.info.run_id}"
    assert len(mlflow.search_runs(["0"], output_format="list")) == 2  # the verb makes no run


@pytest.mark.slow
def test_close_of_a_running_training_is_refused(store: str, noisy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = break_off(noisy, 1)
    with holding(run) as process:
        text = listed(capsys, "--close=dead")
        assert f"alive: process {process.pid} on host {socket.gethostname()}" in text
        assert "resume with" not in text
        assert mlflow.get_run(run.info.run_id).data.tags["stop_reason"] == "interrupted"
        with pytest.raises(
            UserError, match=rf"^close: run {run.info.run_id} is held by process {process.pid} .*; end that process"
        ):
            unfinished.main(["--close", run.info.run_id], Signals())
    assert folder(run).exists()


def died(run: Run) -> None:
    """Reduce a run to what a killed process leaves: no end status, reason, tables or last epoch."""
    client = mlflow.MlflowClient()
    shutil.rmtree(urlsplit(run.info.artifact_uri).path)
    with closing(sqlite3.connect("mlflow.db")) as database, database:
        database.execute("DELETE FROM metrics WHERE run_uuid = ? AND step = 1", (run.info.run_id,))
    client.update_run(run.info.run_id, status="RUNNING")
    client.delete_tag(run.info.run_id, "stop_reason")


@pytest.mark.slow
def test_close_of_a_dead_training_ends_its_run_as_killed(
    store: str, noisy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    older, newer = break_off(noisy, 1), break_off(noisy, 2)
    died(older)
    assert "status RUNNING; dead, stop_reason unknown" in listed(capsys)
    assert f"closed {older.info.run_id} as KILLED, after epoch 1" in listed(capsys, "--close", older.info.run_id)
    found = mlflow.get_run(older.info.run_id)
    assert list(points(found, "val_loss")) == [1]
    assert table(found, "history.csv")["val_loss"].tolist() == list(points(found, "val_loss").values())
    assert (found.info.status, found.data.tags["stop_reason"], status_of(found)) == ("KILLED", "killed", "interrupted")
    assert {"history.csv", "early_stopping.csv", "checkpoint/best.keras"} <= artifacts(found)
    assert not folder(older).exists()
    assert folder(newer).exists()
    assert older.info.run_id not in listed(capsys)
    # A closed training can still be resumed by its id, from epoch 1.
    with pytest.raises(Interrupted):
        resume("--resume", older.info.run_id, signals=SignalAfter(2))
    assert "closed" not in mlflow.get_run(older.info.run_id).data.tags
    assert "closed " in listed(capsys, "--close=dead")
    assert listed(capsys) == "no unfinished training in experiment Default\n"


@pytest.mark.slow
def test_close_of_a_training_with_a_version_ends_its_run_as_finished(
    store: str, noisy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = unended(noisy)
    assert status_of(mlflow.get_run(run.info.run_id)) == "finished"
    assert f"closed {run.info.run_id} as FINISHED" in listed(capsys, "--close=dead")
    assert mlflow.get_run(run.info.run_id).data.tags["stop_reason"] == "epochs"


@pytest.mark.slow
def test_unfinished_reads_the_stop_reason_that_mlflow_run_overwrote(
    store: str, noisy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = break_off(noisy, 1)
    mlflow.MlflowClient().set_terminated(
        run.info.run_id, "FINISHED"
    )  # mlflow run sets this status for a child that exited with 0
    assert "status FINISHED; dead, stop_reason interrupted" in listed(capsys)


def test_unfinished_lists_mlflow_runs_unstarted_run_as_unknown(
    store: str, noisy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client = mlflow.MlflowClient()
    made = client.create_run("0", tags={"mlflow.project.entryPoint": "main"})
    for name, value in TrainParameters.parse(TINY).as_strings().items():
        client.log_param(made.info.run_id, name, value)
    client.create_run("0", tags={"mlflow.project.entryPoint": "main"})  # of another project
    client.create_run("0", tags={"mlflow.project.entryPoint": "evaluate"})
    text = listed(capsys, "--close=dead")
    assert "unknown here whether alive" in text
    assert text.count("\n") == 3
    assert client.get_run(made.info.run_id).info.status == "RUNNING"
    assert "closed" in listed(capsys, "--close", made.info.run_id)
    assert client.get_run(made.info.run_id).info.status == "KILLED"


def test_unfinished_lists_a_training_without_folder_as_alive(
    store: str, noisy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Between the creation of the run and of its folder, the launch tag names the process."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        start = holder._start(process.pid)
        launch = {"pid": process.pid, "host": socket.gethostname(), "since": "now", "start": start, "parameters": {}}
        made = mlflow.MlflowClient().create_run("0", tags={"verb": "train", "launch": json.dumps(launch)})
        assert f"alive: process {process.pid} on host" in listed(capsys, "--close=dead")
        with pytest.raises(UserError, match=rf"is held by process {process.pid} on host"):
            resume("--resume", made.info.run_id)
        # The PID may be reused, also by this process, as in a container.
        for other in ({"start": "1"}, {"pid": os.getpid(), "start": holder._start(os.getpid())}):
            mlflow.MlflowClient().set_tag(made.info.run_id, "launch", json.dumps(launch | other))
            assert "dead" in listed(capsys)
        process.kill()
    assert mlflow.get_run(made.info.run_id).info.status == "RUNNING"


@pytest.mark.slow
def test_unfinished_with_an_invalid_launch_tag_lists_every_training(
    store: str, noisy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = break_off(noisy, 1)
    launch = run_parameters.read_launch(run)
    bad = [{"pid": pid} for pid in (2**31, 10**30, 0, -1, True, 1.5, "1", None, [], {})]
    bad += [{"host": None}, {"since": 1}, {"start": []}, {"system": 7}, {"token": ["a"]}, {"snapshots": "\0"}]
    bad += [{"snapshots": "x" * 4000}, {"snapshots": 5}, {"parameters": "patience"}, {"source": 1}]
    tags = [json.dumps(launch | other) for other in bad]
    tags += ["", "null", "7", "[]", "{", "[" * 7000, '{"pid": ' + "9" * 5000 + "}", '{"host": "\\ud800"}']
    client = mlflow.MlflowClient()
    made = [client.create_run("0", tags={"verb": "train", "launch": tag}).info.run_id for tag in tags]
    text = listed(capsys)
    assert not [run_id for run_id in made if run_id not in text]
    # The choices of --resume latest.
    assert {one.id for one in training_status.find_unfinished(EXPERIMENT, "0")} == {run.info.run_id, *made}


def test_unfinished_in_another_container_of_the_host_name_reports_unknown(
    store: str, noisy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = asdict(holder.Holder.this_process())
    launch = here | {"pid": 2, "system": "- another container", "snapshots": "/there", "token": "t", "parameters": {}}
    made = mlflow.MlflowClient().create_run("0", tags={"verb": "train", "launch": json.dumps(launch)})
    text = listed(capsys, "--close=dead")
    assert "unknown here whether alive" in text
    assert f"not resumable: the run runs or died on host {socket.gethostname()} in another container" in text
    assert mlflow.get_run(made.info.run_id).info.status == "RUNNING"
    for former in (launch | {"system": ""}, {name: value for name, value in launch.items() if name != "system"}):
        mlflow.MlflowClient().set_tag(made.info.run_id, "launch", json.dumps(former))  # as logged by earlier versions
        assert "dead" in listed(capsys)


@pytest.mark.slow
def test_close_of_a_training_taken_meanwhile_is_refused(store: str, noisy: Path) -> None:
    run = break_off(noisy, 1, "--epochs=2")
    (listed_before,) = training_status.find_unfinished(EXPERIMENT, "0")
    resume("--resume=latest")
    assert closing_verb.close_run(EXPERIMENT, listed_before).endswith("was not closed: it has finished meanwhile")
    assert mlflow.get_run(run.info.run_id).info.status == "FINISHED"
    other = break_off(noisy, 1, "--epochs=2")
    (listed_before,) = training_status.find_unfinished(EXPERIMENT, "0")
    with holding(other) as process:
        assert f"was not closed: process {process.pid} on host" in closing_verb.close_run(EXPERIMENT, listed_before)
    assert mlflow.get_run(other.info.run_id).data.tags["stop_reason"] == "interrupted"


def test_unfinished_with_an_invalid_value_is_refused(store: str, noisy: Path) -> None:
    with pytest.raises(
        UserError, match="close: 'all' is not allowed; allowed: no, dead, or the run id of an unfinished"
    ):
        unfinished.main(["--close=all"], Signals())
    with pytest.raises(UserError, match="experiment: 'none' is not allowed"):
        unfinished.main(["--experiment=none"], Signals())


def test_unfinished_under_mlflow_run_tags_its_run(
    store: str, noisy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = mlflow.MlflowClient().create_run("0", tags={"mlflow.project.entryPoint": "unfinished"})
    monkeypatch.setenv("MLFLOW_RUN_ID", made.info.run_id)
    assert "no unfinished training" in listed(capsys)
    assert mlflow.get_run(made.info.run_id).data.tags["verb"] == "unfinished"


@pytest.mark.slow
def test_close_of_a_training_without_folder_keeps_its_runs_tables(
    store: str, noisy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = break_off(noisy, 2)
    shutil.rmtree(folder(run))
    assert "closed " in listed(capsys, "--close=dead")
    assert table(run, "early_stopping.csv")["epoch"].tolist() == [1, 2]


@pytest.mark.slow
def test_close_of_an_unreadable_folder_keeps_it(
    store: str, noisy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = break_off(noisy, 2)

    def broken(path: Path) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("tracked.training.journal.read", broken)
        with pytest.raises(RunFailed, match="cannot be read"):
            unfinished.main(["--close=dead"], Signals())
    assert folder(run).exists()
    assert "closed" not in mlflow.get_run(run.info.run_id).data.tags
    with monkeypatch.context() as patch:
        patch.setattr("tracked.training.run_folder.find_holder", broken)
        text = listed(capsys, "--close=dead")
        assert "unknown here whether alive" in text
        assert "has an unreadable run folder" in text
    assert folder(run).exists()


@pytest.mark.slow
def test_close_logs_the_newest_snapshots_checkpoint(
    store: str, noisy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The checkpoint of an incomplete epoch is not logged."""
    run = break_off(noisy, 2)
    died(run)
    best = (folder(run) / "best-2.keras").read_bytes()
    (folder(run) / "best-3.keras").write_bytes(b"written by a process that died before it wrote the epoch")
    assert "closed " in listed(capsys, "--close=dead")
    path = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="checkpoint/best.keras")
    assert Path(path).read_bytes() == best


def files(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("place", ["the artifacts of the experiment", "a folder with a lock", "no path"])
def test_close_with_a_tag_of_a_foreign_folder_leaves_that_folder(
    store: str, noisy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    run = break_off(noisy, 2)
    artifacts_of_run = Path(urlsplit(run.info.artifact_uri).path)
    named = {
        "the artifacts of the experiment": artifacts_of_run.parent.parent,
        "a folder with a lock": tmp_path / "precious",
        "no path": "a\0b",
    }[place]
    if place == "a folder with a lock":
        (tmp_path / "precious" / run.info.run_id).mkdir(parents=True)
        for name in ("lock", "attempts", "best-1.keras"):
            (tmp_path / "precious" / run.info.run_id / name).write_text("another token")
    launch = json.dumps(run_parameters.read_launch(run) | {"snapshots": str(named)})
    mlflow.MlflowClient().set_tag(run.info.run_id, "launch", launch)
    before = {root: files(root) for root in (artifacts_of_run, tmp_path / "precious")}
    text = listed(capsys, "--close", run.info.run_id)
    assert f"closed {run.info.run_id} as KILLED, after epoch 2" in text  # read from its own folder
    for root, content in before.items():
        assert set(files(root)) == set(content)
    assert files(tmp_path / "precious") == before[tmp_path / "precious"]
    assert not folder(run).exists()


@pytest.mark.slow
def test_close_keeps_foreign_files_in_the_run_folder(
    store: str, noisy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = break_off(noisy, 2)
    (folder(run) / "notes.txt").write_text("mine")
    capsys.readouterr()
    unfinished.main(["--close=dead"], Signals())
    warning = f"{folder(run)} was not removed, since not all in it is the training's: notes.txt"
    assert warning in capsys.readouterr().err
    assert files(folder(run)) == {"notes.txt": b"mine"}


def damage(*paths: Path) -> None:
    for path in paths:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)


def stored(run: Run) -> bytes:
    """Read the run's best checkpoint."""
    path = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="checkpoint/best.keras")
    return Path(path).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["both snapshots", "both snapshots and the journal", "the parameters too"])
def test_close_with_other_damage_logs_an_intact_checkpoint_first(
    store: str, noisy: Path, capsys: pytest.CaptureFixture[str], lost: str
) -> None:
    run = break_off(noisy, 3)
    died(run)
    best = (folder(run) / "best-2.keras").read_bytes()
    damage(*folder(run).glob("epoch-*"))
    if lost != "both snapshots":
        (folder(run) / "journal.jsonl").write_text("damaged")
    if lost == "the parameters too":
        launch = json.dumps(run_parameters.read_launch(run) | {"parameters": {"patience": "a while"}})
        mlflow.MlflowClient().set_tag(run.info.run_id, "launch", launch)
    assert f"closed {run.info.run_id} as KILLED, after epoch 3" in listed(capsys, "--close=dead")
    assert stored(run) == best
    assert not folder(run).exists()


@pytest.mark.slow
def test_close_logs_a_checkpoint_that_was_set_aside(
    store: str, noisy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = break_off(noisy, 3)
    best = (folder(run) / "best-2.keras").read_bytes()
    damage(*folder(run).glob("epoch-*"))
    with pytest.raises(Interrupted):
        resume("--resume=latest", signals=SignalAfter(4))
    assert last_epoch(run) == 1
    shutil.rmtree(urlsplit(run.info.artifact_uri).path)
    assert f"closed {run.info.run_id} as KILLED, after epoch 1" in listed(capsys, "--close=dead")
    assert stored(run) == best
    assert not folder(run).exists()


@pytest.mark.slow
def test_close_keeps_the_runs_better_checkpoint_until_the_epoch_is_reached_again(
    store: str, noisy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = break_off(noisy, 3)
    best = stored(run)
    shutil.rmtree(folder(run))
    with pytest.raises(Interrupted):
        resume("--resume=latest", signals=SignalAfter(4))
    assert (last_epoch(run), stored(run) == best) == (1, True)
    assert (folder(run) / "best-1.keras").read_bytes() != best
    assert f"closed {run.info.run_id} as KILLED, after epoch 1" in listed(capsys, "--close=dead")
    assert stored(run) == best
    assert not folder(run).exists()
    with pytest.raises(Interrupted):
        resume("--resume", run.info.run_id, signals=SignalAfter(10))
    assert (last_epoch(run), stored(run) == best) == (4, False)  # new, with other moments
    assert table(run, "history.csv")["epoch"].tolist() == [1, 2, 3, 4]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("at_the_run", "beside", "reason"),
    [
        (False, False, "no checkpoint in it is intact"),
        (True, False, "no checkpoint in it is intact"),
        (True, True, "best-2.keras is damaged"),
    ],
)
def test_close_with_an_unknown_best_checkpoint_keeps_the_folder_and_explains(
    store: str, noisy: Path, capsys: pytest.CaptureFixture[str], at_the_run: bool, beside: bool, reason: str
) -> None:
    run = break_off(noisy, 3)
    former = stored(run)
    if beside:
        shutil.copyfile(folder(run) / "best-2.keras", folder(run) / "best-1.keras")
    damage(folder(run) / "best-2.keras")
    if not at_the_run:
        died(run)
    before = set(files(folder(run)))
    capsys.readouterr()
    assert f"as KILLED, after epoch 3; {folder(run)} was kept: {reason}" in listed(capsys, "--close=dead")
    assert before <= set(files(folder(run)))
    assert not list(folder(run).glob("aside-*"))
    assert mlflow.get_run(run.info.run_id).data.tags["closed"] == "true"
    if at_the_run:
        assert stored(run) == former
    else:
        assert "checkpoint/best.keras" not in artifacts(run)


@pytest.mark.slow
def test_close_with_a_missing_best_checkpoint_reports_it(
    store: str, noisy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = break_off(noisy, 3)
    former = stored(run)
    (folder(run) / "best-2.keras").rename(folder(run) / "best-1.keras")
    assert "was kept: best-2.keras is missing" in listed(capsys, "--close=dead")
    assert stored(run) == former


def test_damaged_checkpoint_of_any_kind_is_not_complete(tmp_path: Path) -> None:
    path = tmp_path / "best-1.keras"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("weights", b"some content")
    content = path.read_bytes()
    assert closing_verb._is_intact(path)
    for place in range(len(content)):
        for bit in range(8):
            flipped = bytearray(content)
            flipped[place] ^= 1 << bit
            path.write_bytes(flipped)
            closing_verb._is_intact(path)  # raises nothing
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert not closing_verb._is_intact(path)
