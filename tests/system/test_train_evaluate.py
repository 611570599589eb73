"""The parameter ``evaluate`` of train in processes: beside another one that evaluates, killed, by ``mlflow run``."""

import signal
import subprocess
from pathlib import Path

import mlflow
import pytest

from helpers import ROOT, warm
from helpers.evaluated import contents, runs
from helpers.processes import PYTHON, environment, wait_until
from helpers.resuming import folder
from helpers.reviews import TINY

pytestmark = pytest.mark.slow
EXAMPLE = ROOT / "examples" / "diabetes"
SCRIPT = str(EXAMPLE / "diabetes.py")
TRAIN = [SCRIPT, "train", "--learning_rate=0.1", "--epochs=2", "--evaluate=true"]


def call(uri: str, *words: str, cold: bool = False) -> "subprocess.CompletedProcess[str]":
    """Run a script, or mlflow, in the store's folder; ``cold``: nothing is imported, and standard error is closed."""
    python = PYTHON if cold else warm.python()
    env, begin = environment(uri, python), ["sh", "-c", 'exec "$0" "$@" 2>&-'] if cold else []
    done = subprocess.run([*begin, str(python), *words], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.parametrize("name", ["diabetes", "imdb-conv1d"])
def test_evaluation_in_another_process_logs_the_same_to_the_bit(store: str, reviews_csv: Path, name: str) -> None:
    tiny = [*TINY, f"--data={reviews_csv}", "--epochs=2", "--evaluate=true"]
    train, evaluate = {
        "diabetes": (TRAIN, [SCRIPT, "evaluate"]),
        "imdb-conv1d": ([str(ROOT / "src" / "train.py"), *tiny], [str(ROOT / "src" / "evaluate.py")]),
    }[name]
    trained = call(store, *train)
    assert "retracing" not in trained.stderr
    call(store, *evaluate, cold=True)  # the model has a process of its own
    alone, within = map(contents, runs("evaluate"))
    scripts = [one["tags"].pop("mlflow.source.name") for one in (alone, within)]
    assert scripts == [evaluate[0], train[0]]
    assert within == alone


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_signal_in_the_evaluation_leaves_the_training_complete(store: str, signum: signal.Signals) -> None:
    python = warm.python()
    with subprocess.Popen(
        [str(python), *TRAIN], env=environment(store, python), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_until(lambda: [run for run in runs("train") if run.info.status == "FINISHED"], process)
        process.send_signal(signum)
        _, err = process.communicate(timeout=120)
    (training,), left = runs("train"), [run.info.status for run in runs("evaluate")]
    assert (training.info.status, training.data.tags["registered_version"]) == ("FINISHED", "1")
    assert not folder(training, "diabetes").exists()
    if signum == signal.SIGTERM:
        assert (process.returncode, left) in [(143, []), (143, ["KILLED"])], err  # before or within its run
        line = err.splitlines()[-1]
        assert line.startswith("diabetes version 1 is registered; to evaluate it: ")
        assert line.endswith(f" {SCRIPT} evaluate --model models:/diabetes/1")
    else:
        assert (process.returncode, left) in [(-signal.SIGKILL, []), (-signal.SIGKILL, ["RUNNING"])]
    resumed = call(store, SCRIPT, "train", "--resume=latest").stdout
    assert f"run {training.info.run_id} has finished: version 1 of diabetes is registered" in resumed
    assert "epoch" not in resumed
    assert [run.info.status for run in runs("evaluate")] == ["FINISHED", *left]
    assert (len(runs("train")), len(mlflow.MlflowClient().search_model_versions())) == (1, 1)


def test_mlflow_run_trains_and_evaluates_in_two_runs(store: str) -> None:
    run = ["-m", "mlflow", "run", str(EXAMPLE), "--env-manager", "local"]
    call(store, *run, "-P", "evaluate=true", "-P", "epochs=2")
    (training,), (evaluation,) = runs("train"), runs("evaluate")
    assert (training.info.status, evaluation.info.status) == ("FINISHED", "FINISHED")
    assert (training.data.params["evaluate"], training.data.tags["mlflow.project.entryPoint"]) == ("true", "main")
    assert "mlflow.project.entryPoint" not in evaluation.data.tags
    assert evaluation.data.tags["training_run_id"] == training.info.run_id
    call(store, *run, "--run-id", training.info.run_id)  # as before: it says that the training has finished
    assert len(runs("evaluate")) == 1
