"""A prediction of the made-up experiment in this process: what is written, resumed, refused."""

import csv
import errno
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from helpers import predicting
from helpers.answering import Doubler
from helpers.made_workers import MadeWorkers
from tracked.analysis.observations import add_observations
from tracked.console.errors import Interrupted, RunFailed, UserError
from tracked.console.signals import Signals
from tracked.predict import facts, part_files, tracked_prediction, worker
from tracked.predict.journal import Journal
from tracked.predict.state import State
from tracked.predict.tasks import Event, PartTask, Setting, Task, TrainingTask
from tracked.runs.writer import Run
from tracked.training.run_folder_lock import RunFolderLock
from tracked.verbs import predict

BAD = [3, 25]


class HereWorkers(MadeWorkers[Task]):
    """A worker that is this process."""

    def __init__(self, owner: Any, setting: Setting) -> None:
        super().__init__()
        self.worker = worker.Worker(owner, setting)

    def wait(self, seconds: float) -> list[Event]:
        task = self.running.pop()
        return [Event(task, self.worker.carry_out(task))]


@pytest.fixture(autouse=True)
def _no_model(store: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("registry", "loader"):
        monkeypatch.setattr(tracked_prediction, name, getattr(tracked_prediction, name))
    predicting.replace_model(tracked_prediction)
    monkeypatch.setattr(worker, "load_model", lambda path: None)
    monkeypatch.setattr(tracked_prediction, "choose_workers", lambda parameters: HereWorkers)
    predicting.make_input(tmp_path / "rows.csv", 40, BAD)


def run(*words: str, owner: Doubler | None = None) -> None:
    predict.main(owner or Doubler(), ["--data=rows.csv", "--output=out", "--part_rows=10", *words], Signals())


def read(output: str = "out") -> pd.DataFrame:
    return pd.concat([pd.read_parquet(path) for path in sorted(Path(output).glob("part-*"))], ignore_index=True)


def stop_after(monkeypatch: pytest.MonkeyPatch, parts: int, error: BaseException) -> None:
    """End a prediction when it has noted some parts."""
    note, noted = Journal.note, []

    def fail(self: Journal, **event: Any) -> None:
        if "part" in event and len(noted) == parts:
            raise error
        noted.extend(["part"] if "part" in event else [])
        note(self, **event)

    monkeypatch.setattr(Journal, "note", fail)


def leave_unfinished(*words: str, parts: int = 2) -> None:
    """Leave a prediction that has noted some parts."""
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, parts, Interrupted(2))
        with pytest.raises(Interrupted):
            run(*words)


def test_every_row_is_answered_once_or_rejected(tmp_path: Path) -> None:
    run()
    table = read()
    assert table["id"].tolist() == [row for row in range(40) if row not in BAD]
    assert table["doubled"].tolist() == [2.0 * row for row in table["id"]]
    assert set(table["model_version"]) == {"1"}
    with open("out/rejected/part-00002.csv") as file:
        assert list(csv.DictReader(file)) == [
            {
                "row": "25",
                "id": "25",
                "file": "rows.csv",
                "file_row": "25",
                "reason": "no number",
                "content": '{"number": "bad"}',
            }
        ]
    content = json.loads(Path("out/manifest.json").read_text())
    assert (content["rows"], content["answered"], content["rejected"]) == (40, 38, 2)
    assert content["reasons"] == {"no number": 2}
    assert content["training"]["observed"] == {"parity": {"classes": {"even": 100, "odd": 100}}}
    assert not Path("out/work").exists()


def test_run_has_counts_and_the_manifest_and_is_finished(tmp_path: Path) -> None:
    run()
    (found,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert (found.info.status, found.data.tags["verb"], found.data.tags["model_version"]) == (
        "FINISHED",
        "predict",
        "1",
    )
    told = found.data.tags["mlflow.note.content"]
    assert "Drift: not shown beyond 5 points, nor excluded by 38 examples beside 200: " in told
    assert "the widest interval is parity 'odd': 50.0 % " in told
    assert found.data.tags["drift"] == "undecided"
    assert 0 <= found.data.metrics["drift_least"] < found.data.metrics["drift_most"] < 1
    names = {one.path for one in mlflow.MlflowClient().list_artifacts(found.info.run_id)}
    assert names == {"manifest.json", "observed.csv", "observed.png", "drift.csv"}
    metrics = found.data.metrics
    assert (metrics["rows"], metrics["answered_rows"], metrics["rejected_rows"], metrics["parts"]) == (40, 38, 2, 4)
    path = mlflow.artifacts.download_artifacts(run_id=found.info.run_id, artifact_path="manifest.json")
    assert json.loads(Path(path).read_text()) == json.loads(Path("out/manifest.json").read_text())


def test_resumed_prediction_has_the_same_bytes_and_the_same_run() -> None:
    run("--output=straight")
    leave_unfinished()
    (left,) = mlflow.search_runs(search_all_experiments=True, filter_string="status = 'KILLED'", output_format="list")
    run()
    assert predicting.read_output(Path("out")) == predicting.read_output(Path("straight"))
    found = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert (len(found), {one.info.status for one in found}) == (2, {"FINISHED"})
    assert json.loads(Path("out/manifest.json").read_text())["run_id"] == left.info.run_id


def test_run_that_is_gone_is_replaced() -> None:
    leave_unfinished()
    (left,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    mlflow.delete_run(left.info.run_id)
    run()
    (found,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert (found.info.status, found.data.metrics["parts"]) == ("FINISHED", 4)


def test_run_of_mlflow_run_takes_the_place_of_the_killed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_unfinished()
    (left,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    mlflow.MlflowClient().update_run(left.info.run_id, "RUNNING")
    made = mlflow.MlflowClient().create_run("0")
    monkeypatch.setenv("MLFLOW_RUN_ID", made.info.run_id)
    run()
    assert mlflow.get_run(left.info.run_id).info.status == "KILLED"
    assert mlflow.get_run(made.info.run_id).info.status == "FINISHED"


def test_run_of_mlflow_run_with_nothing_to_do_names_the_one_that_has(monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    (found,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    made = mlflow.MlflowClient().create_run("0")
    monkeypatch.setenv("MLFLOW_RUN_ID", made.info.run_id)
    run()
    note = mlflow.get_run(made.info.run_id).data.tags["mlflow.note.content"]
    assert note == f"complete already, by run {found.info.run_id}"


def test_complete_prediction_does_nothing_but_its_runs_end(capsys: pytest.CaptureFixture[str]) -> None:
    run()
    before = predicting.read_output(Path("out"))
    run()
    assert "complete already" in capsys.readouterr().out
    (found,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    mlflow.MlflowClient().update_run(found.info.run_id, "RUNNING")
    run()
    (found,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert found.info.status == "FINISHED"
    assert predicting.read_output(Path("out")) == before
    assert not Path("out/work").exists()


@pytest.mark.parametrize("complete", [True, False])
def test_missing_or_changed_part_is_made_again(complete: bool, capsys: pytest.CaptureFixture[str]) -> None:
    run("--output=straight")
    run() if complete else leave_unfinished(parts=3)
    Path("out/part-00000.parquet").write_bytes(b"changed")
    Path("out/rejected/part-00002.csv").unlink()
    run()
    assert "part-00000.parquet is missing or was changed, and is made again" in capsys.readouterr().err
    assert predicting.read_output(Path("out")) == predicting.read_output(Path("straight"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("--part_rows=20", "another part_rows (10 -> 20)"),
        ("--format=csv", "another format (parquet -> csv)"),
        ("input", "another input (rows.csv, digest "),
        ("code", "another code (digest "),
        ("model", "another model (doubler version 1, digest "),
    ],
)
@pytest.mark.parametrize("complete", [True, False])
def test_other_facts_than_before_are_refused_or_begun_anew(
    change: str, told: str, complete: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run() if complete else leave_unfinished()
    words = [change] if change.startswith("--") else []
    if change == "input":
        predicting.make_input(Path("rows.csv"), 41)
    if change == "code":
        monkeypatch.setattr(facts, "digest_code", lambda owner: "other")
    if change == "model":
        monkeypatch.setattr(facts, "digest_folder", lambda folder: "other")
    before = predicting.read_output(Path("out"))
    with pytest.raises(UserError) as error:
        run(*words)
    assert told in str(error.value)
    assert "\n" not in str(error.value)
    assert predicting.read_output(Path("out")) == before
    run(*words, "--fresh=true")
    assert json.loads(Path("out/manifest.json").read_text())["rows"] == (41 if change == "input" else 40)
    assert len(list(Path("out").glob("part-*"))) == {"input": 5, "--part_rows=20": 2}.get(change, 4)


def test_more_workers_or_rejected_rows_are_no_other_prediction() -> None:
    with pytest.raises(RunFailed, match=r"1 row rejected .no number: 1., and max_rejected is 0.* raise max_rej"):
        run("--max_rejected=0")
    assert Path("out/part-00000.parquet").exists()
    with pytest.raises(RunFailed, match="and max_rejected is 0"):
        run("--max_rejected=0", "--fresh=false")
    run("--max_rejected=2")
    assert len(read()) == 38


def test_ids_come_from_a_column_and_a_row_without_one_is_rejected() -> None:
    pd.DataFrame({"number": [1, 2, 3], "name": ["a", "", "c"]}).to_csv("rows.csv", index=False)
    run("--id_column=name")
    assert read()["id"].tolist() == ["a", "c"]
    with open("out/rejected/part-00000.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["row"], row["id"], row["reason"], row["content"]) == ("1", "", "no id", '{"number": "2"}')


def test_rejected_row_has_its_id_and_its_number_in_its_file() -> None:
    Path("in").mkdir()
    Path("in/a.csv").write_text("number,name\n1,a\n2,b\n")
    Path("in/b.csv").write_text("number,name\n3,c\n1,2,3\nx,e\n")
    run("--data=in", "--id_column=name", "--part_rows=3")
    found = pd.concat(map(pd.read_csv, sorted(Path("out/rejected").glob("*"))), ignore_index=True)
    assert found[["row", "file", "file_row"]].to_numpy().tolist() == [[3, "b.csv", 1], [4, "b.csv", 2]]
    assert found["id"].fillna("").tolist() == ["", "e"]


def test_any_id_is_read_back_from_csv() -> None:
    names = ["a\rb", "a\nb", 'a"b', "a,b", "1", "ü"]
    pd.DataFrame({"number": [1] * 6, "name": names}).to_parquet("rows.parquet")
    run("--data=rows.parquet", "--id_column=name", "--format=csv")
    with open("out/part-00000.csv", newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == names


def test_content_of_a_bad_row_is_written_whatever_it_is() -> None:
    Path("rows.jsonl").write_text('{"number": ["\\ud800"]}\n{"number": 1}\n')
    run("--data=rows.jsonl")
    assert r"\ud800" in Path("out/rejected/part-00000.csv").read_text(encoding="utf-8")
    assert len(read()) == 1


def test_csv_is_written_and_a_part_of_bad_rows_alone_is_empty() -> None:
    Path("rows.csv").write_text("number\nx\ny\n3\n")
    run("--format=csv", "--part_rows=2")
    header = '"id","doubled","parity","model_version"\n'
    assert Path("out/part-00000.csv").read_text() == header
    assert Path("out/part-00001.csv").read_text() == header + '2,6.0,"odd","1"\n'


@pytest.mark.parametrize("words", [[], ["--id_column=name"]])
def test_empty_part_has_the_types_of_the_others(words: list[str]) -> None:
    Path("rows.csv").write_text("number,name\nx,a\ny,b\n3,c\n")
    run("--part_rows=2", *words)
    schemas = [pd.read_parquet(path).dtypes.to_dict() for path in sorted(Path("out").glob("part-*"))]
    assert schemas[0] == schemas[1]


def test_bytes_depend_neither_on_the_size_of_parts_nor_on_the_format_of_the_input() -> None:
    run()
    pd.read_csv("rows.csv", dtype=str).to_parquet("rows.parquet")
    run("--data=rows.parquet", "--output=other", "--part_rows=7")
    pd.testing.assert_frame_equal(read(), read("other"))


@pytest.mark.parametrize("words", [[], ["--fresh=true"]])
@pytest.mark.parametrize(
    "content",
    [
        {"work/model/weights.bin": "1", "work/lock": "pid 3", "part-00000.csv": "1", "notes.txt": "1"},
        {"work/rows.parquet": "1"},
        {"work/lock": "", "part-00000.csv": "1", "part-00007.csv": "1"},
        {"manifest.json": '{"name": "my app"}'},
        {"manifest.json": "not JSON", "part-00000.parquet": "1"},
        {"part-00000.parquet": "1"},
    ],
    ids=lambda content: "+".join(content),
)
def test_folder_of_something_else_is_refused_and_left_as_it_is(content: dict[str, str], words: list[str]) -> None:
    for name, text in content.items():
        path = Path("out", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with pytest.raises(UserError, match="allowed: a folder that is new, is empty or holds a prediction"):
        run(*words)
    assert {str(path.relative_to("out")): path.read_text() for path in Path("out").rglob("*") if path.is_file()} == (
        content
    )


def test_empty_folder_work_makes_no_prediction_of_a_folder_with_files() -> None:
    Path("out/work").mkdir(parents=True)
    Path("out/part-00000.csv").write_text("1")
    with pytest.raises(UserError, match="allowed: a folder that is new, is empty or holds a prediction"):
        run()
    assert (Path("out/part-00000.csv").read_text(), list(Path("out/work").iterdir())) == ("1", [])
    Path("out/part-00000.csv").unlink()
    run()
    assert len(read()) == 38


@pytest.mark.parametrize("left", [[], ["lock"], ["lock", "journal.jsonl"]])
def test_work_of_a_prediction_that_was_killed_at_its_start_is_resumed(left: list[str]) -> None:
    leave_unfinished()
    for path in Path("out/work").iterdir():
        if path.name not in left:
            path.unlink()
    Path("out/work/lock").write_text("") if left else None  # killed before it was signed
    for path in Path("out").glob("part-*"):
        path.unlink()
    shutil.rmtree("out/rejected", ignore_errors=True)
    run()
    assert len(read()) == 38


@pytest.mark.parametrize(
    "data",
    [
        "in",
        "in/**/*.csv",
        "in/*/part-*.csv",
        "in/o*/*.csv",
        "in/out/part-00000.csv",
        "link",
        "in/out/rejected",
        "in/out/rejected/*.csv",
    ],
)
def test_output_whose_files_would_be_rows_is_refused(data: str) -> None:
    run("--output=in/out", "--format=csv")
    shutil.copy("rows.csv", "in/rows.csv")
    Path("link").symlink_to("in")
    before = predicting.read_output(Path("in/out"))
    with pytest.raises(UserError, match="a folder that neither holds data nor is in it"):
        run(f"--data={data}", "--output=in/out", "--format=csv", "--fresh=true")
    assert predicting.read_output(Path("in/out")) == before


@pytest.mark.parametrize("data", ["in/*.csv", "in/r*s.csv", "in/rows.csv"])
def test_output_beside_the_files_of_a_pattern_is_resumed(data: str) -> None:
    Path("in").mkdir()
    shutil.copy("rows.csv", "in/rows.csv")
    leave_unfinished(f"--data={data}", "--output=in/out", "--format=csv")
    run(f"--data={data}", "--output=in/out", "--format=csv")
    assert len(list(Path("in/out").glob("part-*"))) == 4


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_partial_file_of_a_worker_that_was_lost_is_removed(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = [Path(f"out/partial-{'0' * 32}-part-00001.parquet"), Path(f"out/rejected/partial-{'1' * 32}-part-00000.csv")]
    note = Journal.note

    def lose(self: Journal, **event: Any) -> None:
        for path in lost:
            path.write_bytes(b"half")
        note(self, **event)

    leave_unfinished()
    if when == "before":
        for path in lost:
            path.write_bytes(b"half")
    else:
        monkeypatch.setattr(Journal, "note", lose)
    run()
    assert not any(path.exists() for path in lost)


def test_digest_of_a_part_is_that_of_what_was_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    table = pd.DataFrame({"id": [1]})
    write = part_files._write

    def write_twice(path: Path, table: pd.DataFrame, file_format: str) -> None:
        write(path, table, file_format)
        with monkeypatch.context() as patch:
            patch.setattr(part_files, "_write", write)
            part_files.write_answers(tmp_path, 0, table.head(0), file_format)  # another worker, at the same time

    monkeypatch.setattr(part_files, "_write", write_twice)
    name, sha256 = part_files.write_answers(tmp_path, 0, table, "parquet")
    assert sha256 == part_files.sha256_of(tmp_path / name)
    assert len(pd.read_parquet(tmp_path / name)) == 1


@pytest.mark.parametrize("error", [FileNotFoundError(2, "secret"), RunFailed("changed"), KeyError("secret")])
def test_training_that_cannot_be_observed_costs_drift_alone(
    error: Exception, capfd: pytest.CaptureFixture[str]
) -> None:
    class Blind(Doubler):
        def observe_training(self, scorer: Any, trained_on: Any) -> Any:
            raise error

    run(owner=Blind())
    told = capfd.readouterr()
    assert "drift is not known: " in told.err
    assert "secret" not in told.out + told.err
    assert len(read()) == 38
    assert not Path("out/work").exists()


def test_counts_of_numpy_are_noted() -> None:
    class Counting(Doubler):
        def observe_training(self, scorer: Any, trained_on: Any) -> Any:
            return {"parity": {"classes": {"even": np.int64(5), "odd": np.int64(5)}}}

    run(owner=Counting())
    assert "cannot be observed (TypeError)" in json.loads(Path("out/manifest.json").read_text())["training"]["problem"]


def test_error_of_a_file_that_is_not_the_outputs_is_no_error_of_writing(capfd: pytest.CaptureFixture[str]) -> None:
    class Lost(Doubler):
        def open_scorer(self, model: Any, request: Any) -> Any:
            raise ConnectionError("".join(["a sec", "ret"]))

    with pytest.raises(RunFailed, match=r"part-00000 cannot be answered \(ConnectionError\); see ") as error:
        run(owner=Lost())
    assert "secret" not in str(error.value) + "".join(capfd.readouterr())


def test_interrupted_fresh_start_tells_that_the_command_begins_anew() -> None:
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 2, Interrupted(2))
        with pytest.raises(Interrupted) as error:
            run("--fresh=true")
    assert error.value.__notes__ == ["what was done is kept: the same command without fresh=true resumes it"]


def test_fresh_ends_the_run_of_the_prediction_that_it_replaces() -> None:
    leave_unfinished()
    (left,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    mlflow.MlflowClient().update_run(left.info.run_id, "RUNNING")
    run("--fresh=true")
    assert mlflow.get_run(left.info.run_id).info.status == "KILLED"
    assert len(read()) == 38


def test_metrics_are_logged_once_though_the_manifest_was_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise Interrupted(2)

    with monkeypatch.context() as patch:
        patch.setattr(tracked_prediction, "write_manifest", fail)
        with pytest.raises(Interrupted):
            run()
    run()
    (found,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    history = {name: mlflow.MlflowClient().get_metric_history(found.info.run_id, name) for name in found.data.metrics}
    assert {len(points) for points in history.values()} == {1}


def test_new_run_has_all_metrics_though_the_former_one_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    (former,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    Path("out/part-00000.parquet").unlink()
    made = mlflow.MlflowClient().create_run("0")
    monkeypatch.setenv("MLFLOW_RUN_ID", made.info.run_id)
    run()
    metrics = mlflow.get_run(made.info.run_id).data.metrics
    assert set(metrics) == set(former.data.metrics)
    assert metrics["answered_rows"] == 38


def test_second_process_is_told_who_has_the_output() -> None:
    with RunFolderLock() as lock:
        lock.take(Path("out/work").absolute())
        with pytest.raises(UserError, match=rf"is held by process {os.getpid()} on host .*, since "):
            run()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--output=rows.csv"], "output: 'rows.csv' is not allowed"),
        (["--output=."], "is not allowed; allowed: a folder that neither holds data nor is in it"),
        (["--output=other"], "allowed: a folder that is new, is empty or holds a prediction"),
        (["--data=.", "--output=out"], "allowed: a folder that neither holds data nor is in it"),
        (["--output=rows.csv/out"], "cannot be written (Not a directory)"),
        (["--data=none.csv"], "does not exist"),
        (
            ["--id_column=none"],
            "has no column 'none' (it has 'number'); allowed: a table with number, none; id_",
        ),
        (["--data=auto"], "data: it must be given; allowed: the path of "),
    ],
)
def test_mistake_is_one_line_and_leaves_nothing(words: list[str], told: str) -> None:
    Path("other").mkdir()
    Path("other/notes.txt").touch()
    with pytest.raises(UserError) as error:
        run(*words)
    assert told in str(error.value)
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in Path().iterdir() if not path.name.startswith("mlflow")) == [
        "other", "rows.csv",
    ]  # fmt: skip
    assert [path.name for path in Path("other").iterdir()] == ["notes.txt"]
    assert mlflow.search_runs(search_all_experiments=True, output_format="list") == []


@pytest.mark.parametrize("what", ["changed", "removed"])
def test_input_that_changes_midway_ends_it_with_what_was_done(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    note, content = Journal.note, Path("rows.csv").read_bytes()

    def change(self: Journal, **event: Any) -> None:
        note(self, **event)
        if "part" in event:
            Path("rows.csv").unlink()
            if what == "changed":
                predicting.make_input(Path("rows.csv"), 50)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "note", change)
        told = "was changed while it was being read" if what == "changed" else "cannot be read .No such file"
        with pytest.raises(RunFailed, match=told) as error:
            run()
    assert error.value.__notes__ == ["what was done is kept: the same command resumes it"]
    assert Path("out/part-00000.parquet").exists()
    Path("rows.csv").write_bytes(content)
    run()
    assert len(read()) == 38


@pytest.mark.parametrize("where", ["part", "note", "manifest"])
def test_full_disk_is_one_line_and_what_was_done_is_kept(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fail(*_: object, **__: object) -> None:
        raise full

    with monkeypatch.context() as patch:
        if where == "part":
            patch.setattr(part_files, "_write", fail)
        elif where == "manifest":
            patch.setattr(tracked_prediction, "write_manifest", fail)
        else:
            stop_after(patch, 2, full)
        with pytest.raises(RunFailed, match=r"cannot be written .*No space left on device") as error:
            run()
        assert "\n" not in str(error.value)
    assert not list(Path("out").glob("partial-*"))
    run()
    assert len(read()) == 38
    (found,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert found.info.status == "FINISHED"


def test_store_that_is_gone_after_loading_loses_no_answer_and_the_same_command_logs_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RunFailed("not everything could be logged")

    with monkeypatch.context() as patch:
        patch.setattr(Run, "flush", fail)
        with pytest.raises(RunFailed, match="not everything could be logged") as error:
            run()
    assert error.value.__notes__ == ["what was done is kept: the same command resumes it"]
    written = {path: path.stat().st_mtime_ns for path in Path("out").glob("part-*")}
    run()
    assert {path: path.stat().st_mtime_ns for path in Path("out").glob("part-*")} == written
    (found,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert (len(written), found.info.status, found.data.metrics["parts"]) == (4, "FINISHED", 4)


def test_error_of_the_experiment_shows_nothing_of_the_input(capfd: pytest.CaptureFixture[str]) -> None:
    class Broken(Doubler):
        def open_scorer(self, model: Any, request: Any) -> Any:
            raise KeyError("".join(["a sec", "ret"]))

    with pytest.raises(RunFailed, match=r"part-00000 cannot be answered \(KeyError\)"):
        run(owner=Broken())
    assert "secret" not in "".join(capfd.readouterr())


def test_worker_that_dies_is_replaced_and_ends_it_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    class Dying(HereWorkers):
        left = 2

        def wait(self, seconds: float) -> list[Event]:
            (task,) = self.running
            if type(self).left and isinstance(task, PartTask) and task.number == 1:
                type(self).left -= 1
                return [Event(self.running.pop(), None, "was killed by SIGKILL")]
            return super().wait(seconds)

    monkeypatch.setattr(tracked_prediction, "choose_workers", lambda parameters: Dying)
    run()
    assert len(read()) == 38
    Dying.left = 9
    with pytest.raises(RunFailed, match="part-00001: its worker was killed by SIGKILL, 3 times"):
        run("--fresh=true")


def test_worker_that_dies_of_the_training_part_costs_drift_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Dying(HereWorkers):
        def wait(self, seconds: float) -> list[Event]:
            if isinstance(self.running[0], TrainingTask):
                return [Event(self.running.pop(), None, "was killed by SIGKILL")]
            return super().wait(seconds)

    monkeypatch.setattr(tracked_prediction, "choose_workers", lambda parameters: Dying)
    run()
    assert "drift is not known: the training part: its worker was killed by SIGKILL, 3 times" in capsys.readouterr().err
    assert len(read()) == 38


def test_observations_add_up_leaf_by_leaf() -> None:
    first, second = {"a": {"x": 1}, "n": 2}, {"a": {"x": 2, "y": 3}, "m": 1}
    assert add_observations(first, second) == {"a": {"x": 3, "y": 3}, "n": 2, "m": 1}


def test_input_without_a_row_is_told_and_another_takes_its_place() -> None:
    Path("none.csv").write_text("number\n")
    with pytest.raises(RunFailed, match="the input has no rows") as error:
        run("--data=none.csv")
    assert not hasattr(error.value, "__notes__")
    (left,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    mlflow.MlflowClient().update_run(left.info.run_id, "RUNNING")  # as a kill would have left it
    run()
    assert len(read()) == 38
    runs = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert {one.info.run_id == left.info.run_id: one.info.status for one in runs} == {True: "KILLED", False: "FINISHED"}


def test_folder_of_ten_thousand_parts_costs_a_line_for_each(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.begin(State({"model": 1}))
    size = journal.path.stat().st_size
    journal.note(run_id="1")
    assert journal.path.stat().st_size - size == len('{"run_id": "1"}\n')
    with journal.path.open("ab") as file:
        file.write(b'{"run_id": "2"}')  # cut before its end
    assert journal.read().run_id == "1"
    assert journal.path.read_bytes().endswith(b"\n")
    shutil.rmtree(tmp_path, ignore_errors=True)


def test_another_machine_is_told_and_noted_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    leave_unfinished()
    elsewhere = facts.describe_environment() | {"cpu": "another"}
    monkeypatch.setattr(facts, "describe_environment", lambda: elsewhere)
    with monkeypatch.context() as patch:
        stop_after(patch, 1, Interrupted(2))
        with pytest.raises(Interrupted):
            run()
    assert re.search(
        r"^cpu changed since the last attempt \('.*' -> 'another'\): equal bits are not promised$",
        capsys.readouterr().err, re.MULTILINE,
    )  # fmt: skip
    run()
    assert "changed since" not in capsys.readouterr().err
    environments = json.loads(Path("out/manifest.json").read_text())["environments"]
    assert [one["cpu"] == "another" for one in environments] == [False, True]
    assert {"python", "tensorflow", "platform"} <= set(environments[0])
