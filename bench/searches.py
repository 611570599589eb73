"""Measure a search's own share of a trial: propose, hand out, read what came of it, tell; training and tracking apart.

python bench/searches.py

The history is made up: runs as the trainings of the second experiment leave them, with curves that follow from the
parameters, written by MLflow's client. Then ten more trials are searched in this process, by workers that write such a
run at once, and the time between two of these runs is the share. It includes the search's own metric, which is
otherwise sent while a trial trains. Also measured is what a resume reads first: all trials.
"""

import math
import os
import pickle
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import epochs

sys.path[:0] = [str(epochs.SRC), str(epochs.HERE.parent / "tests"), str(epochs.HERE.parent / "examples" / "diabetes")]

from diabetes import Diabetes
from helpers.made_workers import MadeWorkers
from tracked.console.search_parameters import SearchParameters, make_search_parameters
from tracked.console.signals import Signals
from tracked.search import coordinator
from tracked.search.tasks import Event, Outcome, Setting, Task

SIZES = (10, 100, 1000)  # trials that are known before
TRIALS = 10  # that are measured after them
EXPERIMENT = Diabetes()
Seconds = dict[str, list[float]]


def draw_curve(values: Mapping[str, Any], number: int) -> list[float]:
    """Draw the losses of 8 to 30 epochs: best at a rate of 0.01 and many units, with noise."""
    chance = random.Random(number)
    rate, units = math.log10(float(values["learning_rate"])), int(values["hidden_units"])
    lowest = 44 + 3 * (rate + 2) ** 2 + 20 / units
    return [lowest + 100 * math.exp(-epoch / 3) + chance.gauss(0, 0.3) for epoch in range(1, chance.randint(8, 30) + 1)]


def record(store: str, experiment_id: str, task: Task) -> str:
    """Write the run of a training that has ended, with its parameters, tags and six metrics; returns its id."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunTag

    client, losses = MlflowClient(store), draw_curve(task.given, int(task.tags["trial"]))
    run_id = client.create_run(experiment_id, tags=dict(task.tags), run_name=task.run_name).info.run_id
    now, best = round(time.time() * 1000), math.inf
    points = []
    for epoch, loss in enumerate(losses, 1):
        best = min(best, loss)
        values = {"loss": loss - 1, "val_loss": loss, "learning_rate": 0.01, "epoch_seconds": 0.1}
        values |= {"early_stopping/best": best, "early_stopping/wait": 0}
        points += [Metric(name, value, now + 100 * epoch, epoch) for name, value in values.items()]
    params = EXPERIMENT.Parameters.model_validate(dict(task.given)).as_logged()
    tags = {"verb": "train", "experiment": EXPERIMENT.name, "stop_reason": "patience"}
    client.log_batch(run_id, points, [Param(*one) for one in params.items()], [RunTag(*one) for one in tags.items()])
    client.set_terminated(run_id, "FINISHED")
    return str(run_id)


class MadeUpWorkers(MadeWorkers[Task]):
    """A worker that writes a made-up run at once, and takes the time between two runs."""

    def __init__(self, store: str, experiment_id: str, flush: Any) -> None:
        super().__init__()
        self.store, self.experiment_id, self.flush = store, experiment_id, flush
        self.seconds: Seconds = {"whole": [], "CPU": []}
        self._outcome: Outcome | None = None
        self._begin: tuple[float, float] | None = None

    def submit(self, task: Task) -> None:
        """Write the task's run."""
        pickle.loads(pickle.dumps(task))  # as it would be sent
        self.flush()
        if self._begin:
            self.seconds["whole"].append(time.perf_counter() - self._begin[0])
            self.seconds["CPU"].append(time.process_time() - self._begin[1])
        super().submit(task)
        self._outcome = Outcome("ended", record(self.store, self.experiment_id, task))
        self._begin = time.perf_counter(), time.process_time()

    def wait(self, seconds: float) -> list[Event]:
        """Return the task's event."""
        return [Event(self.running.pop(), self._outcome)]


def make_search(folder: Path, run: Any, experiment_id: str, trials: int, workers: Any) -> coordinator.Search:
    """Make a search that knows what the store has of it, and count the seconds of that under ``resume``."""
    from tracked.runs.trials import find_runs

    cls: type[SearchParameters] = make_search_parameters(EXPERIMENT)
    parameters = cls.model_validate({"trials": trials})
    setting = Setting(experiment_id, str(folder / "runs" / run.id), None, "", "", threads=0)
    begin = time.perf_counter()
    first = find_runs(run.id, experiment_id, parameters.monitor, parameters.direction)
    workers.seconds["resume"] = [time.perf_counter() - begin]
    return coordinator.Search(EXPERIMENT, parameters, run, setting, workers, Signals(), first)


def fill(store: str, experiment_id: str, search_id: str, trials: int) -> None:
    """Write the runs of a search's first trials, at random points."""
    from tracked.console.space import parse_space
    from tracked.runs.trials import make_tags
    from tracked.search.proposals import propose

    space = parse_space(EXPERIMENT.space, EXPERIMENT.Parameters)
    for number in range(trials):
        values = propose(space, "random", 0, number, [], "min")
        tags = make_tags(search_id, number, values, range(number))
        name = f"trial {number} {' '.join(f'{key}={value}' for key, value in values.items())}"
        record(store, experiment_id, Task(name, "", name, values, None, tags))


def measure(folder: Path, store: str, experiment_id: str, search_id: str, trials: int) -> Seconds:
    """Search further trials, and return the seconds of each one's share: whole, CPU, propose, read; and of a resume."""
    import mlflow

    from tracked.runs.writer import Run

    mlflow.set_tracking_uri(store)
    run = Run(search_id, EXPERIMENT.name, folder / "runs" / search_id)
    workers = MadeUpWorkers(store, experiment_id, run.flush)
    search = make_search(folder, run, experiment_id, trials + TRIALS + 1, workers)
    assert len(search.results) == trials

    def timed(part: str, call: Any) -> Any:
        def called(*arguments: Any) -> Any:
            begin = time.perf_counter()
            try:
                return call(*arguments)
            finally:
                workers.seconds.setdefault(part, []).append(time.perf_counter() - begin)

        return called

    propose = coordinator.propose
    vars(coordinator)["propose"] = timed("propose", propose)
    vars(search.dispatcher)["_read"] = timed("read", search.dispatcher._read)
    try:
        search.run_trials()
    finally:
        vars(coordinator)["propose"] = propose
    run.close(keep=True)
    assert len(search.results) == trials + TRIALS + 1
    for part in ("propose", "read"):
        del workers.seconds[part][0 if part == "propose" else -1]  # outside the time between two runs
    return workers.seconds


def measure_both(trials: int) -> dict[str, Seconds]:
    """Measure a search of so many trials on SQLite, and over HTTP on a server with the same store."""
    import mlflow

    from helpers.servers import mlflow_server

    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder, measured = Path(name), dict[str, Seconds]()
        store, own = f"sqlite:///{folder}/mlflow.db", f"sqlite:///{folder}/own.db"
        client = mlflow.MlflowClient(store)
        experiment_id = client.create_experiment("search", f"{folder}/artifacts")
        search_id = client.create_run(experiment_id, run_name="search").info.run_id
        begin = time.perf_counter()
        fill(store, experiment_id, search_id, trials)
        print(f"{trials:,} trials recorded in {time.perf_counter() - begin:.0f} s", flush=True)
        shutil.copy(folder / "mlflow.db", folder / "own.db")
        measured["SQLite"] = measure(folder, own, experiment_id, search_id, trials)
        with mlflow_server(folder) as server:
            measured["HTTP"] = measure(folder, server, experiment_id, search_id, trials)
    return measured


def make_row(name: str, trials: int, seconds: Mapping[str, Sequence[float]]) -> list[object]:
    """Make a row of the table, in milliseconds; the resume in seconds."""
    of = {"whole": (median, min), "CPU": (median,), "propose": (median,), "read": (median,)}
    found = [f"{1000 * function(seconds[part]):.0f}" for part, functions in of.items() for function in functions]
    return [f"{name}, after {trials:,} trials", *found, f"{min(seconds['resume']):.2f}"]


def main() -> None:
    """Measure, print and write bench/out/searches.md."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    rows = [make_row(name, size, seconds) for size in SIZES for name, seconds in measure_both(size).items()]
    head = ["a trial's share", "median, ms", "minimum, ms", "CPU, ms", "of it propose, ms", "read, ms", "a resume, s"]
    note = f"{TRIALS} trials each; CPU, propose and read are medians. CPU is of this process, without the server's."
    epochs.write("searches.md", f"{epochs.table(head, rows)}\n\n{note}")


if __name__ == "__main__":
    main()
