"""A search around made-up trainings: what it asks for, what it makes of results, what it leaves in the store."""

import csv
import json
import math
import re
import signal
from pathlib import Path
from typing import Any

import mlflow
import pytest

from diabetes import Diabetes
from helpers.searching import MadeUpWorkers, make_curve, run_search
from tracked.console import executors
from tracked.console.errors import Interrupted, RunFailed, UserError
from tracked.console.signals import Signals
from tracked.console.space import parse_space
from tracked.console.train_parameters import make_train_parameters
from tracked.runs import trials as store
from tracked.search import tracked_search, winner
from tracked.search.proposals import propose
from tracked.search.tasks import Outcome, Task
from tracked.verbs import unfinished

SPACE = "learning_rate=0.001..0.1/log hidden_units=16,64"
SMALL = (f"--space={SPACE}", "--confirm=0", "--keep=0")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path) -> Path:
    (tmp_path / "mlflow.db").write_bytes(empty_store.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return tmp_path


def runs(verb: str = "train") -> list[Any]:
    found = mlflow.search_runs(["0"], f"tags.verb = '{verb}'", output_format="list")
    return sorted(found, key=lambda run: (run.info.start_time, run.data.tags.get("trial", "")))


def the_search() -> Any:
    (run,) = runs("search")
    return run


def table() -> list[dict[str, str]]:
    path = mlflow.artifacts.download_artifacts(run_id=the_search().info.run_id, artifact_path="trials.csv")
    return list(csv.DictReader(open(path)))


def without_ids(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{key: value for key, value in row.items() if key not in ("run_id", "seconds")} for row in rows]


def test_search_leaves_a_run_with_its_trials_below_it(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    workers = run_search(monkeypatch, "--trials=6", *SMALL, "--epochs=9")
    search = the_search()
    assert (search.info.status, search.data.tags["registered_version"]) == ("FINISHED", "1")
    assert search.data.params["trials"] == "6"
    assert search.data.tags["space"] == SPACE
    trials = runs()
    assert [run.data.tags["trial"] for run in trials] == list("012345")
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {search.info.run_id}
    assert trials[3].info.run_name.startswith("trial 03 learning_rate=0.")
    rows = table()
    assert [row["known"] for row in rows] == ["", "0", "0-1", "0-2", "0-3", "0-4"]
    best = min(rows, key=lambda row: float(row["best"]))
    assert search.data.metrics["best_trial"] == float(best["number"])
    assert (search.data.tags["winner"], search.data.tags["confirmed"]) == (best["number"], "unknown")
    assert search.data.tags["winner_run_id"] == best["run_id"]
    assert workers.tasks[-1].register
    assert workers.tasks[-1].run_id == best["run_id"]
    assert "not confirmed" in workers.tasks[-1].note
    assert [task.given["epochs"] for task in workers.tasks] == [9] * 7
    assert not (folder / "snapshots" / search.info.run_id).exists()


def test_proposals_are_a_function_of_seed_number_and_what_was_known(monkeypatch: pytest.MonkeyPatch) -> None:
    run_search(monkeypatch, "--trials=14", "--workers=2", *SMALL)
    found = store.find_runs(the_search().info.run_id, "0", "val_loss", "min").trials
    space = parse_space(SPACE, make_train_parameters(Diabetes()))
    for number, trial in found.items():
        known = [found[one] for one in trial.known]
        assert trial.values == propose(space, "tpe", 7, number, known, "min")
    assert any(len(trial.known) < trial.number for trial in found.values())  # of two workers, one is behind


class Stop:
    """Interrupt a search at its n-th task."""

    def __init__(self, at: int) -> None:
        self.at, self.count = at, 0

    def __call__(self, workers: MadeUpWorkers) -> None:
        workers.before = self.before

    def before(self, task: Task) -> Any:
        self.count += 1
        if self.count == self.at:
            raise Interrupted(2)
        return "go on"


def test_resumed_search_is_the_uninterrupted_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run_search(monkeypatch, "--trials=12", *SMALL)
    expected, first = without_ids(table()), the_search()
    mlflow.MlflowClient().set_tag(first.info.run_id, "verb", "another")  # out of sight
    for run in runs():
        mlflow.MlflowClient().delete_run(run.info.run_id)
    with pytest.raises(Interrupted):
        run_search(monkeypatch, "--trials=12", *SMALL, prepare=Stop(4))
    assert the_search().info.status == "KILLED"
    assert len(table()) == 4  # three results, and the one that was interrupted
    with pytest.raises(Interrupted):
        run_search(monkeypatch, "--resume=latest", prepare=Stop(7))
    run_search(monkeypatch, f"--resume={the_search().info.run_id}")
    assert without_ids(table()) == expected
    assert len(runs()) == 12
    assert the_search().data.tags["winner"] == first.data.tags["winner"]


def test_trial_whose_worker_dies_is_resumed_under_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []

    def prepare(workers: MadeUpWorkers) -> None:
        def before(task: Task) -> Any:
            if task.name == "trial 01" and len(begun) < 3:
                begun.append(task.run_id or workers.begin(task))
                return None
            return "go on"

        workers.before = before

    workers = run_search(monkeypatch, "--trials=3", *SMALL, prepare=prepare)
    of_one = [task.run_id for task in workers.tasks if task.name == "trial 01"]
    assert of_one == ["", *[begun[0]] * 3]
    assert [row["status"] for row in table()] == ["finished"] * 3
    assert len(runs()) == 3


def test_trial_that_no_worker_survives_fails_and_the_search_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def prepare(workers: MadeUpWorkers) -> None:
        def before(task: Task) -> Any:
            if task.name != "trial 01":
                return "go on"
            if not task.run_id:
                workers.begin(task)
            return None

        workers.before = before

    workers = run_search(monkeypatch, "--trials=3", *SMALL, prepare=prepare)
    assert sum(task.name == "trial 01" for task in workers.tasks) == 10
    row = table()[1]
    assert row["status"] == "failed"
    assert re.match("its worker was killed by SIGKILL, 10 times without another epoch; .*more memory", row["note"])
    (failed,) = [run for run in runs() if run.data.tags["trial"] == "1"]
    assert (failed.info.status, failed.data.tags["stop_reason"]) == ("FAILED", "error")
    capsys.readouterr()
    unfinished.main(Diabetes(), [], Signals())
    assert capsys.readouterr().out.startswith("no unfinished training")  # the search has ended, so nothing resumes it
    assert the_search().data.tags["winner"] in "02"


@pytest.mark.parametrize("begins", [True, False])
def test_trial_whose_worker_lost_the_store_is_resumed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], begins: bool
) -> None:
    """What the store failed in is no result of the trial, whether its run was there or not."""
    lost: list[str] = []

    def prepare(workers: MadeUpWorkers) -> None:
        def lose(task: Task) -> Any:
            if task.name != "trial 01" or lost:
                return "go on"
            lost.append(workers.fail(task, "lost").run_id if begins else "")
            return Outcome("interrupted", lost[0], "creating a run failed")

        workers.before = lose

    run_search(monkeypatch, "--trials=3", *SMALL, prepare=prepare)
    assert "the worker of trial 01 failed (creating a run failed); another resumes its" in capsys.readouterr().err
    (run,) = [run for run in runs() if run.data.tags.get("trial") == "1"]
    assert run.info.status == "FINISHED"
    assert not begins or run.info.run_id == lost[0]
    assert [row["status"] for row in table()] == ["finished"] * 3


def test_trial_that_is_refused_fails_at_once_and_is_not_left_running(monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(workers: MadeUpWorkers) -> None:
        def refuse(task: Task) -> Any:
            return Outcome("failed", workers.begin(task), "data: changed") if task.name == "trial 01" else "go on"

        workers.before = refuse

    workers = run_search(monkeypatch, "--trials=3", *SMALL, prepare=prepare)
    assert sum(task.name == "trial 01" for task in workers.tasks) == 1
    assert (table()[1]["status"], table()[1]["note"]) == ("failed", "data: changed")
    (failed,) = [run for run in runs() if run.data.tags["trial"] == "1"]
    assert (failed.info.status, failed.data.tags["error"]) == ("FAILED", "data: changed")


def test_chosen_winner_stands_whatever_comes_before_the_searchs_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version of it may be registered already."""

    def die(search: Any) -> None:
        raise Interrupted(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(winner, "keep_checkpoints", die)
        with pytest.raises(Interrupted):
            run_search(monkeypatch, "--trials=4", *SMALL)
    with pytest.raises(UserError, match=r"^trials: '12' is not allowed; allowed: 4, as search"):
        run_search(monkeypatch, "--resume=latest", "--trials=12")
    chosen = the_search().data.tags["winner_run_id"]
    workers = run_search(monkeypatch, "--resume=latest")
    assert [(task.run_id, task.register) for task in workers.tasks] == [(chosen, True)]
    assert [run.info.run_id for run in runs() if "registered_version" in run.data.tags] == [chosen]
    assert the_search().data.tags["registered_version"] == "1"


@pytest.mark.parametrize("confirm", ["--confirm=0", "--confirm=2"])
@pytest.mark.parametrize("status", ["RUNNING", "FAILED"])
def test_chosen_winner_whose_registering_was_killed_is_registered(
    monkeypatch: pytest.MonkeyPatch, confirm: str, status: str
) -> None:
    def prepare(workers: MadeUpWorkers) -> None:
        def die(task: Task) -> Any:
            if task.register:
                mlflow.MlflowClient().update_run(task.run_id, status)  # as a killed worker leaves it
                raise Interrupted(signal.SIGINT)
            return "go on"

        workers.before = die

    with pytest.raises(Interrupted):
        run_search(monkeypatch, "--trials=4", f"--space={SPACE}", confirm, "--keep=0", prepare=prepare)
    chosen = the_search().data.tags["winner_run_id"]
    workers = run_search(monkeypatch, "--resume=latest")
    assert [(task.run_id, task.register) for task in workers.tasks] == [(chosen, True)]
    assert (the_search().info.status, the_search().data.tags["winner_run_id"]) == ("FINISHED", chosen)
    assert [run.info.run_id for run in runs() if "registered_version" in run.data.tags] == [chosen]


def test_chosen_winner_stands_beside_a_failed_trial_that_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(workers: MadeUpWorkers) -> None:
        workers.before = lambda task: workers.fail(task, "a bug") if task.name == "trial 01" else "go on"

    def die(search: Any) -> None:
        raise Interrupted(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(winner, "keep_checkpoints", die)
        with pytest.raises(Interrupted):
            run_search(monkeypatch, "--trials=4", f"--space={SPACE}", "--confirm=2", "--keep=0", prepare=prepare)
    workers = run_search(monkeypatch, "--resume=latest")
    assert [task.register for task in workers.tasks] == [True]


def test_confirming_training_of_a_candidate_that_is_none_any_more_is_not_left_running(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(task: Task) -> Any:
        if task.tags.get("confirms") not in (None, "defaults"):
            workers[0].begin(task)
            raise Interrupted(signal.SIGINT)
        return "go on"

    workers: list[MadeUpWorkers] = []

    def prepare(made: MadeUpWorkers) -> None:
        workers.append(made)
        made.before = stop

    flags = (f"--space={SPACE}", "--confirm=1", "--keep=0", "--sampler=random")
    with pytest.raises(Interrupted):
        run_search(monkeypatch, "--trials=1", *flags, prepare=prepare)
    run_search(monkeypatch, "--resume=latest", "--trials=12")
    assert {run.info.status for run in runs()} <= {"FINISHED", "KILLED"}
    assert not [run for run in runs() if run.info.status == "RUNNING"]


def test_more_trials_than_a_grid_has_points_are_refused_at_a_resume_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flags = ("--space=schedule=constant,cosine batch_size=16,32", "--sampler=grid", "--confirm=0", "--keep=0")
    with pytest.raises(Interrupted):
        run_search(monkeypatch, "--trials=4", *flags, prepare=Stop(3))
    with pytest.raises(UserError, match=r"^trials: '100' is not allowed; allowed: at most 4, the points of the grid$"):
        run_search(monkeypatch, "--resume=latest", "--trials=100")


def test_search_of_an_experiment_without_a_space_is_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Spaceless(Diabetes):
        space = ""

        class Parameters(Diabetes.Parameters):  # a search's parameters are made once for each class
            pass

    with pytest.raises(UserError, match=r"^space: 'auto' is not allowed; .* has no space of its own$"):
        run_search(monkeypatch, "--trials=4", "--confirm=0", experiment=Spaceless())
    with pytest.raises(Interrupted):
        run_search(monkeypatch, "--trials=4", *SMALL, prepare=Stop(3), experiment=Spaceless())
    run_search(monkeypatch, "--resume=latest", experiment=Spaceless())
    assert len(table()) == 4


def test_report_of_an_interrupted_search_has_running_trials_as_far_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def prepare(workers: MadeUpWorkers) -> None:
        def stop(task: Task) -> Any:
            if task.name == "trial 01":
                mlflow.MlflowClient().log_metric(workers.begin(task), "val_loss", 43.0, step=1)
                raise Interrupted(signal.SIGINT)
            return "go on"

        workers.before = stop

    with pytest.raises(Interrupted):
        run_search(monkeypatch, "--trials=3", *SMALL, prepare=prepare)
    row = table()[1]
    assert (row["status"], row["epochs"], float(row["best"])) == ("running", "1", 43.0)
    assert row["run_id"]


def test_failed_trial_is_no_result_and_is_tried_again_by_a_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_one(workers: MadeUpWorkers) -> None:
        workers.before = lambda task: workers.fail(task, "disk full") if task.name == "trial 01" else "go on"

    def stop_late(workers: MadeUpWorkers) -> None:
        fail_one(workers)
        failing, stop = workers.before, Stop(5)
        workers.before = lambda task: stop.before(task) and failing(task)

    with pytest.raises(Interrupted):
        run_search(monkeypatch, "--trials=6", *SMALL, prepare=stop_late)
    rows = table()
    assert (rows[1]["status"], rows[1]["note"]) == ("failed", "disk full")
    assert rows[3]["known"] == "0,2"
    run_search(monkeypatch, "--resume=latest")
    assert [row["status"] for row in table()] == ["finished"] * 6
    assert table()[3]["known"] == "0,2"


def test_search_whose_trials_all_fail_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(workers: MadeUpWorkers) -> None:
        workers.before = lambda task: workers.fail(task, "no memory")

    with pytest.raises(RunFailed, match=r"^the first 5 trials failed; trial 0: no memory"):
        run_search(monkeypatch, "--trials=50", *SMALL, prepare=prepare)
    assert len(runs()) == 5
    with pytest.raises(RunFailed, match=r"no trial has ended with a finite val_loss \(2 failed\); trial 0: no memory"):
        run_search(monkeypatch, "--trials=2", *SMALL, prepare=prepare)


def test_trial_without_a_number_is_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    def curve(given: dict[str, Any]) -> list[float]:
        return [math.nan] if given["learning_rate"] > 0.02 else make_curve(given)

    run_search(monkeypatch, "--trials=6", "--sampler=random", *SMALL, curve=curve)
    statuses = {row["status"] for row in table()}
    assert statuses == {"finished", "not_a_number"}
    assert table()[5]["known"] == "0-4"
    assert {run.info.status for run in runs()} == {"FINISHED"}


def test_pruned_trials_do_not_win(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = run_search(monkeypatch, "--trials=20", "--prune=asha", "--sampler=random", *SMALL)
    rows = table()
    assert {row["status"] for row in rows} == {"finished", "pruned"}
    assert all(row["note"] for row in rows if row["status"] == "pruned")
    winner = rows[int(the_search().data.tags["winner"])]
    assert winner["status"] == "finished"
    late = next(task for task in workers.tasks if task.name == "trial 10")
    assert [len(other) for other in late.others] == [int(row["epochs"]) for row in rows[:10]]


def test_winner_is_confirmed_with_new_seeds_beside_the_defaults(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    workers = run_search(monkeypatch, "--trials=8", f"--space={SPACE}", "--confirm=3", "--keep=0")
    confirming = [run for run in runs() if "confirms" in run.data.tags]
    best = sorted(table(), key=lambda row: float(row["best"]))[:3]
    labels = [row["number"] for row in best] + ["defaults"]
    assert sorted(run.data.tags["confirms"] for run in confirming) == sorted(labels * 3)
    seeds = {label: {run.data.params["seed"] for run in confirming if run.data.tags["confirms"] == label}
             for label in labels}  # fmt: skip
    assert len({frozenset(one) for one in seeds.values()}) == 1
    assert "7" not in seeds["defaults"]
    assert re.search(r"^Trial \d wins: with 3 new seeds it has val_loss .* its lead is", capsys.readouterr().out, re.M)
    search = the_search()
    winner = search.data.tags["winner"]
    chosen = next(run for run in confirming if run.info.run_id == search.data.tags["winner_run_id"])
    assert chosen.data.tags["confirms"] == winner
    assert chosen.data.tags["registered_version"] == "1"
    assert not any(run.data.tags.get("registered_version") for run in runs() if run.info.run_id != chosen.info.run_id)
    task = workers.tasks[-1]
    assert task.version_tags == {
        "search_run_id": search.info.run_id, "winner": winner, "confirmed": search.data.tags["confirmed"]
    }  # fmt: skip
    assert f"Trial {winner} wins" in task.note.replace("\\", "")
    assert all("learning_rate" not in task.given for task in workers.tasks if task.tags.get("confirms") == "defaults")


def test_interrupted_confirmation_trains_nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("--trials=4", f"--space={SPACE}", "--confirm=2", "--keep=0")
    with pytest.raises(Interrupted):
        run_search(monkeypatch, *arguments, prepare=Stop(8))
    workers = run_search(monkeypatch, "--resume=latest")
    assert len(workers.tasks) == 8 - 3 + 1
    assert len(runs()) == 4 + 8


def test_more_trials_extend_a_search_that_has_not_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Interrupted):
        run_search(monkeypatch, "--trials=4", *SMALL, prepare=Stop(3))
    run_search(monkeypatch, "--resume=latest", "--trials=6", "--workers=2")
    assert len(table()) == 6


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("--space=learning_rate=0.01..0.1", "space: .* allowed: learning_rate=0.001..0.1/log hidden_units=16,64, as"),
        ("--sampler=random", "sampler: 'random' is not allowed; allowed: tpe, as search"),
        ("--trials=3", "trials: '3' is not allowed; allowed: 4 or more, as search"),
        ("--seed=8", "seed: '8' is not allowed; allowed: 7, as search"),
        ("--patience=3", "patience: '3' is not allowed; allowed: 30, as search"),
    ],
)
def test_resume_with_another_parameter_is_refused(monkeypatch: pytest.MonkeyPatch, argument: str, told: str) -> None:
    with pytest.raises(Interrupted):
        run_search(monkeypatch, "--trials=4", *SMALL, prepare=Stop(3))
    with pytest.raises(UserError, match=told):
        run_search(monkeypatch, "--resume=latest", argument)
    assert the_search().info.status == "KILLED"


@pytest.mark.parametrize(("tag", "what"), [("data_digest", "data"), ("code_digest", "code")])
def test_resume_with_other_data_or_code_is_refused(monkeypatch: pytest.MonkeyPatch, tag: str, what: str) -> None:
    with pytest.raises(Interrupted):
        run_search(monkeypatch, "--trials=4", *SMALL, prepare=Stop(3))
    mlflow.MlflowClient().set_tag(the_search().info.run_id, tag, "0" * 64)
    with pytest.raises(UserError, match=rf"^{what}: .* changed since search \w+ began .*restore the {what}"):
        run_search(monkeypatch, "--resume=latest")


def test_finished_search_is_not_resumed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run_search(monkeypatch, "--trials=2", *SMALL)
    with pytest.raises(IndexError):  # no worker is made
        run_search(monkeypatch, f"--resume={the_search().info.run_id}")
    assert "has finished: version 1 of diabetes is registered" in capsys.readouterr().out
    with pytest.raises(UserError, match="no resumable search in experiment Default"):
        run_search(monkeypatch, "--resume=latest")


def test_search_that_is_held_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(workers: MadeUpWorkers) -> None:
        def before(task: Task) -> Any:
            with pytest.raises(UserError, match=r"^resume: search \w+ is held by process \d+"):
                run_search(monkeypatch, f"--resume={the_search().info.run_id}")
            return "go on"

        workers.before = before

    run_search(monkeypatch, "--trials=1", *SMALL, prepare=prepare)


def test_outcome_of_a_worker_is_not_believed_without_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a trial's end tells is read from the store."""

    def prepare(workers: MadeUpWorkers) -> None:
        def before(task: Task) -> Any:
            if task.register:
                return "go on"
            outcome = workers.carry_out(task)
            return Outcome(outcome.status, outcome.run_id, version="made up")

        workers.before = before

    run_search(monkeypatch, "--trials=2", *SMALL, prepare=prepare)
    assert json.loads(runs()[0].data.tags["proposal"])["values"] == {
        "learning_rate": float(table()[0]["learning_rate"]), "hidden_units": int(table()[0]["hidden_units"])
    }  # fmt: skip


def test_confirming_training_whose_worker_dies_before_its_parameters_are_logged_has_one_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[str] = []

    def prepare(workers: MadeUpWorkers) -> None:
        def before(task: Task) -> Any:
            if "confirms" not in task.tags or begun:
                return "go on"
            launch = {"parameters": {"seed": str(task.given["seed"])}}
            tags = {"verb": "train", "experiment": "diabetes", **task.tags, "launch": json.dumps(launch)}
            begun.append(mlflow.MlflowClient().create_run("0", tags=tags).info.run_id)
            return None

        workers.before = before

    run_search(monkeypatch, "--trials=2", f"--space={SPACE}", "--confirm=1", "--keep=0", prepare=prepare)
    confirming = [run for run in runs() if "confirms" in run.data.tags]
    assert len(confirming) == 3
    assert {run.info.status for run in confirming} == {"FINISHED"}
    assert begun[0] in {run.info.run_id for run in confirming}


def test_higher_metric_wins_where_higher_is_better(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = run_search(
        monkeypatch, "--trials=20", "--monitor=val_r2", "--mode=max", "--prune=asha", f"--space={SPACE}",
        "--confirm=2", "--keep=0", curve=lambda given: [-value for value in make_curve(given)],
    )  # fmt: skip
    rows = [row for row in table() if row["status"] == "finished"]
    best = sorted(rows, key=lambda row: -float(row["best"]))
    assert {task.tags["confirms"] for task in workers.tasks if "confirms" in task.tags} == {
        "defaults", *(row["number"] for row in best[:3])
    }  # fmt: skip
    assert the_search().data.metrics["best_trial"] == float(best[0]["number"])
    assert the_search().data.metrics["best_so_far"] == float(best[0]["best"])
    assert all(float(row["best"]) < float(best[0]["best"]) for row in table() if row["status"] == "pruned")


def test_failed_trial_adds_no_point_to_the_best_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(workers: MadeUpWorkers) -> None:
        workers.before = lambda task: workers.fail(task, "disk full") if task.name == "trial 01" else "go on"

    run_search(monkeypatch, "--trials=3", *SMALL, prepare=prepare)
    points = mlflow.MlflowClient().get_metric_history(the_search().info.run_id, "best_so_far")
    assert [point.step for point in points] == [1, 2]


def test_search_is_complete_only_once_its_report_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    log_search = tracked_search.search_log.log_search

    def log(run: Any, *arguments: Any) -> None:
        seen.append(mlflow.MlflowClient().get_run(run.id).data.tags.get("registered_version"))
        log_search(run, *arguments)

    monkeypatch.setattr(tracked_search.search_log, "log_search", log)
    run_search(monkeypatch, "--trials=2", *SMALL)
    assert seen == [None]
    assert the_search().data.tags["registered_version"] == "1"


def test_what_may_change_changes_back_to_its_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(executors, "count_cores", lambda: 4)
    with pytest.raises(Interrupted):
        run_search(monkeypatch, "--trials=4", "--workers=4", "--epochs=9", *SMALL, prepare=Stop(3))
    monkeypatch.setattr(executors, "count_cores", lambda: 2)
    with pytest.raises(UserError, match=r"invalid parameter \(workers: '4' .* at most 2.*\); give another value$"):
        run_search(monkeypatch, "--resume=latest")
    workers = run_search(monkeypatch, "--resume=latest", "--workers=1", "--trials=20", "--epochs=200000")
    assert workers.count == 1
    assert len(table()) == 20
    assert "epochs: the default, 200000, counts as not given; the run's value, 9, is used" in capsys.readouterr().err


def test_closed_search_leaves_checkpoints_at_the_runs_and_no_run_folder(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    with pytest.raises(Interrupted):
        run_search(monkeypatch, "--trials=4", f"--space={SPACE}", "--keep=2", prepare=Stop(3))
    for run in runs():
        left = folder / "snapshots" / run.info.run_id
        left.mkdir()
        (left / "best.keras").write_text("weights")
    unfinished.main(Diabetes(), [f"--close={the_search().info.run_id}"], Signals())
    for run in runs():
        found = mlflow.MlflowClient().list_artifacts(run.info.run_id, "checkpoint")
        assert [file.path for file in found] == ["checkpoint/best.keras"]
        assert not (folder / "snapshots" / run.info.run_id).exists()
    assert (the_search().info.status, the_search().data.tags["closed"]) == ("KILLED", "true")


def test_search_that_was_killed_before_its_end_is_still_unfinished(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_search(monkeypatch, "--trials=2", *SMALL)
    mlflow.MlflowClient().update_run(the_search().info.run_id, "RUNNING")
    unfinished.main(Diabetes(), [], Signals())
    assert f"resume with: search --resume {the_search().info.run_id}" in capsys.readouterr().out
    unfinished.main(Diabetes(), ["--close=dead"], Signals())
    assert the_search().info.status == "FINISHED"


def test_search_of_another_host_is_neither_resumed_nor_closed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Interrupted):
        run_search(monkeypatch, "--trials=4", *SMALL, prepare=Stop(3))
    client, search_id = mlflow.MlflowClient(), the_search().info.run_id
    launch = json.loads(the_search().data.tags["launch"]) | {"host": "elsewhere", "token": "another"}
    client.set_tag(search_id, "launch", json.dumps(launch))
    client.delete_tag(search_id, "stop_reason")
    with pytest.raises(UserError, match="no resumable search"):
        run_search(monkeypatch, "--resume=latest")
    with pytest.raises(UserError, match=f"search {search_id} runs or died on another host"):
        run_search(monkeypatch, f"--resume={search_id}")
    unfinished.main(Diabetes(), ["--close=dead"], Signals())
    assert "unknown here whether alive" in capsys.readouterr().out
    assert "closed" not in the_search().data.tags
    # A trial that fell here: a worker of that host may be about to resume it.
    tags = {"verb": "train", "trial": "9", "mlflow.parentRunId": search_id, "experiment": "diabetes"}
    trial = client.create_run("0", tags=tags).info.run_id
    with pytest.raises(UserError, match=rf"^close: run {trial} is of search {search_id}, of which it is unknown here"):
        unfinished.main(Diabetes(), [f"--close={trial}"], Signals())
    assert "closed" not in mlflow.get_run(trial).data.tags
