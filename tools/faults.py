"""Kill trainings, resume them, and compare each with an uninterrupted training.

make faults
python tools/faults.py --experiment diabetes --random 100 --each 10 --seed 1

Each training is a process that runs an experiment's train command on little data (subjects.py) against one SQLite
store, or a team's server (--team). SIGKILL comes at a random moment between the run's creation and the process's end,
or the process kills itself at a named point (fault_points.py). A killed training is resumed, perhaps killed again, and
at last finished. The store is then compared with the reference: metrics to the last bit, tables, the registered model's
weights and predictions.

The processes are forked from one that has imported everything and used nothing (forked.py): 200 kills take minutes
instead of hours. Only forked processes use MLflow.
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
from collections.abc import Collection, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from fault_points import PHASES, Countdown, points, track_phases
from helpers.forked import become_training, begin, import_all, in_child, result
from helpers.subjects import SUBJECTS, Subject
from helpers.team import TeamStack, team_stack


@dataclass(frozen=True)
class Kill:
    """When to kill: the n-th time at the point named ``at``, or at a fraction of the whole time for "random"."""

    at: str
    when: float

    @property
    def is_random(self) -> bool:
        return self.at == "random"


@dataclass
class Landed:
    """A kill that hit: the point's name or "random", and the phase of the process's main thread."""

    at: str
    phase: str
    scenario: str


@dataclass(frozen=True)
class Store:
    """Where trainings go: MLflow's settings of it, and the MLflow experiment's id."""

    settings: Mapping[str, str]
    experiment_id: str = "0"

    def choose(self) -> None:
        """Let this process use it."""
        os.environ.update(self.settings)


@dataclass
class Outcome:
    """Differences of a training, after all its kills and resumes, from the uninterrupted training."""

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
    store: Store,
    kill: Kill | None,
    phase: mmap.mmap,
    pipe: int,
    log: Path,
    run_id_setting: str,
) -> NoReturn:
    """Turn this process into the training; the run's id is written to the pipe."""
    store.choose()
    if run_id_setting:
        os.environ["MLFLOW_RUN_ID"] = run_id_setting
    import mlflow

    create = mlflow.MlflowClient.create_run

    def create_run(*arguments: Any, **named: Any) -> Any:
        run = create(*arguments, **named)
        os.write(pipe, f"{run.info.run_id}\n".encode())
        return run

    mlflow.MlflowClient.create_run = create_run
    track_phases(subject, phase)
    if kill and not kill.is_random:
        points()[kill.at][1](Countdown(int(kill.when)))
    become_training(subject, arguments, folder, log)


def fingerprint(subject: Subject, store: Store, run_id: str) -> dict[str, Any]:
    """Collect all that a training leaves and an equal training repeats."""
    import keras
    import mlflow

    from tracked.training import run_folder

    keras.config.disable_interactive_logging()
    store.choose()
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
    contents: dict[str, Any] = {
        "steps": steps,
        "values": values,
        "in order": times == sorted(times),
        "status": run.info.status,
        "stop_reason": run.data.tags.get("stop_reason"),
        "parameters": dict(run.data.params) | {"model_name": ""},
        "tags": sorted(set(run.data.tags) - {"resumed"}),
        "datasets": len(run.inputs.dataset_inputs),
        "folder left": (run_folder.find_root(subject.experiment().name, mlflow.get_tracking_uri()) / run_id).exists(),
    }
    # The registry.
    name = run.data.params["model_name"]
    versions = [version for version in client.search_model_versions(f"name = '{name}'") if version.run_id == run_id]
    models = [model for model in client.search_logged_models([store.experiment_id]) if model.source_run_id == run_id]
    contents |= {"versions": len(versions), "models": [str(model.status) for model in models]}
    try:
        candidate = client.get_model_version_by_alias(name, "candidate")
        model_id = (candidate.source or "").removeprefix("models:/")
        contents["candidate"] = [candidate.run_id == run_id, [model.model_id for model in models] == [model_id]]
        contents["version's tags"] = dict(candidate.tags)
        model = mlflow.pyfunc.load_model(f"models:/{name}@candidate")
        contents["predictions"] = model.predict(subject.inputs()).tobytes()
        path = Path(mlflow.artifacts.download_artifacts(f"models:/{name}@candidate"))
        contents["weights"] = [array.tobytes() for array in weights(keras, path / "extra_files" / "best.keras")]
    except mlflow.MlflowException as error:
        contents["candidate"] = str(error)
    # The artifacts.
    artifacts = Path(mlflow.artifacts.download_artifacts(run_id=run_id))
    contents["artifacts"] = sorted(str(path.relative_to(artifacts)) for path in artifacts.rglob("*") if path.is_file())
    for table, column in (("history.csv", "epoch_seconds"), ("early_stopping.csv", "time")):
        if (artifacts / table).exists():
            rows = list(csv.DictReader((artifacts / table).open()))
            contents[table] = [{key: value for key, value in row.items() if key != column} for row in rows]
    if (artifacts / "checkpoint" / "best.keras").exists():
        contents["checkpoint"] = [array.tobytes() for array in weights(keras, artifacts / "checkpoint" / "best.keras")]
    return contents


def weights(keras: Any, path: Path) -> list[Any]:
    network = keras.saving.load_model(path)
    # Without the dropouts' random states, which a file lacks.
    return [variable.numpy() for variable in [*network.weights, *network.optimizer.variables]]


def count_runs(store: Store) -> int:
    import mlflow

    store.choose()
    return len(mlflow.search_runs([store.experiment_id], output_format="list"))


# --- the process that kills -------------------------------------------------------------------------------------------


def compare(actual: dict[str, Any], expected: dict[str, Any]) -> Outcome:
    """Compare a training's fingerprint with the uninterrupted training's."""
    outcome = Outcome()
    for name, steps in expected["steps"].items():
        counts = actual["steps"].get(name, Counter())
        outcome.lost += [f"{name} at {step}" for step in steps if not counts[step]]
        outcome.doubled += [f"{name} at {step}" for step in counts if counts[step] > 1]
        outcome.other += [f"{name} at {step} is too much" for step in counts if step not in steps]
    outcome.bits += [f"{key}: {actual['values'].get(key)}" for key, value in expected["values"].items() if
                     key in actual["values"] and actual["values"][key] != value]  # fmt: skip
    for key in ("predictions", "weights", "checkpoint", "history.csv", "early_stopping.csv"):
        if actual.get(key) != expected[key]:
            outcome.bits.append(key)
    for key in ("versions", "models", "candidate", "version's tags"):
        if actual.get(key) != expected[key]:
            outcome.versions.append(f"{key}: {actual.get(key)}")
    rest = ("in order", "status", "stop_reason", "parameters", "tags", "datasets", "folder left", "artifacts")
    outcome.other += [f"{key}: {actual[key]}, not {expected[key]}" for key in rest if actual[key] != expected[key]]
    return outcome


class Trainings:
    """Trainings of an experiment with one store, started, killed and resumed one after the other."""

    def __init__(self, subject: Subject, folder: Path, store: Store, chance: random.Random, name: str) -> None:
        self.subject, self.folder, self.store, self.chance, self.name = subject, folder, store, chance, name
        self.begun = 0

    def new(self, scenario: str) -> list[str]:
        """Make the arguments of another training, with its own model name."""
        self.begun += 1
        return [*self.subject.scenarios[scenario], *self.subject.flags, f"--model_name={self.name}-{self.begun}"]

    def attempt(self, arguments: list[str], kill: Kill | None, run_id: str, seconds: float, by_setting: bool) -> "Try":
        """Start or resume a training in a process, and perhaps kill it."""
        phase = mmap.mmap(-1, 1)
        reads, writes = os.pipe()
        log = self.folder / f"{self.name}-{self.begun}.log"
        words = arguments if not run_id else [] if by_setting else [f"--resume={run_id}"]
        begun = time.monotonic()
        child = os.fork()
        if child == 0:
            os.close(reads)
            setting = run_id if by_setting else ""
            train_in_child(self.subject, words, self.folder, self.store, kill, phase, writes, log, setting)
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
        """Run a training with its kills; returns the run id, the kills that landed and those that missed, a problem."""
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
    """The end of one process of a training."""

    run_id: str
    killed: bool
    code: int
    phase: str
    seconds: float
    log: Path


def plan(
    random_kills: int, each: int, most: int, chance: random.Random, names: dict[str, int], chosen: Collection[str]
) -> list[list[Kill]]:
    """Plan all kills, in trainings of one to ``most`` kills; the named ones at the ``chosen`` points."""
    kills = [Kill("random", chance.uniform(0, 1)) for _ in range(random_kills)]
    kills += [
        Kill(name, chance.randint(1, times)) for name, times in names.items() if name in chosen for _ in range(each)
    ]
    chance.shuffle(kills)
    return group(kills, most, chance, list(names))


def group(kills: list[Kill], most: int, chance: random.Random, order: list[str]) -> list[list[Kill]]:
    """Group kills into trainings; in each, the points are in the order in which a training passes them."""
    first = [kill for kill in kills if kill.at == order[0]]  # only a new training creates a run
    rest = [kill for kill in kills if kill.at != order[0]]
    trainings: list[list[Kill]] = []
    while first or rest:
        chosen = [first.pop()] if first else []
        chosen += [rest.pop() for _ in range(min(chance.randint(1, most), len(rest)))]
        trainings.append(sorted(chosen, key=lambda kill: 0.5 if kill.is_random else order.index(kill.at)))
    return trainings


def work(
    subject: Subject,
    folder: Path,
    store: Store,
    name: str,
    seed: str,
    trainings: list[list[Kill]],
    scenarios: list[str],
    most: int,
    order: list[str],
) -> dict[str, Any]:
    """Train, kill, resume and compare in child processes; returns the kills, the outcomes, the number of trainings."""
    chance = random.Random(seed)
    runner = Trainings(subject, folder, store, chance, name)
    expected, seconds = {}, {}
    for scenario in scenarios:
        tried = runner.attempt(runner.new(scenario), None, "", 0, False)
        if tried.code:
            told = tried.log.read_text() if tried.log.exists() else "it ended before its first line"
            raise RuntimeError(f"the reference failed with {tried.code}: {told}")
        expected[scenario] = in_child(fingerprint, subject, store, tried.run_id)
        seconds[scenario] = tried.seconds
    landed: list[Landed] = []
    problems: list[tuple[str, Outcome]] = []
    remaining, again = list(trainings), list[Kill]()
    tries: Counter[str] = Counter()
    while remaining:
        kills = remaining.pop(0)
        scenario = chance.choice(scenarios)
        run_id, hit, missed, problem = runner.train(scenario, kills, seconds[scenario])
        landed += hit
        outcome = compare(in_child(fingerprint, subject, store, run_id), expected[scenario])
        if problem:
            outcome.other.append(problem)
        problems.append((f"{run_id} ({scenario}): {', '.join(f'{k.at} ({k.when:.2f})' for k in kills)}", outcome))
        for kill in missed:  # it came too late: again, earlier
            tries[kill.at] += 1
            if tries[kill.at] > 200:
                raise RuntimeError(f"no training passes the point {kill.at!r}")
            again.append(Kill(kill.at, chance.uniform(0, 1) if kill.is_random else max(1, kill.when - 1)))
        if not remaining:
            remaining, again = group(again, most, chance, order), []
        print(f"{name}: {len(landed)} kills landed, {len(remaining)} trainings to go", flush=True)
    return {"landed": landed, "trainings": problems, "begun": runner.begun}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiment", choices=[*SUBJECTS, "both"], default="both")
    parser.add_argument("--random", type=int, default=60, help="kills at random moments, shared by the experiments")
    parser.add_argument("--each", type=int, default=10, help="kills at each named point, shared by the experiments")
    parser.add_argument(
        "--points", default="1/1", help="which named points: 2/3 is the second and every third after it"
    )
    parser.add_argument("--most", type=int, default=3, help="kills of one training at most")
    parser.add_argument("--seed", default=str(random.SystemRandom().randrange(10**6)))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scenarios", type=int, help="how many of an experiment's kinds of training; all by default")
    parser.add_argument("--scenario", help="the only kind of training, by its name in subjects.py")
    parser.add_argument("--team", action="store_true", help="on a team's server, in place of SQLite")
    parser.add_argument("--table", type=Path, help="a file for the table")
    parser.add_argument("--json", type=Path, help="a file for the counts")
    options = parser.parse_args()
    if options.scenario and options.scenario not in getattr(SUBJECTS.get(options.experiment), "scenarios", ()):
        parser.error(f"--scenario: {options.scenario!r} is no kind of training of --experiment={options.experiment}")
    start = time.monotonic()
    import_all()
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    subjects = list(SUBJECTS) if options.experiment == "both" else [options.experiment]
    results = {}
    with team_stack(folder / "team") if options.team else nullcontext() as stack:
        if stack:
            stack.add_user("ann")
        for index, name in enumerate(subjects):
            shares = [share(options.random, len(subjects), index), share(options.each, len(subjects), index)]
            results[name] = kill_all(name, folder / name, *shares, options, stack)
    table = tabulate(results, options.seed, time.monotonic() - start)
    print(table)
    if options.table:
        options.table.parent.mkdir(exist_ok=True)
        options.table.write_text(table + "\n")
    if options.json:
        options.json.write_text(json.dumps({name: result.summary for name, result in results.items()}))
    if any(result.bad for result in results.values()):
        print(f"the store and the logs are in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


def share(number: int, of: int, index: int) -> int:
    """The share number ``index`` of ``of`` shares of a number, as equal as whole numbers can be."""
    return number * (index + 1) // of - number * index // of


def choose_points(names: list[str], which: str) -> list[str]:
    """Choose the points that ``which`` names: K/N is point number K, and every N-th after it."""
    first, step = map(int, which.split("/"))
    return names[first - 1 :: step]


def kill_all(
    name: str, folder: Path, random_kills: int, each: int, options: argparse.Namespace, stack: TeamStack | None
) -> "Results":
    """Kill, resume and compare trainings of one experiment, with several workers on one store."""
    subject = SUBJECTS[name]
    folder.mkdir()
    in_child(subject.prepare, folder)
    store = make_shared(stack, name, folder) if stack else in_child(make_sqlite, folder)
    names = in_child(lambda: {name: most for name, (most, _) in points().items()})
    chosen = choose_points(list(names), options.points)
    # The experiment's name gives it other moments.
    trainings = plan(random_kills, each, options.most, random.Random(f"{options.seed}-{name}"), names, chosen)
    print(f"{name}, seed {options.seed}: {sum(map(len, trainings))} kills in {len(trainings)} trainings", flush=True)
    scenarios = [one for one in subject.scenarios if options.scenario in (None, one)][: options.scenarios]
    workers = [
        begin(
            work,
            subject,
            folder,
            store,
            f"w{number}",
            f"{options.seed}-{name}-{number}",
            trainings[number :: options.workers],
            scenarios,
            options.most,
            list(names),
        )
        for number in range(options.workers)
    ]
    parts = [result(*worker) for worker in workers]
    return Results(
        [kill for part in parts for kill in part["landed"]],
        [item for part in parts for item in part["trainings"]],
        sum(part["begun"] for part in parts),
        in_child(count_runs, store),
    )


def make_sqlite(folder: Path) -> Store:
    """Make an empty store in a folder."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    uri = f"sqlite:///{folder}/mlflow.db"
    SqlAlchemyStore(uri, f"{folder}/artifacts")
    return Store({"MLFLOW_TRACKING_URI": uri})


def make_shared(stack: TeamStack, name: str, folder: Path) -> Store:
    """Make an MLflow experiment of the user ann on a team's server; run folders are below ``folder``."""
    made = stack.call("POST", "2.0/mlflow/experiments/create", {"name": name}, "ann")
    own = {"MLFLOW_EXPERIMENT_NAME": name, "XDG_STATE_HOME": f"{folder}/state"}
    return Store(stack.environment("ann") | own, str(made["experiment_id"]))


@dataclass
class Results:
    """The results of an experiment: the kills, each training's outcome, the numbers of trainings and runs."""

    landed: list[Landed]
    outcomes: list[tuple[str, Outcome]]
    begun: int
    runs: int

    @property
    def counts(self) -> dict[str, int]:
        """The number of differences by kind."""
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
        """The number of random kills in each phase."""
        return Counter(kill.phase for kill in self.landed if kill.at == "random")

    @property
    def summary(self) -> dict[str, Any]:
        return {"landed": dict(self.at), "counts": self.counts, "trainings": len(self.outcomes)}


def tabulate(results: dict[str, Results], seed: str, seconds: float) -> str:
    """Format tables with a column an experiment, and list all differences."""
    kills = ", ".join(
        f"{name}: {len(result.landed)} kills in {len(result.outcomes)} trainings" for name, result in results.items()
    )
    passed = {name for result in results.values() for name in result.at}
    at = dict.fromkeys(sorted(sorted(passed), key=lambda name: name == "random"))
    lines = [
        f"{kills}; each training was resumed to its end and compared with an uninterrupted one; "
        f"{seconds / 60:.0f} minutes, seed {seed}.",
        *_rows("killed at", at, {name: result.at for name, result in results.items()}),
        *_rows("killed at random in the phase", PHASES, {name: result.phases for name, result in results.items()}),
        *_rows("difference", None, {name: result.counts for name, result in results.items()}),
    ]
    for name, own in results.items():
        if own.runs != own.begun:
            lines.append(f"{name}: {own.runs} runs for {own.begun} trainings")
        lines += [f"{name}, {training}\n    {problem}" for training, outcome in own.outcomes for problem in outcome.all]
    return "\n".join(lines)


def _rows(title: str, names: Iterable[str] | None, columns: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Format a table after an empty line, with the rows of ``names`` that have a count, or all if None."""
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
