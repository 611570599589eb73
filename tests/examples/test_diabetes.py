"""The second experiment as users run it: one script, and ``mlflow run`` of its folder."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow.projects._project_spec import load_project
from mlflow.utils.environment import _PythonEnv
from mlflow.utils.virtualenv import _get_mlflow_virtualenv_root, _get_virtualenv_name
from sklearn.datasets import load_diabetes

from diabetes import MEASUREMENTS, Diabetes
from helpers import ROOT, warm
from helpers.processes import environment, wait_until
from helpers.projects import VERBS
from helpers.resuming import metrics
from tracked import __version__
from tracked.analysis import drift
from tracked.analysis.observations import Counts
from tracked.console.cores import count_cores
from tracked.console.errors import UserError
from tracked.experiment import Request, TrainedOn
from tracked.training import run_folder

FOLDER = ROOT / "examples" / "diabetes"
SCRIPT = FOLDER / "diabetes.py"
PYTHON = Path(sys.executable)
MODEL = Diabetes.name
HEAVY = {"tensorflow", "keras", "mlflow", "pandas", "numpy", "sklearn", "matplotlib"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """A folder with a blank in its name and a store; snapshots are beside the store."""
    path = tmp_path_factory.mktemp("an example")
    shutil.copy(empty_store, path / "mlflow.db")
    return path


@pytest.fixture(scope="module")
def uri(place: Path) -> str:
    return f"sqlite:///{place}/mlflow.db"


@pytest.fixture(autouse=True)
def _client(uri: str) -> Iterator[None]:
    mlflow.set_tracking_uri(uri)
    yield
    mlflow.set_tracking_uri(None)


class Halves:
    """A model that answers with half of a first measurement, in points."""

    def predict(self, numbers: np.ndarray) -> np.ndarray:
        return 150 + 500 * numbers[:, :1]


@pytest.mark.slow
def test_training_is_observed_in_measurements_of_both_seen_parts_and_answers_of_one() -> None:
    dataset, scorer = Diabetes().load(None, ""), Diabetes().open_scorer(Halves(), Request(""))
    seen = Diabetes().observe_training(scorer, TrainedOn(digest=dataset.digest, source=dataset.source))
    rows = {name: Counts.read(name, values).rows for name, values in seen.items()}
    validation = dataset.counts["validation"]
    assert rows == {**dict.fromkeys(MEASUREMENTS, dataset.counts["train"] + validation), "predicted": validation}
    table = dataset.part("test").inputs[list(MEASUREMENTS)]
    found = drift.compare(seen, scorer.observe(table, scorer.answer(table)))
    assert found.verdict == "undecided"
    older = table.assign(age=table["age"] + 0.1)
    assert drift.compare(seen, scorer.observe(older, scorer.answer(older))).verdict == "drift"
    with pytest.raises(UserError, match="changed since the training"):
        Diabetes().observe_training(scorer, TrainedOn(digest="0", source=dataset.source))


@pytest.mark.slow
@pytest.mark.parametrize("online", [False, True])
def test_scorer_is_quick_with_few_rows_where_a_client_waits(online: bool) -> None:
    assert Diabetes().open_scorer(Halves(), Request("", online=online)).online == online


def mlflow_run(uri: str, *arguments: str, manager: str = "local", status: int = 0, is_warm: bool = True) -> str:
    """Run ``mlflow run`` on the example from the project's root, as in the README; return its output with errors.

    The processes are warm, unless an environment is made for them, or they start Python themselves (``is_warm``).
    """
    python = warm.python() if manager == "local" and is_warm else PYTHON
    command = [python, "-m", "mlflow", "run", "examples/diabetes", "--env-manager", manager, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment(uri, python), capture_output=True, text=True, timeout=500)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def script(uri: str, place: Path, *arguments: str, python: Path = PYTHON) -> "subprocess.CompletedProcess[str]":
    """Run the script in another folder, without a path to any package."""
    env = {name: value for name, value in environment(uri).items() if name != "PYTHONPATH"}
    return subprocess.run([python, SCRIPT, *arguments], cwd=place, env=env, capture_output=True, text=True, timeout=300)


def runs(verb: str, **tags: str) -> list[mlflow.entities.Run]:
    """The example's runs of a verb, newest first."""
    condition = " and ".join(f"tags.{name} = '{value}'" for name, value in ({"verb": verb} | tags).items())
    found = mlflow.search_runs(search_all_experiments=True, filter_string=condition, output_format="list")
    assert {run.data.tags["experiment"] for run in found} <= {MODEL}
    assert {run.data.tags["tracked_version"] for run in found} <= {__version__}
    return [mlflow.get_run(run.info.run_id) for run in found]


@pytest.fixture(scope="module")
def trained(uri: str) -> mlflow.entities.Run:
    """The README's first training."""
    printed = mlflow_run(uri, "-P", "patience=20")
    assert "236 train, 59 validation, 147 test" in printed
    mlflow.set_tracking_uri(uri)
    run = runs("train")[0]
    return run


def test_mlflow_run_trains_and_registers_the_best_epoch(uri: str, trained: mlflow.entities.Run) -> None:
    assert (trained.info.status, trained.info.run_name) == ("FINISHED", "patience=20 seed=7")
    assert (trained.data.tags["stop_reason"], trained.data.tags["mlflow.project.entryPoint"]) == ("patience", "main")
    assert set(trained.data.params) == set(load_project(str(FOLDER)).get_entry_point("main").parameters)
    history = metrics(trained)
    assert {"loss", "r2", "val_loss", "val_r2"} <= set(history)
    best = min(history["val_loss"], key=history["val_loss"].__getitem__)
    assert list(history["val_loss"]) == list(range(1, best + 21))
    version = mlflow.MlflowClient().get_model_version_by_alias(MODEL, "candidate")
    assert (version.run_id, version.tags["best_epoch"]) == (trained.info.run_id, str(best))


def test_mlflow_run_evaluates_as_the_examples_docstring_states(uri: str, trained: mlflow.entities.Run) -> None:
    printed = mlflow_run(uri, "-e", "evaluate")
    assert "on 147 patients" in printed
    assert "The model has seen none of these patients in its training." in printed
    run = runs("evaluate")[0]
    assert (run.info.status, run.data.tags["training_run_id"]) == ("FINISHED", trained.info.run_id)
    low, high, r2 = re.search(
        r"mean absolute error of (\d+) to (\d+) points .* R2 of ([\d.]+)\.", SCRIPT.read_text()
    ).groups()
    assert float(low) <= run.data.metrics["test_loss"] <= float(high)
    assert run.data.metrics["test_r2"] == pytest.approx(float(r2), abs=0.02)
    assert run.data.metrics["test_patients"] == 147


@pytest.mark.slow
def test_predictions_by_mlflow_run_and_by_the_script_have_the_same_bytes(
    uri: str, place: Path, trained: mlflow.entities.Run
) -> None:
    rows = load_diabetes(as_frame=True).frame
    rows.to_csv(place / "rows.csv", index=False)
    rows.to_parquet(place / "rows.parquet")
    words = {"data": f"{place}/rows.csv", "output": f"{place}/one", "part_rows": "100"}
    printed = mlflow_run(uri, "-e", "predict", *(f"-P{name}={value}" for name, value in words.items()), is_warm=False)
    assert "442 of 442 patients answered in 5 parts" in printed
    run = runs("predict")[0]
    assert (run.info.status, run.data.metrics["answered_rows"]) == ("FINISHED", 442)
    more = ["--part_rows=170", f"--workers={min(2, count_cores())}"]
    done = script(uri, place, "predict", "--data=rows.parquet", "--output=two", *more)
    assert done.returncode == 0, done.stderr
    tables = [
        pd.concat(map(pd.read_parquet, sorted((place / name).glob("part-*"))), ignore_index=True)
        for name in ("one", "two")
    ]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert tables[0]["id"].tolist() == list(range(442))


@pytest.mark.slow
def test_mlflow_run_of_replay_and_compare_finishes(uri: str, trained: mlflow.entities.Run) -> None:
    assert f"val_loss of run {trained.info.run_id}" in mlflow_run(
        uri, "-e", "replay", "-P", f"run={trained.info.run_id}"
    )
    replayed = runs("replay")[0]
    assert (replayed.info.status, replayed.data.tags["source_run_id"]) == ("FINISHED", trained.info.run_id)
    mlflow_run(uri, "-e", "compare")
    compared = runs("compare")[0]
    assert compared.info.status == "FINISHED"


@pytest.mark.slow
def test_mlflow_run_of_promote_and_rollback_keeps_the_better_version(
    uri: str, place: Path, trained: mlflow.entities.Run
) -> None:
    client = mlflow.MlflowClient()
    first = str(client.get_model_version_by_alias(MODEL, "candidate").version)

    def champion() -> str:
        return str(client.get_model_version_by_alias(MODEL, "champion").version)

    assert "is the first champion" in mlflow_run(uri, "-e", "promote")
    assert champion() == first
    untrained = script(uri, place, "train", "--epochs=1", "--learning_rate=1e-9", python=warm.python())
    assert untrained.returncode == 0, untrained.stderr
    second = str(client.get_model_version_by_alias(MODEL, "candidate").version)
    kept = script(uri, place, "promote", python=warm.python())
    assert kept.returncode == 3, kept.stderr
    assert re.search(r"Kept: .* its absolute error differs by .* on 147 patients, .* margin of 10 \(", kept.stdout)
    assert champion() == first
    assert "Promoted: " in mlflow_run(uri, "-e", "promote", "-P", "margin=150")
    assert champion() == second
    mlflow_run(uri, "-e", "rollback")
    assert champion() == first
    client.set_registered_model_alias(MODEL, "candidate", first)
    assert {run.info.status for run in [*runs("promote"), *runs("rollback")]} == {"FINISHED"}


@pytest.mark.slow
def test_mlflow_run_with_the_run_id_of_a_killed_training_resumes_it(
    uri: str, place: Path, trained: mlflow.entities.Run
) -> None:
    python = warm.python()
    command = [python, "-m", "mlflow", "run", "examples/diabetes", "--env-manager", "local"]
    with subprocess.Popen(
        [*command, "-P", "patience=20", "-P", "model_name=killed"], cwd=ROOT, env=environment(uri, python),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        kept = wait_until(
            lambda: next((path.parent for path in place.glob("snapshots/*/epoch-5-*.npz")), None), process
        )
        os.kill(run_folder.find_holder(kept).pid, signal.SIGKILL)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 1, out + err
    assert "no unfinished training in experiment" not in mlflow_run(uri, "-e", "unfinished")
    assert re.search(r"^resuming after epoch ([5-9]|\d\d)$", mlflow_run(uri, "--run-id", kept.name), re.MULTILINE)
    run = mlflow.get_run(kept.name)
    assert (run.info.status, run.data.tags["registered_version"]) == ("FINISHED", "1")
    assert metrics(run) == metrics(trained)
    assert not kept.exists()
    assert "no unfinished training in experiment Default" in mlflow_run(uri, "-e", "unfinished")


def interrupted(uri: str, place: Path, number: int, *arguments: str) -> tuple[str, str, int]:
    """Interrupt the script's training after its fifth epoch; return run id, last line and exit status."""
    with subprocess.Popen(
        [warm.python(), SCRIPT, "train", *arguments], cwd=place, env=environment(uri),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        kept = wait_until(
            lambda: next((path.parent for path in place.glob("snapshots/*/epoch-5-*.npz")), None), process
        )
        process.send_signal(number)
        _, err = process.communicate(timeout=120)
    return kept.name, (err.splitlines() or [""])[-1], process.returncode


def test_resume_latest_of_a_killed_training_resumes_it(uri: str, place: Path, trained: mlflow.entities.Run) -> None:
    run_id, _, status = interrupted(uri, place, signal.SIGKILL, "--patience=20", "--model_name=latest")
    assert status == -signal.SIGKILL
    resumed = script(uri, place, "train", "--resume", "latest", python=warm.python())
    assert resumed.returncode == 0, resumed.stderr
    assert re.search(r"^resuming after epoch ([5-9]|\d\d)$", resumed.stdout, re.MULTILINE)
    run = mlflow.get_run(run_id)
    assert (run.info.status, run.data.tags["stop_reason"]) == ("FINISHED", "patience")
    assert metrics(run) == metrics(trained)


@pytest.mark.slow
def test_ctrl_c_prints_a_command_that_resumes(uri: str, place: Path, trained: mlflow.entities.Run) -> None:
    run_id, last, status = interrupted(uri, place, signal.SIGINT, "--patience=20", "--model_name=ctrl-c")
    assert status == 130, last
    assert last.startswith("to resume: ")
    pasted = last.removeprefix("to resume: ").replace(str(PYTHON), str(warm.python()))
    done = subprocess.run(pasted, shell=True, cwd=place, env=environment(uri), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    run = mlflow.get_run(run_id)
    assert (run.info.status, run.data.tags["stop_reason"]) == ("FINISHED", "patience")
    assert metrics(run) == metrics(trained)


@pytest.mark.slow
@pytest.mark.parametrize("streams", [">/dev/full 2>&-", "<&- >&- 2>/dev/full"])
def test_training_with_full_or_closed_streams_is_whole(uri: str, place: Path, streams: str) -> None:
    """As a daemon or cron may start it."""
    name = f"streams-{len(streams)}"
    command = f'"{PYTHON}" "{SCRIPT}" train --epochs=2 --model_name={name} {streams}'
    done = subprocess.run(["sh", "-c", command], cwd=place, env=environment(uri), stdin=subprocess.DEVNULL, timeout=300)
    assert done.returncode == 0
    (version,) = mlflow.MlflowClient().search_model_versions(f"name = '{name}'")
    run = mlflow.get_run(version.run_id)
    assert (run.info.status, run.data.tags["registered_version"]) == ("FINISHED", str(version.version))
    assert [*metrics(run)["val_loss"]] == [1, 2]


def virtualenv_name(folder: Path) -> str:
    """Compute the name of a project's environment in mlflow's cache."""
    python = _PythonEnv.from_conda_yaml(load_project(str(folder)).env_config_path)
    return str(_get_virtualenv_name(python, folder))


@pytest.mark.slow
def test_both_projects_share_one_environment() -> None:
    """For uv, with the requirements of each project's folder; for conda, with those beside conda.yaml."""
    assert virtualenv_name(FOLDER) == virtualenv_name(ROOT)
    config = Path(load_project(str(FOLDER)).env_config_path)
    assert config.samefile(ROOT / "conda.yaml")
    pip = next(entry["pip"] for entry in yaml.safe_load(config.read_text())["dependencies"] if isinstance(entry, dict))
    assert pip == ["-r requirements.txt"]
    assert (FOLDER / "requirements.txt").samefile(config.parent / "requirements.txt")


@pytest.mark.slow
def test_mlflow_run_with_a_new_environment_trains(uri: str) -> None:
    """The environment is the first project's, which may exist already."""
    printed = mlflow_run(uri, "-P", "epochs=2", "-P", "model_name=uv", manager="uv")
    where = Path(_get_mlflow_virtualenv_root()) / virtualenv_name(ROOT)
    assert f"{where}/bin/activate" in printed
    run = runs("train", **{"`mlflow.project.env`": "uv"})[0]
    assert run.info.status == "FINISHED"
    assert mlflow.MlflowClient().get_model_version_by_alias("uv", "candidate").run_id == run.info.run_id


BAD = {
    "train": ("--hidden_units=0", "hidden_units: '0' is not allowed; allowed: a whole number from 1 to 2147483647"),
    "find_rate": ("--steps=49", "steps: '49' is not allowed; allowed: a whole number from 50 to 100000"),
    "search": (
        "--space=units=0..9",
        "space: 'units=0..9' is not allowed; allowed: a search over patience, min_delta, ",
    ),
    "evaluate": ("--model=diabetes", "model: 'diabetes' is not allowed; allowed: models:/NAME@ALIAS, "),
    "serve": ("--port=-1", "port: '-1' is not allowed; allowed: a whole number from 0 to 65535"),
    "predict": ("--data=rows.csv", "output: it must be given; allowed: a folder that is new, "),
    "replay": ("--patience=-1", "patience: '-1' is not allowed; allowed: auto, or whole numbers from 0"),
    "compare": ("--mode=up", "mode: 'up' is not allowed; allowed: auto, min or max"),
    "promote": ("--margin=-1", "margin: '-1' is not allowed; allowed: a finite number, 0 or more"),
    "rollback": ("--model_name=a/b", "model_name: 'a/b' is not allowed; allowed: a name of at most 256 characters"),
    "unfinished": ("--colour=red", "colour: unknown parameter (given 'red'); allowed: experiment, close"),
    "tidy": ("--keep=-1", "keep: '-1' is not allowed; allowed: a whole number from 0 to 2147483647"),
}


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS.values())
def test_mistake_is_one_line_before_slow_imports(tmp_path: Path, verb: str) -> None:
    argument, message = BAD[verb]
    code = (
        f"import runpy, sys\nsys.argv = [{str(SCRIPT)!r}, {verb!r}, {argument!r}]\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        f"finally:\n    print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([PYTHON, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "[]\n")
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_mistake_is_reported_within_a_second(tmp_path: Path) -> None:
    """Measures processor time, which a busy machine lengthens little."""
    begun = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = script("", tmp_path, "train", "--patience=-1")
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: patience: '-1' is not allowed; allowed: a whole number from 0 to 2147483647\n"
    assert ended.ru_utime + ended.ru_stime - begun.ru_utime - begun.ru_stime < 1


@pytest.mark.slow
@pytest.mark.parametrize("given", [[], ["fit"], ["--patience=3"]])
def test_unknown_verb_is_refused_with_the_known_ones(tmp_path: Path, given: list[str]) -> None:
    done = script("", tmp_path, *given)
    allowed = "train, find_rate, search, evaluate, predict, serve, replay, compare, promote, rollback, unfinished, tidy"
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: verb: {''.join(given)!r} is not allowed; allowed: {allowed}\n"


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["", *VERBS.values()])
def test_help_prints_verbs_or_parameters(tmp_path: Path, verb: str) -> None:
    done = script("", tmp_path, *filter(None, [verb]), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    if verb:
        assert done.stdout.startswith(f"usage: diabetes.py {verb} [-h] ")
    else:
        assert done.stdout.startswith(
            "verbs of diabetes: train, find_rate, search, evaluate, predict, serve, replay, compare, promote, "
        )


@pytest.mark.slow
def test_example_has_fewer_than_150_lines() -> None:
    files = [path for path in FOLDER.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    lines = {path.name: len(path.read_text().splitlines()) for path in files if not path.is_symlink()}
    assert lines["diabetes.py"] < 150
    assert sum(lines.values()) <= 330
