"""Every verb on a team's server, as a user without admin rights: PostgreSQL, S3 behind the server, two workers."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import Run

from diabetes import MEASUREMENTS, Diabetes
from helpers import ROOT, warm
from helpers.endpoints import until
from helpers.processes import environment, wait_until
from helpers.resuming import ARGUMENTS
from helpers.reviews import TINY, make_reviews
from helpers.team import TeamStack
from helpers.trainings import Trainings
from helpers.verbs import Verb
from imdb_conv1d.experiment import EXPERIMENT
from tracked.console.signals import Signals
from tracked.experiment import Experiment
from tracked.training import run_folder

pytestmark = [pytest.mark.slow, pytest.mark.needs("Team")]
SCRIPT = ROOT / "examples" / "diabetes" / "diabetes.py"


def run(verb: str, *words: str, of: Experiment | None = None) -> Run | None:
    """Run a verb, and return the run that it made last."""
    assert not Verb(verb, of or Diabetes()).main(words, Signals())
    condition = f"tags.verb = '{verb}'"
    names = [os.environ["MLFLOW_EXPERIMENT_NAME"]]
    found = mlflow.search_runs(experiment_names=names, filter_string=condition, output_format="list")
    assert not found or found[0].info.status == "FINISHED"
    return found[0] if found else None


def files(found: Run | None) -> set[str]:
    assert found
    return {item.path for item in mlflow.MlflowClient().list_artifacts(found.info.run_id)}


def champion() -> str:
    return str(mlflow.MlflowClient().get_model_version_by_alias("diabetes", "champion").version)


def test_each_verb_of_an_experiment_works_without_admin_rights(stack: TeamStack, ann: str, tmp_path: Path) -> None:
    assert files(run("find_rate"))
    for seed in (1, 2):
        trained = run("train", "--patience=5", f"--seed={seed}")
        assert trained
        assert trained.info.user_id or trained.data.tags["mlflow.user"]
        assert trained.info.artifact_uri.startswith("mlflow-artifacts:/")
        assert files(trained) >= {"history.csv", "early_stopping.csv", "checkpoint"}
        assert files(run("evaluate"))
        assert run("promote")
        assert champion() == str(seed)
    run("rollback")
    assert champion() == "1"
    assert files(run("replay"))
    assert files(run("compare"))
    assert files(run("search", "--trials=2", "--epochs=3", "--workers=1"))
    assert run("unfinished") is None
    (tmp_path / "rows.csv").write_text("\n".join([",".join(MEASUREMENTS), *[",".join(["0.01"] * 10)] * 5]) + "\n")
    run("predict", "--data=rows.csv", "--output=answers", "--model=models:/diabetes@champion")
    assert list((tmp_path / "answers").glob("part-*"))


def test_an_endpoint_serves_a_version_of_the_stack(stack: TeamStack, ann: str, tmp_path: Path) -> None:
    run("train", "--epochs=2", "--model_name=served")
    command = [sys.executable, SCRIPT, "serve", "--port=0", "--workers=1", "--model=models:/served@candidate"]
    log = tmp_path / "log"
    with (
        log.open("w") as output,
        subprocess.Popen(command, stdout=output, stderr=output, text=True, env=environment(stack.uri)) as process,
    ):
        try:
            until(lambda: " answers, on 1 scorer " in log.read_text())
            port = log.read_text().partition("listening at http://127.0.0.1:")[2].split()[0]
            body = json.dumps({"rows": [dict.fromkeys(MEASUREMENTS, 0.01)]}).encode()
            asked = urllib.request.Request(
                f"http://127.0.0.1:{port}/predict", body, {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(asked, timeout=60) as answer:
                assert answer.status == 200
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) in (0, 130)


def test_reviews_are_trained_evaluated_and_explained(stack: TeamStack, ann: str, tmp_path: Path) -> None:
    make_reviews(200).to_csv(tmp_path / "reviews.csv", index=False)
    data = f"--data={tmp_path}/reviews.csv"
    run("train", *TINY, data, "--epochs=2", of=EXPERIMENT)
    assert "model" not in files(run("evaluate", data, of=EXPERIMENT))
    assert files(run("explain", "--text=a boring story about two friends", of=EXPERIMENT))


def test_killed_training_is_resumed_to_the_same_run(
    stack: TeamStack, ann: str, tmp_path: Path, trainings: Trainings
) -> None:
    command = [str(warm.python()), str(SCRIPT), "train", *trainings.flags, *ARGUMENTS, "--model_name=killed"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(stack.uri, warm.python())
    ) as process:
        state = tmp_path / "state/diabetes/snapshots"
        place = wait_until(lambda: next((path.parent for path in state.glob("*/epoch-2-*.npz")), None), process)
        process.kill()
        process.wait()
    until(lambda: run_folder.find_holder(place) is None)  # the killed one is a client of the process that trains
    assert mlflow.get_run(place.name).info.status == "RUNNING"
    trainings.resume("--resume=latest")
    trainings.assert_same_run(mlflow.get_run(place.name))
    assert len(mlflow.search_runs([ann], output_format="list")) == 1


def test_two_trainings_at_once_are_whole(stack: TeamStack, ann: str, tmp_path: Path, trainings: Trainings) -> None:
    here = ROOT / "tests" / "helpers" / "at_once.py"
    command = [warm.python(), str(here), stack.uri, str(tmp_path), "diabetes", "2", "--", *trainings.flags, *ARGUMENTS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    found = mlflow.search_runs([ann], output_format="list")
    assert len(found) == 2
    for one in found:
        trainings.assert_same_run(mlflow.get_run(one.info.run_id))
