"""The verb tidy: what it removes, and what it never does."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import LoggedModelInput
from mlflow.exceptions import MlflowException

from diabetes import Diabetes
from helpers.tidying import MadeUp
from helpers.verbs import Verb
from tracked.console.errors import RunFailed, UserError
from tracked.console.signals import Signals
from tracked.runs import artifact_files, sight, store_contents
from tracked.tidy import removal, tracked_tidy
from tracked.training.run_folder_lock import RunFolderLock

TRAINED = {"history.csv", "checkpoint/best.keras", "data/rows.parquet"}
PREDICTED = {"predictions.parquet", "mistakes.json", "baselines/median.parquet"}


@pytest.fixture
def made(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadeUp:
    """An experiment whose root of artifacts no other store has: the copies of the empty store share theirs."""
    place = mlflow.MlflowClient().create_experiment("tidied", artifact_location=str(tmp_path / "artifacts"))
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", place)
    return MadeUp(tmp_path / "snapshots", place)


def tidy(*arguments: str) -> None:
    """Remove all that may go; by default not even the best checkpoint stays."""
    given = {word.partition("=")[0] for word in arguments}
    defaults = [word for word in ("--keep=0", "--yes=true") if word.partition("=")[0] not in given]
    Verb("tidy", Diabetes()).main([*arguments, *defaults], Signals())


def has_model(model_id: str) -> bool:
    """Whether the files of a stored model exist."""
    return any(Path.cwd().rglob(f"{model_id}/artifacts/MLmodel"))


def everything() -> dict[str, bytes]:
    """All files of artifacts and run folders."""
    return {str(path): path.read_bytes() for path in Path.cwd().rglob("*") if path.is_file() and path.suffix != ".db"}


def test_dry_run_changes_nothing_and_says_what_would_go(made: MadeUp, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = made.closed()
    before = everything()
    tidy("--yes=false")
    assert everything() == before
    assert len(mlflow.search_runs([made.experiment_id], output_format="list")) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["checkpoint", "rows"]
    assert all(run_id in line for line in lines[:2])
    assert lines[-2:] == ["may go: 2 things, 18 B", "nothing was removed; to remove it: --yes true"]


def test_closed_training_loses_checkpoint_and_rows_and_keeps_its_tables(made: MadeUp) -> None:
    run_id = made.closed()
    tidy()
    assert made.files(run_id) == {"history.csv"}
    assert made.client.get_metric_history(run_id, "val_loss")


@pytest.mark.parametrize(("keep", "left"), [(0, 0), (1, 1), (2, 2), (10, 4)])
def test_keep_leaves_the_best_checkpoints(made: MadeUp, keep: int, left: int) -> None:
    ids = [made.closed(value) for value in (0.4, 0.3, 0.2, 0.1)][::-1]
    tidy(f"--keep={keep}")
    assert [made.files(run_id) == TRAINED for run_id in ids] == [number < left for number in range(4)]


def test_keep_counts_trainings_on_other_data_apart(made: MadeUp) -> None:
    first, other = made.closed(0.1), made.closed(0.9, tags={"data_digest": "e" * 64})
    tidy("--keep=1")
    assert made.files(first) == made.files(other) == TRAINED


@pytest.mark.parametrize(
    "tags",
    [
        {"stop_reason": "interrupted"},  # unfinished
        {"stop_reason": "error"},
        {"stop_reason": "killed", "closed": "true", "pinned": "true"},
        {"stop_reason": "killed", "closed": "true", "pinned": ""},
        {"stop_reason": "killed", "closed": "true", "registered_version": "7"},  # of a registry that is not this one
        {"stop_reason": "killed", "closed": "true", "trial": "3", "mlflow.parentRunId": "a" * 32},  # its search is gone
        {"stop_reason": "killed", "closed": "true", "experiment": "another"},
        {"stop_reason": "killed", "closed": "true", "verb": "found"},
    ],
)
def test_training_that_is_not_settled_pinned_or_anothers_is_kept(made: MadeUp, tags: dict[str, str]) -> None:
    run_id = made.training(tags=tags, status="KILLED")
    folder = made.folder(run_id)
    tidy()
    assert made.files(run_id) == TRAINED
    assert (folder / "journal.jsonl").exists()


def test_training_with_a_pin_that_is_false_goes(made: MadeUp) -> None:
    run_id = made.closed(tags={"pinned": "False"})
    tidy()
    assert made.files(run_id) == {"history.csv"}


@pytest.mark.parametrize("status", ["RUNNING", "FAILED", "FINISHED"])
def test_training_that_was_closed_and_is_no_more_is_kept(made: MadeUp, status: str) -> None:
    run_id = made.training(tags={"stop_reason": "killed", "closed": "true"}, status=status)
    tidy()
    assert made.files(run_id) == TRAINED


def test_deleted_run_is_kept_as_it_may_be_restored(made: MadeUp) -> None:
    run_id = made.closed()
    made.client.delete_run(run_id)
    tidy("--leftovers=true")
    made.client.restore_run(run_id)
    assert made.files(run_id) == TRAINED


def test_trials_of_a_closed_search_go_and_those_of_an_unfinished_one_stay(made: MadeUp) -> None:
    _, closed = made.search([0.3, 0.1])
    unfinished, live = made.search([0.3, 0.1], tags={"stop_reason": "interrupted"})
    made.tag(made.search([0.2])[0], pinned="yes")
    made.folder(unfinished)
    tidy("--keep=1")
    assert [made.files(run_id) for run_id in closed] == [{"history.csv"}, TRAINED]
    assert [made.files(run_id) for run_id in live] == [TRAINED, TRAINED]
    assert (made.root / unfinished).exists()


def test_trials_of_a_pinned_search_stay(made: MadeUp) -> None:
    search, trials = made.search([0.3])
    made.tag(search, pinned="true")
    tidy()
    assert made.files(trials[0]) == TRAINED


def test_model_without_a_version_goes_with_its_record(made: MadeUp) -> None:
    run_id = made.closed()
    model_id = made.model(run_id)
    tidy()
    assert not has_model(model_id)
    with pytest.raises(MlflowException, match="not found"):
        made.client.get_logged_model(model_id)
    assert made.files(run_id) == {"history.csv"}


def test_model_whose_version_is_not_found_stays_as_another_registry_may_have_it(made: MadeUp) -> None:
    made.registered(0.1)
    run_id, model_id, number = made.registered()
    made.client.delete_model_version("diabetes", number)
    tidy()
    assert has_model(model_id)
    assert made.files(run_id) == TRAINED


def hold_directly(made: MadeUp, run_id: str, model_id: str) -> None:
    made.version(run_id, f"models:/{model_id}")


def hold_under_another_name(made: MadeUp, run_id: str, model_id: str) -> None:
    number = made.version(run_id, f"models:/{model_id}", "first")
    version = made.client.get_model_version("first", number)
    made.client.copy_model_version(f"models:/first/{version.version}", "second")
    made.client.delete_registered_model("first")


def hold_without_a_run(made: MadeUp, run_id: str, model_id: str) -> None:
    location = made.client.get_logged_model(model_id).artifact_location
    made.client.create_registered_model("bare")
    made.client.create_model_version("bare", location)


def hold_after_a_rename(made: MadeUp, run_id: str, model_id: str) -> None:
    made.version(run_id, f"models:/{model_id}", "old")
    made.client.rename_registered_model("old", "new")


def hold_by_its_checkpoint(made: MadeUp, run_id: str, model_id: str) -> None:
    made.client.create_registered_model("by hand")
    made.client.create_model_version("by hand", f"{made.client.get_run(run_id).info.artifact_uri}/checkpoint")


def evaluate(made: MadeUp, run_id: str, model_id: str) -> None:
    made.evaluation(run_id, model_id)


def evaluate_in_another_experiment(made: MadeUp, run_id: str, model_id: str) -> None:
    MadeUp(made.root, made.client.create_experiment("elsewhere")).evaluation(run_id, model_id)


def evaluate_in_a_deleted_run(made: MadeUp, run_id: str, model_id: str) -> None:
    made.client.delete_run(made.evaluation(run_id, model_id))


def replay(made: MadeUp, run_id: str, model_id: str) -> None:
    made.run("replay", {"source_run_id": run_id})


def take_it_by_hand(made: MadeUp, run_id: str, model_id: str) -> None:
    run = made.client.create_run(made.experiment_id)
    made.client.log_inputs(run.info.run_id, models=[LoggedModelInput(model_id)])


def log_another_model_there(made: MadeUp, run_id: str, model_id: str) -> None:
    made.model(run_id, own=False)


def pin_the_model(made: MadeUp, run_id: str, model_id: str) -> None:
    made.client.set_logged_model_tags(model_id, {"pinned": "true"})


def say_that_a_version_has_it(made: MadeUp, run_id: str, model_id: str) -> None:
    made.client.set_logged_model_tags(model_id, {"mlflow.modelVersions": '[{"name": "hidden", "version": 3}]'})


def name_it_in_a_description(made: MadeUp, run_id: str, model_id: str) -> None:
    made.run("compare", {"mlflow.note.content": f"see #/experiments/0/runs/{run_id}"})


HOLDERS = [
    hold_directly, hold_under_another_name, hold_without_a_run, hold_after_a_rename, hold_by_its_checkpoint, evaluate,
    evaluate_in_another_experiment, evaluate_in_a_deleted_run, replay, take_it_by_hand, log_another_model_there,
    pin_the_model, say_that_a_version_has_it, name_it_in_a_description,
]  # fmt: skip


@pytest.mark.parametrize("hold", HOLDERS, ids=lambda hold: hold.__name__)
def test_what_something_needs_is_kept(made: MadeUp, hold: Callable[[MadeUp, str, str], None]) -> None:
    run_id = made.closed()
    model_id = made.model(run_id)
    free = made.closed()
    hold(made, run_id, model_id)
    tidy("--leftovers=true")
    assert has_model(model_id)
    assert made.files(run_id) == TRAINED
    assert made.files(free) == {"history.csv"}  # something did go


@pytest.mark.parametrize("hold", HOLDERS, ids=lambda hold: hold.__name__)
def test_what_something_needs_since_the_list_is_kept(
    made: MadeUp, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    hold: Callable[[MadeUp, str, str], None],
) -> None:  # fmt: skip
    run_id = made.closed()
    model_id = made.model(run_id)
    remove = removal.remove

    def hold_first(*arguments: object) -> str:
        if not held:
            held.append(hold(made, run_id, model_id))
        return remove(*arguments)

    held: list[None] = []
    monkeypatch.setattr(tracked_tidy, "remove", hold_first)
    tidy()
    assert has_model(model_id)
    assert made.files(run_id) == TRAINED
    assert f"kept stored model {model_id}: " in capsys.readouterr().out


def describe_the_training(made: MadeUp, older: str, run_id: str, model_id: str) -> None:
    made.tag(older, **{"mlflow.note.content": f"as good as #/experiments/0/runs/{run_id}"})


def describe_the_model(made: MadeUp, older: str, run_id: str, model_id: str) -> None:
    made.tag(older, **{"mlflow.note.content": f"see {model_id}."})


def take_the_model(made: MadeUp, older: str, run_id: str, model_id: str) -> None:
    made.client.log_inputs(older, models=[LoggedModelInput(model_id)])


def take_the_model_and_end(made: MadeUp, older: str, run_id: str, model_id: str) -> None:
    take_the_model(made, older, run_id, model_id)
    made.client.set_terminated(older)


def name_it_in_a_tag(made: MadeUp, older: str, run_id: str, model_id: str) -> None:
    made.tag(older, liked=run_id)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        (describe_the_training, "FINISHED"),
        (describe_the_model, "FINISHED"),
        (take_the_model, "RUNNING"),
        (take_the_model_and_end, "RUNNING"),
        (name_it_in_a_tag, "RUNNING"),
    ],
)
def test_what_an_older_run_has_come_to_name_since_the_list_is_kept(
    made: MadeUp, monkeypatch: pytest.MonkeyPatch, name: Callable[[MadeUp, str, str, str], None], status: str
) -> None:
    older = made.run("look", status=status)
    run_id = made.closed()
    model_id = made.model(run_id)
    remove = removal.remove

    def name_first(*arguments: object) -> str:
        if not named:
            named.append(name(made, older, run_id, model_id))
        return remove(*arguments)

    named: list[None] = []
    monkeypatch.setattr(store_contents, "SKEW", -1000)  # the older run began before what is read for its start
    monkeypatch.setattr(tracked_tidy, "remove", name_first)
    tidy()
    assert has_model(model_id)
    assert made.files(run_id) == TRAINED


@pytest.mark.parametrize(
    "hold", [hold_directly, hold_without_a_run, hold_by_its_checkpoint], ids=lambda one: one.__name__
)
@pytest.mark.parametrize("clock", ["fast", "slow"])
def test_version_since_the_list_is_found_whatever_the_clocks_say(
    made: MadeUp, store: str, monkeypatch: pytest.MonkeyPatch, hold: Callable[[MadeUp, str, str], None], clock: str
) -> None:
    made.registered()
    run_id = made.closed()
    model_id = made.model(run_id)
    remove, hour = removal.remove, 3_600_000
    set_versions_clock(store, hour if clock == "fast" else 0)

    def hold_first(*arguments: object) -> str:
        if not held:
            held.append(hold(made, run_id, model_id))
            if clock == "slow":
                set_versions_clock(store, -hour, "storage_location like '%' || ? || '%'", model_id)
                set_versions_clock(store, -hour, "storage_location like '%' || ? || '%'", run_id)
        return remove(*arguments)

    held: list[None] = []
    monkeypatch.setattr(tracked_tidy, "remove", hold_first)
    tidy()
    assert has_model(model_id)
    assert made.files(run_id) == TRAINED


def set_versions_clock(store: str, milliseconds: int, where: str = "1", *values: str) -> None:
    """Move the times of versions, as a machine with another clock would have written them."""
    with closing(sqlite3.connect(store.removeprefix("sqlite:///"))) as database, database:
        change = f"UPDATE model_versions SET last_updated_time = last_updated_time + {milliseconds} WHERE {where}"
        database.execute(change, values)


def test_training_that_is_resumed_since_the_list_is_kept(made: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = made.closed()
    folder = made.folder(run_id)
    remove = removal.remove

    def resume_first(*arguments: object) -> str:
        made.client.update_run(run_id, status="RUNNING")
        return remove(*arguments)

    monkeypatch.setattr(tracked_tidy, "remove", resume_first)
    tidy()
    assert made.files(run_id) == TRAINED
    assert (folder / "journal.jsonl").exists()


@pytest.mark.slow
def test_older_evaluation_of_the_same_goes_and_the_newer_stays(made: MadeUp) -> None:
    run_id, model_id, _ = made.registered()
    old, new = made.evaluation(run_id, model_id), made.evaluation(run_id, model_id)
    tidy()
    assert made.files(old) == {"baselines.csv"}
    assert made.files(new) == PREDICTED | {"baselines.csv"}


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": "s" * 64},
        {"data": "/elsewhere"},
        {"key": "l" * 64},
        {"tags": {"loss_of_rows": "nats"}},
        {"tags": {"evaluation_format": "2"}},
        {"tags": {"pinned": "true"}},
        {"tags": {"training_run_id": ""}},
        {"tags": {"experiment": "another"}},
    ],
)
def test_older_evaluation_of_something_else_stays(made: MadeUp, changes: dict[str, dict[str, str]]) -> None:
    run_id, model_id, _ = made.registered()
    old = made.evaluation(run_id, model_id, **changes)
    made.evaluation(run_id, model_id)
    tidy()
    assert made.files(old) == PREDICTED | {"baselines.csv"}


@pytest.mark.parametrize("by", ["promotion", "version", "comparison", "its list"])
def test_older_evaluation_that_something_used_stays(made: MadeUp, by: str) -> None:
    run_id, model_id, number = made.registered()
    old = made.evaluation(run_id, model_id)
    made.evaluation(run_id, model_id)
    if by == "promotion":
        made.run("promote", {"champion_evaluation_run_id": old})
    elif by == "version":
        made.client.set_model_version_tag("diabetes", number, "evaluation_run_id", old)
    elif by == "comparison":
        made.run("compare", files={"comparison.csv": f"run_id,evaluation_run_id\n{run_id},{old}\n".encode()})
    else:
        made.run("compare", params={"runs": old})
    tidy()
    assert made.files(old) == PREDICTED | {"baselines.csv"}


def test_older_evaluation_stays_where_the_newer_was_deleted_or_has_lost_its_files(made: MadeUp) -> None:
    run_id, model_id, _ = made.registered()
    for rows in ("1" * 64, "2" * 64):
        old, new = made.evaluation(run_id, model_id, rows=rows), made.evaluation(run_id, model_id, rows=rows)
        if rows[0] == "1":
            made.client.delete_run(new)
        else:
            artifact_files.delete(made.client.get_run(new).info.artifact_uri, "predictions.parquet")
        tidy()
        assert made.files(old) == PREDICTED | {"baselines.csv"}


def test_evaluation_whose_training_and_model_are_gone_goes_unless_others_take_its_baselines(made: MadeUp) -> None:
    gone = made.evaluation("a" * 32, f"m-{'b' * 32}", key="")
    newest = made.evaluation("a" * 32, f"m-{'b' * 32}", rows="s" * 64, key="x" * 64)
    deleted, model_id, _ = made.registered()
    of_deleted = made.evaluation(deleted, model_id, key="")
    made.client.delete_run(deleted)
    tidy()
    assert made.files(gone) == {"baselines.csv"}
    assert made.files(newest) == made.files(of_deleted) == PREDICTED | {"baselines.csv"}


def test_run_folder_of_a_complete_training_goes(made: MadeUp) -> None:
    run_id, *_ = made.registered()
    folder = made.folder(run_id, {"best-2.keras": b"x"})
    tidy("--keep=10")
    assert not folder.exists()
    assert made.files(run_id) == TRAINED


@pytest.mark.parametrize("case", ["other token", "later token", "unknown run", "held", "too young", "other file"])
def test_run_folder_that_may_be_needed_stays(made: MadeUp, case: str) -> None:
    run_id, *_ = made.registered()
    folder = made.folder(run_id, {"notes.txt": b"mine"} if case == "other file" else {})
    if case == "other token":
        (folder / "attempts").write_text("f" * 32)
    elif case == "later token":  # of an attempt that this store does not know of
        (folder / "attempts").write_text((folder / "attempts").read_text() + "\n" + "f" * 32)
    elif case == "unknown run":
        folder = folder.rename(folder.with_name("c" * 32))
    with RunFolderLock() as lock:
        if case == "held":
            lock.take(folder)
        tidy("--older_than=1" if case == "too young" else "--keep=10")
    assert (folder / ("notes.txt" if case == "other file" else "journal.jsonl")).exists()


def test_run_folder_of_a_closed_training_stays_if_its_checkpoint_is_the_only_one(made: MadeUp) -> None:
    stored, lost = made.closed(0.1), made.closed(0.2, checkpoint=False)
    of_stored = made.folder(stored, {"best-1.keras": b"worse", "best-2.keras": b"network of 0.1"})
    of_lost = made.folder(lost, {"best-2.keras": b"network of 0.2"})
    tidy("--keep=2")
    assert not of_stored.exists()
    assert (of_lost / "best-2.keras").exists()
    tidy("--keep=1")
    assert not of_lost.exists()  # beyond the best


def test_leftovers_go_only_if_they_may(made: MadeUp, capsys: pytest.CaptureFixture[str]) -> None:
    made.closed()
    root = Path("artifacts")
    gone, model = root / ("a" * 32), root / "models" / f"m-{'b' * 32}"
    others = [root / "notes", root / ("A" * 32), root / ("c" * 32), root / "models" / "m-1"]
    for folder in (gone, model, *others):
        (folder / "artifacts").mkdir(parents=True)
        (folder / "artifacts" / "file").write_bytes(b"12345")
    (root / ("c" * 32) / "meta.yaml").write_text("of a store of files")
    tidy("--keep=10")
    assert gone.exists()
    out = capsys.readouterr().out
    assert "left over, and kept without leftovers=true, as another store may write there: 2 things, 10 B" in out
    tidy("--leftovers=true", "--keep=10")
    assert not gone.exists()
    assert not model.exists()
    assert all((folder / "artifacts" / "file").exists() for folder in others)


def test_run_of_tidy_has_the_list_and_the_outcome(made: MadeUp) -> None:
    run_id = made.closed()
    tidy()
    run = mlflow.search_runs([made.experiment_id], "tags.verb = 'tidy'", output_format="list")[0]
    assert run.data.metrics == {"found_bytes": 18, "found_things": 2, "removed_bytes": 18, "removed_things": 2}
    table = mlflow.load_table("outcome.json", run_ids=[run.info.run_id])
    assert table["outcome"].tolist() == ["removed", "removed"]
    assert table["of"].tolist() == [run_id, run_id]
    path = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="tidy.json")
    plan = json.loads(Path(path).read_text())
    assert [dict(zip(plan["columns"], row, strict=True))["of"] for row in plan["data"]] == [run_id, run_id]


def test_what_cannot_be_removed_is_told_and_the_rest_goes(
    made: MadeUp, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = made.closed()
    delete = artifact_files.delete

    def refuse(uri: str, path: str) -> None:
        if path.startswith("checkpoint"):
            raise RunFailed("removing it failed (403)")
        delete(uri, path)

    monkeypatch.setattr(artifact_files, "delete", refuse)
    with pytest.raises(RunFailed, match=r"^1 thing could not be removed; the others were$"):
        tidy()
    assert made.files(run_id) == {"history.csv", "checkpoint/best.keras"}
    assert f"error: checkpoint {run_id} was not removed: removing it failed (403)" in capsys.readouterr().err
    monkeypatch.undo()


def test_user_who_does_not_see_the_whole_store_removes_run_folders_alone(
    made: MadeUp, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    closed, (registered, *_) = made.closed(), made.registered()
    folder = made.folder(registered)
    monkeypatch.setattr(sight, "explain_blindness", lambda: "user ann may not read everything on the server")
    tidy("--leftovers=true")
    assert made.files(closed) == TRAINED
    assert not folder.exists()
    assert "only run folders are looked at: user ann may not read everything" in capsys.readouterr().out


def test_tidy_after_a_kill_removes_what_the_killed_one_had_begun(made: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = made.closed()
    model_id = made.model(run_id)

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(artifact_files, "delete", die)
        with pytest.raises(Killed):
            tidy()
    assert has_model(model_id)  # its record is gone
    tidy()
    assert not has_model(model_id)
    assert made.files(run_id) == {"history.csv"}
    former = mlflow.search_runs(
        [made.experiment_id], "tags.verb = 'tidy' and attributes.status = 'FAILED'", output_format="list"
    )[0]
    assert former.data.tags["continued_by"]


def test_second_tidy_finds_nothing(made: MadeUp, capsys: pytest.CaptureFixture[str]) -> None:
    made.model(made.closed())
    made.search([0.1, 0.2])
    tidy("--keep=1")
    capsys.readouterr()
    tidy("--keep=1", "--yes=false")
    assert "may go: 0 things, 0 B" in capsys.readouterr().out


def test_experiment_that_does_not_exist_is_refused(made: MadeUp) -> None:
    with pytest.raises(UserError, match=r"^experiment: 'none' is not allowed"):
        tidy("--experiment=none")


def test_all_experiments_are_tidied_together_with_bytes_by_experiment(
    made: MadeUp, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = made.client.create_experiment("another", artifact_location=str(tmp_path / "others"))
    other = MadeUp(tmp_path / "snapshots", place)
    first, second, kept = made.closed(0.2), other.closed(0.3), other.closed(0.1, tags={"pinned": "true"})
    tidy()
    assert (made.files(first), other.files(second)) == ({"history.csv"}, TRAINED)
    tidy("--experiment=all")
    assert (other.files(second), other.files(kept)) == ({"history.csv"}, TRAINED)
    printed = capsys.readouterr().out
    assert "another: 1 x checkpoint, " in printed
    assert "tidied: 1 x checkpoint, " in printed


def test_run_folder_with_files_of_others_stays_whole(made: MadeUp, capsys: pytest.CaptureFixture[str]) -> None:
    run_id, *_ = made.registered()
    folder = made.folder(run_id)
    (folder / "notes.txt").write_text("mine")
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "lock"}
    tidy()
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "lock"} == before
    assert "kept 1: run folder: it has files of others" in capsys.readouterr().out
    (folder / "notes.txt").unlink()
    tidy()
    assert not folder.exists()


def test_where_versions_of_stored_models_are_is_not_asked_for_each(
    made: MadeUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow reads all versions of a name to answer for one: with thousands, a tidy would take hours."""
    asked: list[str] = []
    answer = mlflow.MlflowClient.get_model_version_download_uri

    def ask(client: mlflow.MlflowClient, name: str, version: str) -> str:
        asked.append(version)
        return str(answer(client, name, version))

    monkeypatch.setattr(mlflow.MlflowClient, "get_model_version_download_uri", ask)
    registered = [made.registered(value) for value in (0.5, 0.6)]
    made.client.copy_model_version("models:/diabetes/1", "copied")
    asked.clear()
    view = store_contents.read()
    assert asked == ["1"]  # of the copy
    for run_id, model_id, number in registered:
        assert f"version diabetes {number}" in view.list_namers(model_id)
        assert [model.model_id for model in view.models_of(run_id)] == [model_id]
    assert "version copied 1" in view.list_namers(registered[0][1])


def test_an_evaluation_is_superseded_by_one_like_it_alone(made: MadeUp, capsys: pytest.CaptureFixture[str]) -> None:
    run_id, model_id, _ = made.registered()
    older, other, newer = (made.evaluation(run_id, model_id, rows=rows) for rows in ("r", "s", "r"))
    tidy()
    assert PREDICTED - made.files(older) == PREDICTED
    assert made.files(other) >= PREDICTED
    assert made.files(newer) >= PREDICTED
