"""Kills trainings, resumes them, and compares each with the training that nobody killed.

make faults
python tests/faults.py --random 100 --each 10 --seed 1

Every training is a process of its own that runs src/train.py's main on tiny reviews against one SQLite store. SIGKILL
comes at a random moment between the run's creation and the process's end, or at a named point: then the process kills
itself there. A killed one is resumed, perhaps killed again, and at last left alone. What the store then holds is
compared with the reference: metrics to the last bit, tables, the registered model's weights and predictions.

The processes are forked from one that has imported everything and used nothing of it, so that 200 kills take minutes
instead of hours. It therefore talks to MLflow in forked processes only.
"""

import argparse
import csv
import json
import mmap
import os
import pickle
import random
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

TESTS = Path(__file__).resolve().parent
sys.path[:0] = [str(TESTS.parent / "src"), str(TESTS)]

SMALL = [
    "--maxlen=20", "--max_features=50", "--filters=8", "--hidden_dims=8", "--learning_rate=0.01",
]  # fmt: skip
NARROW, WIDE = "--embedding_dims=8", "--embedding_dims=22"  # too narrow and wide enough for fused layers
SCENARIOS = {
    "stopped by the rule": [*SMALL, WIDE, "--batch_size=8", "--patience=3", "--epochs=60"],
    "two calls an epoch, all epochs": [*SMALL, WIDE, "--batch_size=4", "--seed=8", "--epochs=6"],
    "plain layers, accuracy": [
        *SMALL, NARROW, "--batch_size=8", "--monitor=val_accuracy", "--mode=max", "--patience=4", "--epochs=40",
    ],
    "plain layers, all epochs": [*SMALL, WIDE, "--batch_size=16", "--fused=false", "--seed=9", "--epochs=5"],
}  # fmt: skip
PHASES = (
    "begins", "reads data", "makes ids", "builds", "an epoch", "checkpoint", "journal", "snapshot", "report", "settles",
    "stores the model", "loads it back", "registers", "clears", "ends",
)  # fmt: skip


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


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)  # nothing of this process may happen after it, in no thread


# --- within a forked process ------------------------------------------------------------------------------------------


def import_all() -> None:
    """Import what a training imports, and use nothing: a fork must not copy threads or connections."""
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "MLFLOW_DISABLE_TELEMETRY": "true", "MPLBACKEND": "agg"}
    import matplotlib.pyplot
    import mlflow.tensorflow
    import pyarrow.parquet
    import sklearn.metrics

    import train
    from imdb_conv1d import networks, sources
    from tracked.models import publisher
    from tracked.reports import training_report
    from tracked.resume import resumption
    from tracked.runs import context
    from tracked.training import trainer

    del matplotlib, mlflow, pyarrow, sklearn, train, networks, publisher, training_report, resumption, context
    del sources, trainer


def begin(function: Callable[..., Any], *arguments: Any) -> tuple[int, int]:
    """Call a function in a forked process; what is to be given to :func:`result`."""
    reads, writes = os.pipe()
    child = os.fork()
    if child:
        os.close(writes)
        return child, reads
    os.close(reads)
    try:
        content = pickle.dumps(function(*arguments))
        with os.fdopen(writes, "wb") as file:
            file.write(content)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def result(child: int, reads: int) -> Any:
    """What the function returned."""
    with os.fdopen(reads, "rb") as file:
        content = file.read()
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError("a forked process failed")
    return pickle.loads(content)


def in_child(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns, called in a forked process."""
    return result(*begin(function, *arguments))


def around(owner: Any, name: str, before: Callable[..., Any] | None, after: Callable[..., Any] | None = None) -> None:
    """Call something before and after a function; each gets the function's arguments."""
    function = getattr(owner, name)

    def wrapped(*arguments: Any, **named: Any) -> Any:
        if before:
            before(*arguments, **named)
        result = function(*arguments, **named)
        if after:
            after(*arguments, **named)
        return result

    setattr(owner, name, wrapped)


def point_out_phases(phase: mmap.mmap) -> None:
    """Let the functions of a training note in which of them it is."""
    from imdb_conv1d import dataset, networks, tokenizer
    from tracked.models import publisher
    from tracked.reports import training_report
    from tracked.runs import context
    from tracked.runs.writer import Run
    from tracked.training import snapshots
    from tracked.training.callbacks import BestCheckpoint
    from tracked.training.claim import Claim
    from tracked.training.journal import Journal
    from tracked.training.trainer import Training

    def within(owner: Any, name: str, number: int) -> None:
        function = getattr(owner, name)

        def wrapped(*arguments: Any, **named: Any) -> Any:
            former, phase[0] = phase[0], number
            result = function(*arguments, **named)
            phase[0] = former
            return result

        setattr(owner, name, wrapped)

    owners = (
        (dataset, "load"), (tokenizer, "prepare"), (networks, "build"), (Training, "fit"),
        (BestCheckpoint, "on_epoch_end"),
        (Journal, "append"), (snapshots.Snapshots, "write"), (training_report, "queue"), (Run, "settle"),
        (publisher, "store"),
        (publisher, "require_same_loss"), (publisher, "register"), (Claim, "remove"), (context, "_end"),
    )  # fmt: skip
    for number, (owner, name) in enumerate(owners, start=1):
        within(owner, name, number)


class Countdown:
    """Dies at the n-th time that it is asked."""

    def __init__(self, times: int) -> None:
        self.left = times

    def is_over(self) -> bool:
        self.left -= 1
        return self.left <= 0

    def __call__(self, *_: Any, **__: Any) -> None:
        if self.is_over():
            die()


def _is_epoch(*_: Any, metrics: Any = (), **__: Any) -> bool:
    return any(point.key == "val_loss" for point in metrics)


def _is_end(*_: Any, tags: Any = (), **__: Any) -> bool:
    return any(tag.key == "registered_version" for tag in tags)


def _when(condition: Callable[..., bool], then: Callable[..., None]) -> Callable[..., None]:
    return lambda *arguments, **named: then(*arguments, **named) if condition(*arguments, **named) else None


def _named(prefix: str) -> Callable[..., bool]:
    return lambda path, *_, **__: path.name.startswith(prefix)


def points() -> dict[str, tuple[int, Callable[[Countdown], None]]]:
    """By name: how many times a training passes the point at most, and what lets the process die there."""
    import mlflow

    from imdb_conv1d import networks
    from tracked.reports import training_report
    from tracked.training import journal
    from tracked.training.claim import Claim
    from tracked.training.trainer import Training

    client, write_bytes = mlflow.MlflowClient, Path.write_bytes

    def half_a_snapshot(count: Countdown) -> None:
        def write(path: Path, content: bytes) -> int:
            if path.name.startswith("partial-epoch") and count.is_over():
                write_bytes(path, content[: len(content) // 2])
                die()
            return write_bytes(path, content)

        Path.write_bytes = write  # type: ignore[method-assign]

    def half_a_checkpoint(count: Countdown) -> None:
        def broken(network: Any, path: Path) -> None:
            if count.is_over():
                os.truncate(path, path.stat().st_size // 2)
                die()

        around(networks.Network, "save", None, broken)

    def half_a_line(count: Countdown) -> None:
        pwrite = os.pwrite

        def write(descriptor: int, content: bytes, place: int) -> int:
            if content.startswith(b'{"epoch"') and count.is_over():
                pwrite(descriptor, content[: len(content) // 2], place)
                die()
            return pwrite(descriptor, content, place)

        journal.os.pwrite = write  # type: ignore[attr-defined]

    def renamed(prefix: str) -> Callable[[Countdown], None]:
        condition = _named(prefix)
        return lambda count: around(Path, "replace", None, _when(condition, count))

    def about_to_be_renamed(prefix: str) -> Callable[[Countdown], None]:
        condition = _named(prefix)
        return lambda count: around(Path, "replace", _when(condition, count))

    def half_cleared(count: Countdown) -> None:
        def half(claim: Claim) -> None:
            if count.is_over():
                for path in sorted(claim.folder.iterdir())[::2]:
                    path.unlink()
                die()

        around(Claim, "remove", half)

    def before(owner: Any, name: str) -> Callable[[Countdown], None]:
        return lambda count: around(owner, name, count)

    def after(owner: Any, name: str) -> Callable[[Countdown], None]:
        return lambda count: around(owner, name, None, count)

    return {
        "the run is created": (1, lambda count: around(client, "create_run", None, count)),
        "a journal's line is half written": (5, half_a_line),
        "a checkpoint is half written": (3, half_a_checkpoint),
        "a checkpoint is about to be renamed": (3, about_to_be_renamed("partial-best")),
        "a checkpoint is renamed": (3, renamed("partial-best")),
        "a snapshot is half written": (5, half_a_snapshot),
        "a snapshot is about to be renamed": (5, about_to_be_renamed("partial-epoch")),
        "a snapshot is renamed": (5, renamed("partial-epoch")),
        "an epoch is about to be logged": (5, lambda count: around(client, "log_batch", _when(_is_epoch, count))),
        "an epoch is logged": (5, lambda count: around(client, "log_batch", None, _when(_is_epoch, count))),
        "a training is restored": (1, after(Training, "restore")),
        "an artifact is about to be uploaded": (6, before(client, "log_artifact")),
        "the report is queued": (1, after(training_report, "queue")),
        "a model is about to be uploaded": (1, before(client, "log_model_artifacts")),
        "a model is uploaded": (1, after(client, "log_model_artifacts")),
        "a model is finalized": (1, after(client, "finalize_logged_model")),
        "a version is about to be registered": (1, before(client, "create_model_version")),
        "a version is registered": (1, after(client, "create_model_version")),
        "the alias is about to move": (1, before(client, "set_registered_model_alias")),
        "the alias has moved": (1, after(client, "set_registered_model_alias")),
        "its version is noted at the run": (1, lambda count: around(client, "log_batch", None, _when(_is_end, count))),
        "the folder is half removed": (1, half_cleared),
        "the run is about to end": (1, before(client, "set_terminated")),
        "the run has ended": (1, after(client, "set_terminated")),
    }


def train_in_child(
    arguments: list[str], folder: Path, kill: Kill | None, phase: mmap.mmap, told: int, log: Path, by_setting: str
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
    point_out_phases(phase)
    if kill and not kill.is_random:
        points()[kill.at][1](Countdown(int(kill.when)))
    become_training(arguments, folder, log)


def become_training(arguments: list[str], folder: Path, log: Path) -> NoReturn:
    """Be src/train.py with these arguments, in a folder and a process group of its own, and print into a file."""
    import train
    from tracked.console import entry

    os.setpgid(0, 0)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.chdir(folder)
    sys.argv = ["train.py", *arguments]
    try:
        entry.run(train.main)
    except SystemExit as end:
        sys.stdout.flush()
        os._exit(int(end.code or 0))
    except BaseException:
        traceback.print_exc()
    os._exit(99)


def fingerprint(folder: Path, run_id: str) -> dict[str, Any]:
    """All that a training leaves, but what another training of the same kind does not repeat."""
    import keras
    import mlflow
    import numpy as np

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
        texts = np.array(["a warm and funny film", "a boring story about two friends", ""], dtype=object)
        found["predictions"] = model.predict(texts).tobytes()
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
    """Trainings in one folder with one store, begun, killed and resumed one after the other."""

    def __init__(self, folder: Path, chance: random.Random, name: str) -> None:
        self.folder, self.chance, self.name = folder, chance, name
        self.begun = 0

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
            train_in_child(words, self.folder, kill, phase, writes, log, run_id if by_setting else "")
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
        self.begun += 1
        arguments = [*SCENARIOS[scenario], "--data=reviews.csv", f"--model_name={self.name}-{self.begun}"]
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
    """All kills, in trainings of one to ``most``."""
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
    folder: Path, name: str, seed: str, trainings: list[list[Kill]], scenarios: list[str], most: int, order: list[str]
) -> dict[str, Any]:
    """Train, kill, resume and compare, in this process's children; all that came out."""
    chance = random.Random(seed)
    ours = Trainings(folder, chance, name)
    wanted, seconds = {}, {}
    for scenario in scenarios:
        ours.begun += 1
        arguments = [*SCENARIOS[scenario], "--data=reviews.csv", f"--model_name={name}-{ours.begun}"]
        tried = ours.attempt(arguments, None, "", 0, False)
        if tried.code:
            raise RuntimeError(f"the reference failed: {tried.log.read_text()}")
        wanted[scenario] = in_child(fingerprint, folder, tried.run_id)
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
        outcome = compare(in_child(fingerprint, folder, run_id), wanted[scenario])
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
    parser.add_argument("--random", type=int, default=60, help="kills at random moments")
    parser.add_argument("--each", type=int, default=10, help="kills at each named point")
    parser.add_argument("--most", type=int, default=3, help="kills of one training at most")
    parser.add_argument("--seed", default=str(random.SystemRandom().randrange(10**6)))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scenarios", type=int, default=len(SCENARIOS))
    parser.add_argument("--table", type=Path, help="a file for the table")
    parser.add_argument("--json", type=Path, help="a file for what came out")
    given = parser.parse_args()
    begun = time.monotonic()
    import_all()
    folder = Path(tempfile.mkdtemp(prefix="imdb-conv1d-faults-"))
    in_child(prepare, folder)
    names = in_child(lambda: {name: most for name, (most, _) in points().items()})
    chance = random.Random(given.seed)
    trainings = plan(given.random, given.each, given.most, chance, names)
    print(f"seed {given.seed}: {sum(map(len, trainings))} kills in {len(trainings)} trainings", flush=True)
    scenarios = list(SCENARIOS)[: given.scenarios]
    workers = [
        begin(
            work,
            folder,
            f"w{number}",
            f"{given.seed}-{number}",
            trainings[number :: given.workers],
            scenarios,
            given.most,
            list(names),
        )
        for number in range(given.workers)
    ]
    results = [result(*worker) for worker in workers]
    report = tabulate(results, given.seed, in_child(all_runs, folder), time.monotonic() - begun)
    print(report.text)
    if given.table:
        given.table.parent.mkdir(exist_ok=True)
        given.table.write_text(report.text + "\n")
    if given.json:
        given.json.write_text(json.dumps(report.facts))
    if report.bad:
        print(f"what is left is in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


def prepare(folder: Path) -> None:
    """Tiny reviews with a quarter of the labels wrong, so that trainings have a best epoch and stop; an empty store."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    from conftest import make_noisy_reviews

    make_noisy_reviews(200).to_csv(folder / "reviews.csv", index=False)
    SqlAlchemyStore(f"sqlite:///{folder}/mlflow.db", f"{folder}/artifacts")


@dataclass
class Report:
    """The table, and the same as numbers."""

    tokenizer: str
    facts: dict[str, Any]
    bad: bool


def tabulate(results: list[dict[str, Any]], seed: str, runs: int, seconds: float) -> Report:
    landed = [kill for result in results for kill in result["landed"]]
    outcomes = [item for result in results for item in result["trainings"]]
    begun = sum(result["begun"] for result in results)
    counts = {
        "epochs lost": sum(len(outcome.lost) for _, outcome in outcomes),
        "epochs logged twice": sum(len(outcome.doubled) for _, outcome in outcomes),
        "differing bits": sum(len(outcome.bits) for _, outcome in outcomes),
        "versions missing or doubled": sum(len(outcome.versions) for _, outcome in outcomes),
        "anything else": sum(len(outcome.other) for _, outcome in outcomes) + (runs != begun),
    }
    at = Counter(kill.at for kill in landed)
    phases = Counter(kill.phase for kill in landed if kill.at == "random")
    lines = [
        f"{len(landed)} kills in {len(outcomes)} trainings, each resumed to its end and compared with one that was not "
        f"killed; {seconds / 60:.0f} minutes, seed {seed}.", "",
        "| killed at | kills |", "| --- | ---: |",
        *(f"| {name} | {count} |" for name, count in sorted(at.items(), key=lambda item: item[0] == "random")), "",
        "| a random moment fell where it | kills |", "| --- | ---: |",
        *(f"| {name} | {phases[name]} |" for name in PHASES if phases[name]), "",
        "| found | number |", "| --- | ---: |",
        *(f"| {name} | {count} |" for name, count in counts.items()),
    ]  # fmt: skip
    if runs != begun:
        lines.append(f"there are {runs} runs, for {begun} trainings")
    lines += [f"{name}\n    {problem}" for name, outcome in outcomes for problem in outcome.all]
    facts = {"landed": dict(at), "counts": counts, "trainings": len(outcomes)}
    return Report("\n".join(lines), facts, any(counts.values()))


if __name__ == "__main__":
    sys.exit(main())
