"""A store for tidy: real trainings of diabetes and made-up runs with links between them, and what must work with it."""

import json
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd

from diabetes import Diabetes
from helpers.runs import SignalAfter
from helpers.tidying import MadeUp
from helpers.verbs import Verb
from tracked.console.errors import Interrupted
from tracked.console.signals import Signals

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "examples" / "diabetes" / "diabetes.py"
LITTLE = ("--patience=2", "--epochs=8", "--learning_rate=0.1")
EXPERIMENT = "tidied"


def call(verb: str, *arguments: str, signals: Signals | None = None) -> None:
    """Call a verb of diabetes in this process."""
    Verb(verb, Diabetes()).main(arguments, signals or Signals())


def build(folder: Path, made_up: int, seed: int, is_real: bool = True) -> None:
    """Build the store in a folder, which must be the working directory; with real trainings or without."""
    client = mlflow.MlflowClient()
    place = client.create_experiment(EXPERIMENT, artifact_location=str(folder / "artifacts"))
    mlflow.set_experiment(experiment_id=place)
    if is_real:
        build_real(client)
    build_made_up(MadeUp(folder / "snapshots", place), made_up, random.Random(seed))
    if is_real:
        call("compare")


def build_real(client: mlflow.MlflowClient) -> None:
    """Train, evaluate, promote, break off, close, search."""
    for number in range(1, 7):
        call("train", *LITTLE, f"--seed={number}")
    for version in (1, 1, 2, 5):
        call("evaluate", f"--model=models:/diabetes/{version}")
    call("promote", "--model=models:/diabetes/1", "--margin=100")
    call("promote", "--model=models:/diabetes/2", "--margin=100")
    client.copy_model_version("models:/diabetes/3", "copied")
    for version in (3, 4):
        client.delete_model_version("diabetes", str(version))
    client.set_registered_model_alias("diabetes", "favourite", "5")
    for number in (7, 8, 9):
        with suppress(Interrupted):
            call("train", *LITTLE, f"--seed={number}", signals=SignalAfter(20))
    newest = client.search_runs([find_place()], "tags.verb = 'train'", max_results=1)[0]
    call("unfinished", f"--close={newest.info.run_id}")
    call("replay", "--run=auto")
    search = [
        sys.executable,
        str(SCRIPT),
        "search",
        *LITTLE[:2],
        "--trials=3",
        "--confirm=0",
        "--sampler=random",
        "--keep=2",
    ]
    subprocess.run(search, check=True, stdout=subprocess.DEVNULL)
    break_off_search([*search, "--seed=3"], client)


def break_off_search(command: list[str], client: mlflow.MlflowClient) -> None:
    """Stop a search once a trial has ended."""
    before = len(client.search_runs([find_place()], "tags.trial != ''"))
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    ended = "tags.trial != '' and attributes.status = 'FINISHED'"
    while process.poll() is None and len(client.search_runs([find_place()], ended)) <= before:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    process.wait()


def find_place() -> str:
    """The id of the MLflow experiment."""
    return str(mlflow.get_experiment_by_name(EXPERIMENT).experiment_id)


def build_made_up(made: MadeUp, count: int, rng: random.Random) -> None:
    """Make runs of each kind, of which others refer to some."""
    runs = 0
    while runs < count:
        kind, value = rng.randrange(8), round(rng.uniform(0.1, 0.9), 6)
        if kind == 0:
            run_id, model_id, number = made.registered(value)
            made.folder(run_id)
            runs += 1
            if rng.random() < 0.5:
                for _ in range(rng.randrange(3)):
                    made.evaluation(run_id, model_id)
                    runs += 1
            elif rng.random() < 0.5:
                made.client.delete_model_version("diabetes", number)
        elif kind == 1:
            search, trials = made.search([value, value + 0.1, value + 0.2], {"stop_reason": "interrupted"})
            made.folder(search)
            made.folder(trials[0], {"best-2.keras": b"x"})
            runs += 4
        elif kind == 2:
            search, trials = made.search([value, value + 0.1, value + 0.2])
            made.folder(trials[1], {"best-2.keras": b"x"})
            made.tag(search, pinned=rng.choice(["false", "true"]))
            runs += 4
        elif kind == 3:
            run_id = made.training(value, {"stop_reason": "interrupted"}, "KILLED")
            made.folder(run_id, {"best-2.keras": b"x"})
            runs += 1
        else:
            run_id = made.closed(value, {"pinned": rng.choice(["false", "false", "true"])})
            runs += 1
            if rng.random() < 0.5:
                model_id = made.model(run_id, own=rng.random() < 0.8)
                if rng.random() < 0.3:
                    made.version(run_id, f"models:/{model_id}", rng.choice(["one", "two"]))
            if rng.random() < 0.3:
                made.folder(run_id)
            if rng.random() < 0.2:
                made.run("replay", {"source_run_id": run_id})
                runs += 1


def check(folder: Path) -> dict[str, Any]:
    """Compare, replay, evaluate each real version, resume what is unfinished; give the results."""
    client, place = mlflow.MlflowClient(), find_place()
    mlflow.set_experiment(experiment_id=place)
    found: dict[str, Any] = {}

    def newest(verb: str) -> Any:
        return client.search_runs([place], f"tags.verb = '{verb}' and tags.experiment = 'diabetes'", max_results=1)[0]

    for verb, table, flags in (
        ("compare", "comparison.csv", ()),
        ("replay", "replay.csv", ("--run=all", "--patience=1,2")),
    ):
        call(verb, *flags)
        path = mlflow.artifacts.download_artifacts(run_id=newest(verb).info.run_id, artifact_path=table)
        found[verb] = pd.read_csv(path).astype(str).to_dict("list")
    for version in client.search_model_versions():
        uri = f"models:/{version.name}/{version.version}"
        if is_real(client, version.run_id):
            call("evaluate", f"--model={uri}")
            found[uri] = newest("evaluate").data.metrics["test_loss"]
        else:
            mlflow.artifacts.download_artifacts(f"{uri}", dst_path=str(folder / "down"))
            found[uri] = "downloaded"
    for run in client.search_runs([place], "attributes.status = 'KILLED' and tags.verb = 'train'", max_results=1000):
        tags = run.data.tags
        if "versions" in tags and "closed" not in tags and "trial" not in tags:
            call("train", f"--resume={run.info.run_id}")
            history = client.get_metric_history(run.info.run_id, "val_loss")
            found[f"resumed {run.info.run_id}"] = sorted((point.step, point.value) for point in history)
    for run in client.search_runs([place], "attributes.status = 'KILLED' and tags.verb = 'search'", max_results=1000):
        if "code_digest" in run.data.tags:
            command = [sys.executable, str(SCRIPT), "search", f"--resume={run.info.run_id}"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            ended = client.get_run(run.info.run_id)
            found[f"search {run.info.run_id}"] = ended.data.metrics["best_trial_value"]
    return json.loads(json.dumps(found))


def is_real(client: mlflow.MlflowClient, run_id: str) -> bool:
    """Whether a training has a network."""
    return "versions" in client.get_run(run_id).data.tags
