"""Users' commands in separate processes against a real MLflow server, with assertions on the server's answers."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from helpers import ROOT, warm
from helpers.processes import environment, wait_until
from helpers.reviews import TINY, make_reviews
from helpers.servers import mlflow_server
from tracked.training import run_folder

PYTHON = Path(sys.executable)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a blank in its name and tiny reviews."""
    path = tmp_path_factory.mktemp("end to end")
    make_reviews(200).to_csv(path / "my reviews.csv", index=False)
    return path


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[str]:
    with mlflow_server(folder) as uri:
        yield uri


@pytest.fixture(autouse=True)
def _client(server: str) -> Iterator[None]:
    mlflow.set_tracking_uri(server)
    yield
    mlflow.set_tracking_uri(None)


@pytest.fixture(scope="module", autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of snapshots, as the store is remote."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("state")
        patch.setenv("XDG_STATE_HOME", str(path))
        yield path / "imdb-conv1d" / "snapshots"


def mlflow_run(
    server: str, folder: Path, *arguments: str, python: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``mlflow run`` and its script, in warm processes unless a Python is given."""
    python = python or warm.python()
    command = [str(python), "-m", "mlflow", "run", str(ROOT), "--env-manager", "local", *arguments]
    env = environment(server, python)
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)


def tiny(entry: list[str]) -> list[str]:
    return [word for item in entry for word in ("-P", item.removeprefix("--"))]


def runs(verb: str, experiment: str) -> list[mlflow.entities.Run]:
    found = mlflow.search_runs(
        experiment_names=[experiment], filter_string=f"tags.verb = '{verb}'", output_format="list"
    )
    return [mlflow.get_run(run.info.run_id) for run in found]


@pytest.fixture(scope="module")
def trained(server: str, folder: Path) -> str:
    """One ``mlflow run`` of main in fresh processes with a path that has blanks; the MLflow experiment's name."""
    done = mlflow_run(
        server, folder, "--experiment-name", "films", *tiny(TINY),
        "-P", f"data={folder / 'my reviews.csv'}", "-P", "patience=2", "-P", "epochs=40", python=PYTHON,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return "films"


def test_mlflow_run_trains_and_registers_the_best_epoch(server: str, folder: Path, trained: str) -> None:
    (run,) = runs("train", trained)
    client = mlflow.MlflowClient()
    assert run.info.status == "FINISHED"
    assert run.data.tags["stop_reason"] in ("patience", "epochs")
    assert run.data.tags["mlflow.project.entryPoint"] == "main"
    assert run.info.run_name.startswith("patience=2 seed=7 ")
    assert run.info.run_name.endswith(" data=my reviews.csv")
    assert len(run.data.params) == 38
    history = {point.step: point.value for point in client.get_metric_history(run.info.run_id, "val_loss")}
    best = min(history, key=lambda step: history[step])
    assert list(history) == list(range(1, int(run.data.metrics["stopped_epoch"]) + 1))
    assert run.data.metrics["best_epoch"] == best
    version = client.get_model_version_by_alias("imdb-conv1d", "candidate")
    assert (version.run_id, version.tags["best_epoch"]) == (run.info.run_id, str(best))


def test_train_in_another_process_gives_the_same_bits(server: str, folder: Path, trained: str) -> None:
    train = [str(warm.python()), str(ROOT / "src" / "train.py")]
    command = [*train, *TINY, "--patience=2", "--epochs=40", "--model_name=again"]
    env = environment(server) | {"MLFLOW_EXPERIMENT_NAME": "again"}
    subprocess.run([*command, f"--data={folder / 'my reviews.csv'}"], cwd=folder, env=env, check=True)
    first, second = runs("train", trained)[0], runs("train", "again")[0]
    client = mlflow.MlflowClient()
    assert set(first.data.metrics) == set(second.data.metrics)
    for name in set(first.data.metrics) - {"epoch_seconds"}:
        histories = [client.get_metric_history(run.info.run_id, name) for run in (first, second)]
        one, other = [[(point.step, point.value) for point in history] for history in histories]
        assert one == other, name


def histories(run: mlflow.entities.Run) -> dict[str, list[tuple[int, float]]]:
    client = mlflow.MlflowClient()
    return {
        name: [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
        if name != "epoch_seconds"
    }


def test_mlflow_run_with_the_run_id_of_a_killed_training_resumes_it(
    server: str, folder: Path, trained: str, state: Path
) -> None:
    """The script is killed, not mlflow run; --run-id resumes without parameters and leaves no extra run."""
    experiment = "killed"
    python = warm.python()
    command = [str(python), "-m", "mlflow", "run", str(ROOT), "--env-manager", "local", "--experiment-name", experiment]
    parameters = [*tiny(TINY), "-P", f"data={folder / 'my reviews.csv'}", "-P", "patience=2", "-P", "epochs=40"]
    with subprocess.Popen(
        [*command, *parameters, "-P", "model_name=killed"], cwd=folder, env=environment(server, python),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        place = wait_until(lambda: next((path.parent for path in state.glob("*/epoch-2-*.npz")), None), process)
        os.kill(run_folder.find_holder(place).pid, signal.SIGKILL)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 1, out + err
    assert mlflow.get_run(place.name).info.status == "FAILED"
    done = mlflow_run(server, folder, "--run-id", place.name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"resuming after epoch [2-9]", done.stdout)
    (run,) = runs("train", experiment)
    assert (run.info.run_id, run.info.status) == (place.name, "FINISHED")
    assert histories(run) == histories(runs("train", trained)[0])
    assert mlflow.MlflowClient().get_model_version_by_alias("killed", "candidate").run_id == run.info.run_id
    assert not place.exists()
    # The training has finished, and mlflow run must not mark it as failed.
    again = mlflow_run(server, folder, "--run-id", place.name)
    assert again.returncode == 0, again.stdout + again.stderr
    assert mlflow.get_run(run.info.run_id).info.status == "FINISHED"
    # Another verb refuses the run; mlflow run changes its status, which train corrects.
    refused = mlflow_run(server, folder, "-e", "unfinished", "--run-id", place.name)
    assert refused.returncode == 1
    assert f"error: MLFLOW_RUN_ID: run {place.name} is a run of train and cannot become one of" in refused.stderr
    left = mlflow.get_run(place.name)
    assert (left.data.to_dictionary(), left.info.run_name) == (run.data.to_dictionary(), run.info.run_name)
    assert left.info.status == "FAILED"
    assert mlflow_run(server, folder, "--run-id", place.name).returncode == 0
    assert mlflow.get_run(place.name).info.status == "FINISHED"
    listed = mlflow_run(server, folder, "-e", "unfinished", "--experiment-name", experiment)
    assert "no unfinished training in experiment killed" in listed.stdout


def test_ctrl_c_prints_a_command_that_resumes(server: str, folder: Path, state: Path) -> None:
    """SIGINT and a soon following SIGTERM, as mlflow run sends them, are one request."""
    experiment = "ctrl-c"
    env = environment(server) | {"MLFLOW_EXPERIMENT_NAME": experiment}
    command = [str(warm.python()), str(ROOT / "src" / "train.py"), *TINY, f"--data={folder / 'my reviews.csv'}"]
    with subprocess.Popen(
        [*command, "--patience=100000", "--epochs=60", "--model_name=ctrl-c"], cwd=folder, env=env,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        place = wait_until(lambda: next((path.parent for path in state.glob("*/epoch-3-*.npz")), None), process)
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130, out + err
    begun = err.splitlines()[-1]
    assert begun.startswith("to resume: "), err
    assert mlflow.get_run(place.name).data.tags["stop_reason"] == "interrupted"
    pasted = begun.removeprefix("to resume: ").replace(str(PYTHON), str(warm.python()))
    done = subprocess.run(pasted, shell=True, cwd=folder, env=env, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = runs("train", experiment)
    assert run.data.tags["stop_reason"] == "epochs"
    assert [step for step, _ in histories(run)["val_loss"]] == list(range(1, 61))


def test_mlflow_run_evaluates_the_candidate(server: str, folder: Path, trained: str) -> None:
    done = mlflow_run(server, folder, "-e", "evaluate", "--experiment-name", trained)
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = runs("evaluate", trained)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test_reviews"] == 40
    assert 0 <= run.data.metrics["test_accuracy_low"] <= run.data.metrics["test_accuracy"] <= 1
    assert run.data.tags["training_run_id"] == runs("train", trained)[0].info.run_id


def test_mlflow_run_of_replay_and_compare_logs_to_the_trainings_experiment(
    server: str, folder: Path, trained: str
) -> None:
    """Includes a run that mlflow run made in another MLflow experiment, which then links the actual one."""
    source = runs("train", trained)[0].info
    commands = {"replay": ["-P", f"run={source.run_id}"], "compare": ["-P", f"experiment={trained}"]}
    for verb, arguments in commands.items():
        done = mlflow_run(server, folder, "-e", verb, "--experiment-name", "elsewhere", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        (run,), (left,) = runs(verb, trained), runs(verb, "elsewhere")
        assert (run.info.status, left.info.status) == ("FINISHED", "FINISHED")
        assert f"(#/experiments/{source.experiment_id}/runs/{run.info.run_id})" in left.data.tags["mlflow.note.content"]
        assert left.info.run_name == f"see {run.info.run_name}"
    replayed = runs("replay", trained)[0]
    assert replayed.data.tags["source_run_id"] == source.run_id
    assert replayed.data.params["patience"] == "auto"
    table = pd.read_csv(mlflow.artifacts.download_artifacts(run_id=replayed.info.run_id, artifact_path="replay.csv"))
    stopped = runs("train", trained)[0].data.metrics["stopped_epoch"]
    assert table.set_index(["patience", "min_delta"]).loc[(2, 0.0001), "stopped_epoch"] == stopped


def test_mlflow_run_of_promote_and_rollback_ends_finished_whatever_the_decision(
    server: str, folder: Path, trained: str
) -> None:
    client = mlflow.MlflowClient()
    first = client.get_model_version_by_alias("imdb-conv1d", "candidate").version
    bad = [
        *TINY,
        "--learning_rate=1e-9",
        "--epochs=1",
        "--model_name=imdb-conv1d",
        f"--data={folder / 'my reviews.csv'}",
    ]
    env = environment(server) | {"MLFLOW_EXPERIMENT_NAME": trained}

    def run(*arguments: str) -> None:
        done = mlflow_run(server, folder, "--experiment-name", trained, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr

    def champion() -> str:
        return str(client.get_model_version_by_alias("imdb-conv1d", "champion").version)

    run("-e", "promote")
    assert champion() == first
    subprocess.run([warm.python(), ROOT / "src" / "train.py", *bad], cwd=folder, env=env, check=True)
    second = client.get_model_version_by_alias("imdb-conv1d", "candidate").version
    run("-e", "promote")
    assert champion() == first
    promote = [warm.python(), ROOT / "src" / "promote.py"]
    by_hand = subprocess.run(promote, cwd=folder, env=env, capture_output=True, text=True)
    assert by_hand.returncode == 3, by_hand.stderr
    run("-e", "promote", "-P", "margin=9")
    assert champion() == second
    run("-e", "rollback")
    assert champion() == first
    client.set_registered_model_alias("imdb-conv1d", "candidate", first)
    found = {run.data.tags.get("decision", run.data.tags["verb"]): run for run in runs("promote", trained)}
    assert set(found) == {"promoted", "kept"}
    assert {run.info.status for run in [*runs("promote", trained), *runs("rollback", trained)]} == {"FINISHED"}
    assert [run.data.metrics["decisions_on_these_reviews"] for run in runs("promote", trained)[:3]] == [3, 2, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-P", "patience=-1"], "error: patience: '-1' is not allowed; allowed: a whole number from 0 to 2147483647"),
        (["-P", "patience=abc"], "error: patience: 'abc' is not allowed; allowed: a whole number from 0 to 2147483647"),
        (["-P", "colour=red"], "error: colour: unknown parameter (given 'red'); allowed: patience, min_delta"),
        (["-e", "replay", "-P", "run=feedbeef"], "error: run: 'feedbeef' cannot be found"),
        (["-e", "rollback", "-P", "model_name=none"], "error: model_name: 'none' is not allowed; allowed: a model in"),
        (["-e", "evaluate", "-P", "model=models:/none@candidate"], "error: model: 'models:/none@candidate' cannot be"),
    ],
)
def test_mlflow_run_with_a_mistake_prints_the_error_line(
    server: str, folder: Path, arguments: list[str], message: str
) -> None:
    done = mlflow_run(server, folder, "--experiment-name", "mistakes", *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert "src/train.py" not in done.stderr.replace("python src/train.py", "")  # no traceback
    assert "src/evaluate.py" not in done.stderr.replace("python src/evaluate.py", "")


def test_script_with_a_mistake_exits_with_2_within_seconds(server: str, folder: Path) -> None:
    started = time.monotonic()
    done = subprocess.run(
        [PYTHON, ROOT / "src" / "train.py", "--patience", "-1"], capture_output=True, text=True, cwd=folder
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: patience: '-1' is not allowed; allowed: a whole number from 0 to 2147483647\n"
    assert time.monotonic() - started < 30  # a second on an idle machine


def wait_for_epochs(server: str, experiment: str, number: int, process: subprocess.Popen[str]) -> str:
    """Poll the server until a running training has logged an epoch; return its run id."""
    end = time.monotonic() + 120
    client = mlflow.MlflowClient()
    while time.monotonic() < end and process.poll() is None:
        for run in runs("train", experiment) if client.get_experiment_by_name(experiment) else []:
            if len(client.get_metric_history(run.info.run_id, "val_loss")) >= number:
                assert run.info.status == "RUNNING"
                return str(run.info.run_id)
        time.sleep(0.2)
    raise AssertionError(f"no epoch was seen:\n{process.communicate()}")


@pytest.mark.parametrize(
    ("launcher", "number", "status", "recorded"),
    [
        ("python", signal.SIGTERM, 143, "KILLED"),
        ("python", signal.SIGINT, 130, "KILLED"),
        ("mlflow", signal.SIGINT, 1, "FAILED"),  # mlflow run overwrites the status; the tag remains
    ],
)
def test_epochs_are_logged_during_training_and_survive_a_signal(
    server: str, folder: Path, launcher: str, number: int, status: int, recorded: str
) -> None:
    experiment = f"signals {launcher} {number}"
    data = f"data={folder / 'my reviews.csv'}"
    if launcher == "python":
        command = [str(warm.python()), str(ROOT / "src" / "train.py"), *TINY, f"--{data}", "--patience=100000"]
    else:
        command = [
            str(PYTHON), "-m", "mlflow", "run", str(ROOT), "--env-manager", "local", "--experiment-name", experiment,
            *tiny(TINY), "-P", data, "-P", "patience=100000",
        ]  # fmt: skip
    env = environment(server) | {"MLFLOW_EXPERIMENT_NAME": experiment}
    before = len(mlflow.search_model_versions())
    process = subprocess.Popen(
        command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        run_id = wait_for_epochs(server, experiment, 2, process)
        os.killpg(process.pid, number)  # a terminal's Ctrl-C reaches the whole group
        out, err = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == status, out + err
    run = mlflow.get_run(run_id)
    assert (run.info.status, run.data.tags["stop_reason"]) == (recorded, "interrupted")
    history = mlflow.MlflowClient().get_metric_history(run_id, "val_loss")
    path = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="early_stopping.csv")
    assert [point.step for point in history] == pd.read_csv(path)["epoch"].tolist()
    assert "stopped_epoch" not in run.data.metrics
    assert len(history) >= 2
    checkpoint = mlflow.MlflowClient().list_artifacts(run_id, "checkpoint")
    assert [item.path for item in checkpoint] == ["checkpoint/best.keras"]
    assert len(mlflow.search_model_versions()) == before


def test_registered_model_loads_without_this_project(
    server: str, trained: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """In a fresh environment with only its own requirements, the model scores a table, an array and a series."""
    requirements = mlflow.pyfunc.get_model_dependencies("models:/imdb-conv1d@candidate")
    python = tmp_path / "venv" / "bin" / "python"
    uv = str(PYTHON.parent / "uv")
    subprocess.run([uv, "venv", "-q", "--python", str(PYTHON), str(tmp_path / "venv")], check=True)
    subprocess.run([uv, "pip", "install", "-q", "--python", str(python), "-r", requirements], check=True)
    code = """
import sys, json, mlflow, numpy as np, pandas as pd
model = mlflow.pyfunc.load_model("models:/imdb-conv1d@candidate")
texts = ["A wonderful, moving film", "boring and awful<br />", "cheap"]
tables = [pd.DataFrame({"text": texts}), np.array(texts, dtype=object), pd.Series(texts)]
print(json.dumps([np.asarray(model.predict(table)).tolist() for table in tables]))
assert not [name for name in sys.modules if name.startswith("imdb_conv1d")]
"""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}
    done = subprocess.run(
        [python, "-I", "-c", code],
        env=env | {"MLFLOW_TRACKING_URI": server},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    first, *others = json.loads(done.stdout.splitlines()[-1])
    assert len(first) == 3
    assert others == [first, first]
    assert first[0] > first[1]
    here = mlflow.pyfunc.load_model("models:/imdb-conv1d@candidate")
    texts = np.array(["A wonderful, moving film", "boring and awful<br />", "cheap"], dtype=object)
    np.testing.assert_allclose(here.predict(texts), first, atol=1e-6)


def test_mlflow_models_predict_with_texts_gives_probabilities(
    server: str, folder: Path, trained: str, tmp_path: Path
) -> None:
    (tmp_path / "in.json").write_text(json.dumps({"inputs": ["A wonderful, moving film", "boring and awful"]}))
    done = subprocess.run(
        [
            PYTHON, "-m", "mlflow", "models", "predict", "-m", "models:/imdb-conv1d@candidate", "--env-manager", "uv",
            "-t", "json", "-i", tmp_path / "in.json", "-o", tmp_path / "out.json",
        ],
        cwd=tmp_path, env=environment(server), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    good, bad = json.loads((tmp_path / "out.json").read_text())["predictions"]
    assert 0 <= bad < good <= 1
