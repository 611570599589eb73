"""Searches that are unfinished, beside the verb that closes what is dead."""

from pathlib import Path

import mlflow
import pytest

from diabetes import Diabetes
from tracked.console.errors import UserError
from tracked.console.search_parameters import make_search_parameters
from tracked.console.signals import Signals
from tracked.resume import training_status
from tracked.resume.close import close_run
from tracked.runs.schema import EXPERIMENT, PARENT_RUN_ID, REGISTERED, TRIAL, VERB
from tracked.search import search_status
from tracked.search.tracked_search import start_or_resume
from tracked.training.run_folder_lock import RunFolderLock
from tracked.verbs import train, unfinished


def make_search(root: Path) -> tuple[str, str]:
    """Make the runs of a search and of one trial, with a run folder each, as a kill of the worker leaves them."""
    client = mlflow.MlflowClient()
    own = {EXPERIMENT: "diabetes"}
    search = client.create_run("0", tags={VERB: "search", **own}).info.run_id
    trial = client.create_run("0", tags={VERB: "train", TRIAL: "0", PARENT_RUN_ID: search, **own}).info.run_id
    for run_id in (search, trial):
        with RunFolderLock(search_status.FILES) as lock:
            (lock.take(root / run_id) / "journal.jsonl").write_text("")
    return search, trial


@pytest.fixture(autouse=True)
def snapshots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of the run folders."""
    monkeypatch.setenv("DIABETES_SNAPSHOTS", str(tmp_path / "snapshots"))
    return tmp_path / "snapshots"


@pytest.mark.parametrize("close", ["dead", "trial"])
def test_trial_that_waits_for_a_worker_is_not_closed_while_its_search_lives(
    store: str, snapshots: Path, capsys: pytest.CaptureFixture[str], close: str
) -> None:
    """It would lose its snapshots, and be trained again."""
    search, trial = make_search(snapshots)
    with RunFolderLock(search_status.FILES) as lock:
        lock.take(snapshots / search)
        if close == "dead":
            unfinished.main(Diabetes(), ["--close=dead"], Signals())
            assert "closed" not in capsys.readouterr().out
        else:
            with pytest.raises(UserError, match=rf"^close: run {trial} is of search {search}, which "):
                unfinished.main(Diabetes(), ["--close", trial], Signals())
    assert mlflow.get_run(trial).info.status == "RUNNING"
    assert (snapshots / trial / "journal.jsonl").exists()


def test_dead_search_is_closed_with_its_trials(store: str, snapshots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    search, trial = make_search(snapshots)
    unfinished.main(Diabetes(), ["--close=dead"], Signals())
    assert [mlflow.get_run(run_id).info.status for run_id in (search, trial)] == ["KILLED", "KILLED"]
    assert f"closed {trial} as KILLED" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["resume", "close"])
def test_search_killed_after_its_version_was_registered_is_ended_as_finished(
    store: str, snapshots: Path, verb: str
) -> None:
    search, trial = make_search(snapshots)
    client = mlflow.MlflowClient()
    client.set_tag(search, REGISTERED, "1")
    client.set_terminated(trial)
    if verb == "resume":
        command = make_search_parameters(Diabetes()).parse(["--resume=latest"])
        with start_or_resume(Diabetes(), command, Signals()) as found:
            assert found is None
    else:
        unfinished.main(Diabetes(), ["--close=dead"], Signals())
    assert mlflow.get_run(search).info.status == "FINISHED"
    with pytest.raises(UserError, match=r"^resume: no resumable search in experiment Default"):
        search_status.find_latest(Diabetes())


def test_trial_resumed_as_a_training_names_its_search(store: str, snapshots: Path) -> None:
    search, trial = make_search(snapshots)
    told = rf"^resume: run {trial} is a training of search {search}: resume that, with search --resume {search}$"
    with pytest.raises(UserError, match=told):
        train.main(Diabetes(), [f"--resume={trial}"], Signals())


def test_trial_that_finishes_while_its_search_is_closed_stays_finished(store: str, snapshots: Path) -> None:
    _, trial = make_search(snapshots)
    (training,) = training_status.find_unfinished(Diabetes(), "0")
    mlflow.MlflowClient().set_terminated(trial, "FINISHED")
    assert close_run(Diabetes(), training) == f"{trial} was not closed: it has finished meanwhile"
    assert mlflow.get_run(trial).info.status == "FINISHED"
    assert (snapshots / trial / "journal.jsonl").exists()


def test_search_that_is_resumed_before_it_is_closed_keeps_its_trials(store: str, snapshots: Path) -> None:
    search, trial = make_search(snapshots)
    (found,) = search_status.find_unfinished(Diabetes(), "0")
    trainings = training_status.find_unfinished(Diabetes(), "0")
    with RunFolderLock(search_status.FILES) as lock:
        lock.take(snapshots / search)
        (line,) = search_status.close(Diabetes(), found, trainings)
    assert line.startswith(f"{search} was not closed: ")
    assert [mlflow.get_run(one).info.status for one in (search, trial)] == ["RUNNING", "RUNNING"]
    # Now it has finished.
    mlflow.MlflowClient().set_tag(search, REGISTERED, "1")
    mlflow.MlflowClient().set_terminated(search, "FINISHED")
    assert list(search_status.close(Diabetes(), found, trainings)) == [
        f"{search} was not closed: it has finished meanwhile"
    ]
    assert "closed" not in mlflow.get_run(search).data.tags
