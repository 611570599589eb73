"""Kills trainings, resumes them, and compares each with the training that nobody killed.

make faults
python tools/faults.py --experiment diabetes --random 100 --each 10 --seed 1

Every training is a process of its own that is an experiment's train command on little data (subjects.py) against one
SQLite store. SIGKILL comes at a random moment between the run's creation and the process's end, or at a named point:
then the process kills itself there (fault_points.py). A killed one is resumed, perhaps killed again, and at last left
alone. What the store then holds is compared with the reference: metrics to the last bit, tables, the registered model's
weights and predictions.

The processes are forked from one that has imported everything and used nothing of it (forked.py), so that 200 kills
take minutes instead of hours. It therefore talks to MLflow in forked processes only.
"""

import argparse
import csv
import json
import mmap
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from fault_points import PHASES, Countdown, point_out_phases, points
from helpers.forked import become_training, begin, import_all, in_child, result
from helpers.subjects import SUBJECTS, Subject


@dataclass(frozen=True)
class Kill:
    """When to kill: ``at`` is a named point's name and its n-th time, or "random" and a fraction of the whole time."""

    at: str
    when: float

    @property
    def is_random(self) -> bool:
        return self.at == "random"


@dataclass
class Landed:
    """A kill that hit: the point's name or "random", and the phase of the process's main thread at that moment."""

    at: str
    phase: str
    scenario: str


@dataclass
class Outcome:
    """What is wrong with a training after all its kills and resumes; nothing is, if all are empty."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    bits: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)

    @property
    def all(self) -> list[str]:
        return [*self.lost, *self.doubled, *self.bits, *self.versions, *self.other]


# --- within a forked process ------------------------------------------------------------------------------------------


def train_in_child(
    subject: Subject,
    arguments: list[str],
    folder: Path,
    kill: Kill | None,
    phase: mmap.mmap,
    told: int,
    log: Path,
    by_setting: str,
) -> NoReturn:
    """Never returns: this process is the training."""
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    if by_setting:
        os.environ["MLFLOW_RUN_ID"] = by_setting
    import mlflow

    create = mlflow.MlflowClient.create_run

    def tell(*arguments: Any, **named: Any) -> Any:
        made = create(*arguments, **named)
        os.write(told, f"{made.info.run_id}\n".encode())
        return made

    mlflow.MlflowClient.create_run = tell
    point_out_phases(subject, phase)
    if kill and not kill.is_random:
        points()[kill.at][1](Countdown(int(kill.when)))
    become_training(subject, arguments, folder, log)


def fingerprint(subject: Subject, folder: Path, run_id: str) -> dict[str, Any]:
    """All that a training leaves, but what another training of the same kind does not repeat."""
    import keras
    import mlflow

    keras.config.disable_interactive_logging()
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    client = mlflow.MlflowClient()
    run = client.get_run(run_id)
    points = {name: client.get_metric_history(run_id, name) for name in run.data.metrics}
    steps = {name: Counter(point.step for point in history) for name, history in points.items()}
    values = {
        f"{name} at {point.step}": point.value.hex()
        for name, history in points.items()
        if name != "epoch_seconds"
        for point in history
    }
    times = [point.timestamp for point in sorted(points.get("loss", []), key=lambda point: point.step)]
    found: dict[str, Any] = {
        "steps": steps,
        "values": values,
        "in order": times == sorted(times),
        "status": run.info.status,
        "stop_reason": run.data.tags.get("stop_reason"),
        "parameters": dict(run.data.params) | {"model_name": ""},
        "tags": sorted(set(run.data.tags) - {"resumed"}),
        "datasets": len(run.inputs.dataset_inputs),
        "folder left": (folder / "snapshots" / run_id).exists(),
    }
    # The registry.
    name = run.data.params["model_name"]
    versions = [version for version in client.search_model_versions(f"name = '{name}'") if version.run_id == run_id]
    models = [model for model in client.search_logged_models(["0"]) if model.source_run_id == run_id]
    found |= {"versions": len(versions), "models": [str(model.status) for model in models]}
    try:
        candidate = client.get_model_version_by_alias(name, "candidate")
        model_id = (candidate.source or "").removeprefix("models:/")
        found["candidate"] = [candidate.run_id == run_id, [model.model_id for model in models] == [model_id]]
        found["version's tags"] = dict(candidate.tags)
        model = mlflow.pyfunc.load_model(f"models:/{name}@candidate")
        found["predictions"] = model.predict(subject.inputs()).tobytes()
        path = Path(mlflow.artifacts.download_artifacts(f"models:/{name}@candidate"))
        found["weights"] = [array.tobytes() for array in weights(keras, path / "extra_files" / "best.keras")]
    except mlflow.MlflowException as error:
        found["candidate"] = str(error)
    # The artifacts.
    where = Path(mlflow.artifacts.download_artifacts(run_id=run_id))
    found["artifacts"] = sorted(str(path.relative_to(where)) for path in where.rglob("*") if path.is_file())
    for table, column in (("history.csv", "epoch_seconds"), ("early_stopping.csv", "time")):
        if (where / table).exists():
            rows = list(csv.DictReader((where / table).open()))
            found[table] = [{key: value for key, value in row.items() if key != column} for row in rows]
    if (where / "checkpoint" / "best.keras").exists():
        found["checkpoint"] = [array.tobytes() for array in weights(keras, where / "checkpoint" / "best.keras")]
    return found


def weights(keras: Any, path: Path) -> list[Any]:
    network = keras.saving.load_model(path)
    # Not the dropouts' random states: a file has none, and they are for training alone.
    return [variable.numpy() for variable in [*network.weights, *network.optimizer.variables]]


def all_runs(folder: Path) -> int:
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    return len(mlflow.search_runs(["0"], output_format="list"))


# --- the process that kills -------------------------------------------------------------------------------------------


def compare(found: dict[str, Any], wanted: dict[str, Any]) -> Outcome:
    """What differs from the training that nobody killed."""
    outcome = Outcome()
    for name, steps in wanted["steps"].items():
        have = found["steps"].get(name, Counter())
        outcome.lost += [f"{name} at {step}" for step in steps if not have[step]]
        outcome.doubled += [f"{name} at {step}" for step in have if have[step] > 1]
        outcome.other += [f"{name} at {step} is too much" for step in have if step not in steps]
    outcome.bits += [f"{key}: {found['values'].get(key)}" for key, value in wanted["values"].items() if
                     key in found["values"] and found["values"][key] != value]  # fmt: skip
    for key in ("predictions", "weights", "checkpoint", "history.csv", "early_stopping.csv"):
        if found.get(key) != wanted[key]:
            outcome.bits.append(key)
    for key in ("versions", "models", "candidate", "version's tags"):
        if found.get(key) != wanted[key]:
            outcome.versions.append(f"{key}: {found.get(key)}")
    rest = ("in order", "status", "stop_reason", "parameters", "tags", "datasets", "folder left", "artifacts")
    outcome.other += [f"{key}: {found[key]}, not {wanted[key]}" for key in rest if found[key] != wanted[key]]
    return outcome


class Trainings:
    """Trainings of an experiment in one folder with one store, begun, killed and resumed one after the other."""

    def __init__(self, subject: Subject, folder: Path, chance: random.Random, name: str) -> None:
        self.subject, self.folder, self.chance, self.name = subject, folder, chance, name
        self.begun = 0

    def new(self, scenario: str) -> list[str]:
        """The arguments of another training, with a model's name of its own."""
        self.begun += 1
        return [*self.subject.scenarios[scenario], *self.subject.flags, f"--model_name={self.name}-{self.begun}"]

    def attempt(self, arguments: list[str], kill: Kill | None, run_id: str, seconds: float, by_setting: bool) -> "Try":
        """One process: begins a training, or goes on with one, and is killed or not."""
        phase = mmap.mmap(-1, 1)
        reads, writes = os.pipe()
        log = self.folder / f"{self.name}-{self.begun}.log"
        words = arguments if not run_id else [] if by_setting else [f"--resume={run_id}"]
        begun = time.monotonic()
        child = os.fork()
        if child == 0:
            os.close(reads)
            setting = run_id if by_setting else ""
            train_in_child(self.subject, words, self.folder, kill, phase, writes, log, setting)
        os.close(writes)
        if not run_id:
            # The pipe ends when the process does.
            ready, _, _ = select.select([reads], [], [], 120)
            run_id = os.read(reads, 100).decode().strip() if ready else ""
            begun = time.monotonic()
        if kill and kill.is_random and run_id:
            end = begun + kill.when * seconds
            while time.monotonic() < end and os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                time.sleep(0.002)
            if time.monotonic() >= end:
                os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        os.close(reads)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1
        return Try(run_id, killed, code, PHASES[phase[0]], time.monotonic() - begun, log)

    def train(self, scenario: str, kills: list[Kill], seconds: float) -> tuple[str, list[Landed], list[Kill], str]:
        """A training with its kills; the run, where they landed, those that did not, and what went wrong."""
        arguments = self.new(scenario)
        landed: list[Landed] = []
        missed: list[Kill] = []
        run_id, problem = "", ""
        for kill in [*kills, None]:
            tried = self.attempt(arguments, kill, run_id, seconds, bool(run_id) and self.chance.random() < 0.3)
            run_id = tried.run_id
            if tried.killed and kill:
                landed.append(Landed(kill.at, tried.phase, scenario))
                continue
            if kill:
                missed.append(kill)
            text = tried.log.read_text(errors="replace")
            finished = tried.code == 2 and "has finished" in text.splitlines()[-1]
            if tried.code and not finished:
                problem = f"exit {tried.code}: {text[-600:]}"
            if tried.code == 0 or finished:
                missed += kills[len(landed) + len(missed) :]
                break
        return run_id, landed, missed, problem


@dataclass
class Try:
    """What became of one process."""

    run_id: str
    killed: bool
    code: int
    phase: str
    seconds: float
    log: Path


def plan(random_kills: int, each: int, most: int, chance: random.Random, names: dict[str, int]) -> list[list[Kill]]:
    """All kills, in trainings of one to ``max_loss``."""
    kills = [Kill("random", chance.uniform(0, 1)) for _ in range(random_kills)]
    kills += [Kill(name, chance.randint(1, times)) for name, times in names.items() for _ in range(each)]
    chance.shuffle(kills)
    return grouped(kills, most, chance, list(names))


def grouped(kills: list[Kill], most: int, chance: random.Random, order: list[str]) -> list[list[Kill]]:
    """Kills as trainings; in each, the points come as a training passes them, so that none is past already."""
    first = [kill for kill in kills if kill.at == order[0]]  # only a training that begins creates a run
    rest = [kill for kill in kills if kill.at != order[0]]
    trainings: list[list[Kill]] = []
    while first or rest:
        some = [first.pop()] if first else []
        some += [rest.pop() for _ in range(min(chance.randint(1, most), len(rest)))]
        trainings.append(sorted(some, key=lambda kill: 0.5 if kill.is_random else order.index(kill.at)))
    return trainings


def work(
    subject: Subject,
    folder: Path,
    name: str,
    seed: str,
    trainings: list[list[Kill]],
    scenarios: list[str],
    most: int,
    order: list[str],
) -> dict[str, Any]:
    """Train, kill, resume and compare, in this process's children; all that came out."""
    chance = random.Random(seed)
    ours = Trainings(subject, folder, chance, name)
    wanted, seconds = {}, {}
    for scenario in scenarios:
        tried = ours.attempt(ours.new(scenario), None, "", 0, False)
        if tried.code:
            raise RuntimeError(f"the reference failed: {tried.log.read_text()}")
        wanted[scenario] = in_child(fingerprint, subject, folder, tried.run_id)
        seconds[scenario] = tried.seconds
    landed: list[Landed] = []
    problems: list[tuple[str, Outcome]] = []
    left, again = list(trainings), list[Kill]()
    tries: Counter[str] = Counter()
    while left:
        kills = left.pop(0)
        scenario = chance.choice(scenarios)
        run_id, hit, missed, problem = ours.train(scenario, kills, seconds[scenario])
        landed += hit
        outcome = compare(in_child(fingerprint, subject, folder, run_id), wanted[scenario])
        if problem:
            outcome.other.append(problem)
        problems.append((f"{run_id} ({scenario}): {', '.join(f'{k.at} ({k.when:.2f})' for k in kills)}", outcome))
        for kill in missed:  # it came too late: once more, at an earlier time
            tries[kill.at] += 1
            if tries[kill.at] > 200:
                raise RuntimeError(f"{kill.at} is never met")
            again.append(Kill(kill.at, chance.uniform(0, 1) if kill.is_random else max(1, kill.when - 1)))
        if not left:
            left, again = grouped(again, most, chance, order), []
        print(f"{name}: {len(landed)} kills landed, {len(left)} trainings to go", flush=True)
    return {"landed": landed, "trainings": problems, "begun": ours.begun}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiment", choices=[*SUBJECTS, "both"], default="both")
    parser.add_argument("--random", type=int, default=60, help="kills at random moments, shared by the experiments")
    parser.add_argument("--each", type=int, default=10, help="kills at each named point, shared by the experiments")
    parser.add_argument("--most", type=int, default=3, help="kills of one training at most")
    parser.add_argument("--seed", default=str(random.SystemRandom().randrange(10**6)))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scenarios", type=int, help="how many of an experiment's kinds of training; all by default")
    parser.add_argument("--table", type=Path, help="a file for the table")
    parser.add_argument("--json", type=Path, help="a file for what came out")
    given = parser.parse_args()
    begun = time.monotonic()
    import_all()
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    subjects = list(SUBJECTS) if given.experiment == "both" else [given.experiment]
    found = {}
    for place, name in enumerate(subjects):
        shares = [share(given.random, len(subjects), place), share(given.each, len(subjects), place)]
        found[name] = kill_all(name, folder / name, *shares, given)
    table = tabulate(found, given.seed, time.monotonic() - begun)
    print(table)
    if given.table:
        given.table.parent.mkdir(exist_ok=True)
        given.table.write_text(table + "\n")
    if given.json:
        given.json.write_text(json.dumps({name: one.facts for name, one in found.items()}))
    if any(one.bad for one in found.values()):
        print(f"what is left is in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


def share(number: int, of: int, place: int) -> int:
    """A number divided by so many, as evenly as whole numbers go."""
    return number * (place + 1) // of - number * place // of


def kill_all(name: str, folder: Path, random_kills: int, each: int, given: argparse.Namespace) -> "Found":
    """Kill, resume and compare trainings of one experiment, by several workers on one store."""
    subject = SUBJECTS[name]
    folder.mkdir()
    in_child(prepare, subject, folder)
    names = in_child(lambda: {name: most for name, (most, _) in points().items()})
    # Other moments for each experiment.
    trainings = plan(random_kills, each, given.most, random.Random(f"{given.seed}-{name}"), names)
    print(f"{name}, seed {given.seed}: {sum(map(len, trainings))} kills in {len(trainings)} trainings", flush=True)
    scenarios = list(subject.scenarios)[: given.scenarios]
    workers = [
        begin(
            work,
            subject,
            folder,
            f"w{number}",
            f"{given.seed}-{name}-{number}",
            trainings[number :: given.workers],
            scenarios,
            given.most,
            list(names),
        )
        for number in range(given.workers)
    ]
    results = [result(*worker) for worker in workers]
    return Found(
        [kill for one in results for kill in one["landed"]],
        [item for one in results for item in one["trainings"]],
        sum(one["begun"] for one in results),
        in_child(all_runs, folder),
    )


def prepare(subject: Subject, folder: Path) -> None:
    """The experiment's data, and an empty store."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    subject.prepare(folder)
    SqlAlchemyStore(f"sqlite:///{folder}/mlflow.db", f"{folder}/artifacts")


@dataclass
class Found:
    """What came out of an experiment's trainings: the kills, each training's outcome, and how many runs there are."""

    landed: list[Landed]
    outcomes: list[tuple[str, Outcome]]
    begun: int
    runs: int

    @property
    def counts(self) -> dict[str, int]:
        """What is wrong, by its kind."""
        outcomes = [outcome for _, outcome in self.outcomes]
        return {
            "epochs lost": sum(len(outcome.lost) for outcome in outcomes),
            "epochs logged twice": sum(len(outcome.doubled) for outcome in outcomes),
            "differing bits": sum(len(outcome.bits) for outcome in outcomes),
            "versions missing or doubled": sum(len(outcome.versions) for outcome in outcomes),
            "anything else": sum(len(outcome.other) for outcome in outcomes) + (self.runs != self.begun),
        }

    @property
    def bad(self) -> bool:
        return any(self.counts.values())

    @property
    def at(self) -> Counter[str]:
        """The number of kills at each point."""
        return Counter(kill.at for kill in self.landed)

    @property
    def phases(self) -> Counter[str]:
        """Where the random ones fell."""
        return Counter(kill.phase for kill in self.landed if kill.at == "random")

    @property
    def facts(self) -> dict[str, Any]:
        return {"landed": dict(self.at), "counts": self.counts, "trainings": len(self.outcomes)}


def tabulate(found: dict[str, Found], seed: str, seconds: float) -> str:
    """Tables with a column an experiment, and all that is wrong."""
    kills = ", ".join(
        f"{name}: {len(one.landed)} kills in {len(one.outcomes)} trainings" for name, one in found.items()
    )
    at = dict.fromkeys(sorted((name for one in found.values() for name in one.at), key=lambda name: name == "random"))
    lines = [
        f"{kills}; each training was resumed to its end and compared with one that was not killed; "
        f"{seconds / 60:.0f} minutes, seed {seed}.",
        *_rows("killed at", at, {name: one.at for name, one in found.items()}),
        *_rows("a random moment fell where it", PHASES, {name: one.phases for name, one in found.items()}),
        *_rows("found", None, {name: one.counts for name, one in found.items()}),
    ]
    for name, one in found.items():
        if one.runs != one.begun:
            lines.append(f"{name}: there are {one.runs} runs, for {one.begun} trainings")
        lines += [f"{name}, {training}\n    {problem}" for training, outcome in one.outcomes for problem in outcome.all]
    return "\n".join(lines)


def _rows(title: str, names: Iterable[str] | None, columns: Mapping[str, Mapping[str, int]]) -> list[str]:
    """A table after an empty line. With ``names``, rows of these names that have a number anywhere; else all."""
    counts = list(columns.values())
    shown = counts[0] if names is None else [name for name in names if any(count.get(name) for count in counts)]
    return [
        "",
        f"| {' | '.join([title, *columns])} |",
        f"| --- |{' ---: |' * len(columns)}",
        *(f"| {name} | {' | '.join(str(count.get(name, 0)) for count in counts)} |" for name in shown),
    ]


if __name__ == "__main__":
    sys.exit(main())
