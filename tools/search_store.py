"""What a search has left in its store: read it, check it against the rules of any search, compare two to the bit."""

import csv
import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helpers.subjects import Subject

UNLIKE = ("run_id", "seconds")  # columns of the table that two equal searches differ in
UNREPEATED = ("epoch_seconds",)  # metrics likewise
KINDS = (
    "trials lost", "trials doubled", "proposals not reproduced", "runs left RUNNING", "epochs lost",
    "epochs logged twice", "differing bits", "versions missing or doubled", "left behind", "foreign runs touched",
    "anything else",
)  # fmt: skip


@dataclass
class Differences:
    """What is wrong with a search, by kind."""

    found: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})

    def add(self, kind: str, problem: str) -> None:
        """Add a problem of a kind of ``KINDS``."""
        self.found[kind].append(problem)

    def require(self, holds: bool, kind: str, problem: str) -> None:
        """Add a problem unless a condition holds."""
        if not holds:
            self.add(kind, problem)

    @property
    def counts(self) -> dict[str, int]:
        """The number of problems of each kind."""
        return {kind: len(problems) for kind, problems in self.found.items()}

    @property
    def lines(self) -> list[str]:
        """All problems."""
        return [f"{kind}: {problem}" for kind, problems in self.found.items() for problem in problems]


@dataclass(frozen=True)
class Progress:
    """How far a search is, read without MLflow: it is asked many times a second."""

    search_id: str = ""
    trials: int = 0
    confirming: int = 0
    running: frozenset[tuple[str, str]] = frozenset()  # trainings: each run's id and what its last attempt began with
    phase: str = "before its run"
    has_finished: bool = False


def read_progress(folder: Path) -> Progress:
    """Read how far the search in a store is."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{folder}/mlflow.db?mode=rw", uri=True)) as store:
        tags = dict[str, dict[str, str]]()
        for run, key, value in store.execute("select run_uuid, key, value from tags"):
            tags.setdefault(run, {})[key] = value
        status = dict[str, str](store.execute("select run_uuid, status from runs"))
        searches = [run for run, own in tags.items() if own.get("verb") == "search"]
        if not searches:
            return Progress()
        trials = [status[run] for run, own in tags.items() if "trial" in own]
        confirming = [status[run] for run, own in tags.items() if "confirms" in own]
        own = tags[searches[-1]]
        if "registered_version" in own:
            phase = "ending"
        elif "winner" in own:
            phase = "registering"
        else:
            phase = "confirming" if confirming else "trials" if trials else "before its first trial"
        running = frozenset(
            (run, own.get("launch", ""))
            for run, own in tags.items()
            if ("trial" in own or "confirms" in own) and status[run] == "RUNNING"
        )
        return Progress(
            searches[-1],
            trials.count("FINISHED"),
            confirming.count("FINISHED"),
            running,
            phase,
            status[searches[-1]] == "FINISHED",
        )
    return Progress()


def read_search(folder: Path, search_id: str, subject: Subject) -> dict[str, Any]:
    """Read all that a search has left and an equal search repeats."""
    import keras
    import mlflow

    keras.config.disable_interactive_logging()
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    client = mlflow.MlflowClient()
    search = client.get_run(search_id)
    runs = mlflow.search_runs(
        [search.info.experiment_id], f"tags.`mlflow.parentRunId` = '{search_id}'", output_format="list"
    )
    trainings = dict[str, list[dict[str, Any]]]()
    for run in runs:
        trainings.setdefault(label_of(run), []).append(_read_training(client, run))
    name = search.data.params["model_name"]
    versions = client.search_model_versions(f"name = '{name}'")
    labels = {run.info.run_id: label_of(run) for run in runs}
    found: dict[str, Any] = {
        "status": search.info.status,
        "tags": {key: search.data.tags.get(key) for key in ("winner", "confirmed", "space", "registered_version")},
        "metrics": {name: value.hex() for name, value in search.data.metrics.items()},
        "best so far": [
            (point.step, point.value.hex()) for point in client.get_metric_history(search_id, "best_so_far")
        ],
        "artifacts": _list_artifacts(client, search_id),
        "trainings": trainings,
        "parameters": dict(search.data.params),
        "versions": [f"{version.version} of {labels.get(version.run_id)}" for version in versions],
        "models": [str(model.status) for model in client.search_logged_models([search.info.experiment_id])],
    }
    with suppress(mlflow.MlflowException):
        table = Path(mlflow.artifacts.download_artifacts(run_id=search_id, artifact_path="trials.csv"))
        found["table"] = list(csv.DictReader(table.open()))
    with suppress(mlflow.MlflowException):
        version = client.get_model_version_by_alias(name, "candidate")
        found["version's tags"] = {key: value for key, value in version.tags.items() if key != "search_run_id"}
        found["lineage"] = version.tags.get("search_run_id") == search_id
        uri = f"models:/{name}@candidate"
        found["predictions"] = mlflow.pyfunc.load_model(uri).predict(subject.inputs()).tobytes()
        path = Path(mlflow.artifacts.download_artifacts(uri)) / "extra_files" / "best.keras"
        network = keras.saving.load_model(path)
        # Without the dropouts' random states, which a file lacks.
        found["weights"] = [one.numpy().tobytes() for one in [*network.weights, *network.optimizer.variables]]
    return found


def label_of(run: Any) -> str:
    """Name a search's training by what it was made for."""
    tags = run.data.tags
    return f"confirm {tags['confirms']} seed {run.data.params.get('seed')}" if "confirms" in tags else (
        f"trial {tags.get('trial', '?')}"
    )  # fmt: skip


def _read_training(client: Any, run: Any) -> dict[str, Any]:
    points = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    return {
        "status": run.info.status,
        "stop_reason": run.data.tags.get("stop_reason"),
        "proposal": run.data.tags.get("proposal"),
        "run_name": run.info.run_name,
        "params": dict(run.data.params),
        "steps": {name: Counter(point.step for point in own) for name, own in points.items()},
        "values": {
            f"{name} at {point.step}": point.value.hex()
            for name, own in points.items()
            if name not in UNREPEATED
            for point in own
        },
        "artifacts": _list_artifacts(client, run.info.run_id),
        "version": run.data.tags.get("registered_version"),
        "resumed": run.data.tags.get("resumed"),
    }


def _list_artifacts(client: Any, run_id: str, folder: str = "") -> list[str]:
    found = list[str]()
    for file in client.list_artifacts(run_id, folder or None):
        found += _list_artifacts(client, run_id, file.path) if file.is_dir else [file.path]
    return sorted(found)


def inspect(found: Mapping[str, Any], trials: int, confirming: int, keep: int) -> Differences:
    """Check what holds for any search that has finished, whatever its workers were.

    Args:
        confirming: how many trainings confirm; ``keep``: of how many trials the checkpoint stays.
    """
    differences, trainings = Differences(), found["trainings"]
    for number in range(trials):
        own = trainings.get(f"trial {number}", [])
        differences.require(bool(own), "trials lost", f"trial {number}")
        row = [row for row in found.get("table", []) if row["number"] == str(number)]
        differences.require(len(row) == 1, "trials lost", f"{len(row)} rows of trial {number} in the table")
    confirmed = [label for label in trainings if label.startswith("confirm ")]
    differences.require(len(confirmed) == confirming, "trials lost", f"{len(confirmed)} confirming trainings")
    for label, own in trainings.items():
        differences.require(len(own) == 1, "trials doubled", f"{len(own)} runs of {label}")
        for one in own:
            _inspect_training(differences, label, one)
    differences.require(len(trainings) == trials + confirming, "trials doubled", f"{len(trainings)} trainings")
    for holds, problem in (
        (len(found["versions"]) == 1, f"versions {found['versions']}"),
        (found["models"] == ["READY"], f"models {found['models']}"),
        (bool(found.get("lineage")), "the version does not name the search"),
    ):
        differences.require(holds, "versions missing or doubled", problem)
    with_checkpoint = [label for label, (one, *_) in trainings.items() if "checkpoint/best.keras" in one["artifacts"]]
    kept = [label for label in with_checkpoint if label.startswith("trial ")]
    differences.require(len(kept) >= keep, "left behind", f"checkpoints at {kept} alone")
    differences.require(len(with_checkpoint) <= keep + 1, "left behind", f"checkpoints at {with_checkpoint}")
    differences.require(found["status"] == "FINISHED", "anything else", f"the search is {found['status']}")
    return differences


def _inspect_training(differences: Differences, label: str, one: Mapping[str, Any]) -> None:
    differences.require(one["status"] != "RUNNING", "runs left RUNNING", label)
    differences.require(one["status"] in ("FINISHED", "RUNNING"), "anything else", f"{label} is {one['status']}")
    epochs = set(one["steps"].get("val_loss", {}))
    differences.require(
        bool(epochs) and epochs == set(range(1, max(epochs, default=0) + 1)),
        "epochs lost",
        f"{label} has the epochs {sorted(epochs)}",
    )
    for name, steps in one["steps"].items():
        for step, count in steps.items():
            differences.require(count == 1, "epochs logged twice", f"{name} at {step} of {label}, {count} times")


def compare(found: Mapping[str, Any], expected: Mapping[str, Any], differences: Differences) -> None:
    """Compare a search with an uninterrupted one of the same seed and one worker, to the bit."""
    rows, other_rows = (
        [{name: value for name, value in row.items() if name not in UNLIKE} for row in one.get("table", [])]
        for one in (found, expected)
    )
    for number, other in enumerate(other_rows):
        row = rows[number] if number < len(rows) else {}
        differences.require(row == other, "differing bits", f"the table's row {number}: {row}, not {other}")
    for label, (other, *_) in expected["trainings"].items():  # the registered one is opened twice
        differences.require(not other["resumed"], "anything else", f"{label} is called resumed without a kill")
        for one in found["trainings"].get(label, []):
            _compare_training(differences, label, one, other)
    for label in found["trainings"]:
        differences.require(label in expected["trainings"], "trials doubled", f"{label} is too much")
    for key in ("predictions", "weights", "version's tags", "best so far", "metrics"):
        kind = "differing bits" if key in ("predictions", "weights") else "anything else"
        told = "" if kind == "differing bits" else f": {found.get(key)}, not {expected.get(key)}"
        differences.require(found.get(key) == expected.get(key), kind, f"{key}{told}")
    for key in ("tags", "artifacts", "versions", "parameters"):
        kind = "versions missing or doubled" if key == "versions" else "anything else"
        differences.require(found[key] == expected[key], kind, f"{key}: {found[key]}, not {expected[key]}")


def _compare_training(differences: Differences, label: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    for name, steps in other["steps"].items():
        for step in steps:
            differences.require(
                bool(one["steps"].get(name, Counter())[step]), "epochs lost", f"{name} at {step} of {label}"
            )
    for key, value in one["values"].items():
        differences.require(
            other["values"].get(key) == value,
            "differing bits",
            f"{label}, {key}: {value}, not {other['values'].get(key)}",
        )
    for key in ("stop_reason", "proposal", "run_name", "params", "artifacts", "version"):
        differences.require(one[key] == other[key], "anything else", f"{label}, {key}: {one[key]}, not {other[key]}")


def check_proposals(subject: Subject, folder: Path, found: Mapping[str, Any], search_id: str) -> list[str]:
    """Propose each trial again from the results that its run names; returns those that differ."""
    import mlflow

    from tracked.console.search_parameters import make_search_parameters
    from tracked.console.space import parse_space
    from tracked.runs import trials
    from tracked.search.proposals import propose

    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    experiment_id = mlflow.MlflowClient().get_run(search_id).info.experiment_id
    read = trials.find_runs(search_id, experiment_id, "val_loss", "min").trials
    space = parse_space(found["tags"]["space"], make_search_parameters(subject.experiment()).trains)
    sampler, seed = found["parameters"]["sampler"], int(found["parameters"]["seed"])
    problems = []
    for number, trial in read.items():
        known = [read[one] for one in trial.known]
        values = propose(space, sampler, seed, number, known, "min")
        if json.dumps(values) != json.dumps(dict(trial.values)):
            problems.append(f"trial {number}: {dict(trial.values)}, not {values}")
    return problems


def read_foreign(folder: Path, run_id: str) -> dict[str, Any]:
    """Read a run that the search must not touch, with its run folder's files."""
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    client = mlflow.MlflowClient()
    run = client.get_run(run_id)
    return {
        "info": dict(run.info),
        "tags": dict(run.data.tags),
        "params": dict(run.data.params),
        "metrics": {
            name: [(point.step, point.timestamp, point.value) for point in client.get_metric_history(run_id, name)]
            for name in run.data.metrics
        },
        "files": dict(_digest_files(folder / "snapshots" / run_id)),
    }


def _digest_files(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(folder)), hashlib.sha256(path.read_bytes()).hexdigest()
