"""Searches whose trainings are made up: runs with histories that follow from the parameters, written at once."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import mlflow
import pytest
from mlflow.entities import Metric

from diabetes import Diabetes
from helpers.made_workers import MadeWorkers
from tracked.analysis.early_stopping import NOT_A_NUMBER, PRUNED
from tracked.analysis.pruning import decide
from tracked.analysis.trials import Direction
from tracked.console.signals import Signals
from tracked.experiment import Experiment
from tracked.runs.schema import ERROR, PRUNED_BECAUSE, REGISTERED, STOP_REASON, VERB
from tracked.search import tracked_search
from tracked.search.tasks import Event, Outcome, Setting, Task
from tracked.verbs import search

Curve = Callable[[dict[str, Any]], Sequence[float]]


def make_curve(given: dict[str, Any]) -> list[float]:
    """A curve that falls to its best at epoch 3; the nearer the rate is to 0.03, the lower. Seeds differ a little."""
    best = 40 + abs(math.log10(given.get("learning_rate", 0.01) / 0.03)) + (given.get("seed", 7) % 10) / 100
    return [best + 2, best + 1, best, best + 0.5]


class MadeUpWorkers(MadeWorkers[Task]):
    """Workers that write what a training would have logged.

    Attributes:
        tasks: all that were submitted.
        before: called with each task before it is carried out; what it returns is its outcome: None dies, an Outcome
            is returned; "go on" carries it out.
    """

    def __init__(self, setting: Setting, count: int = 1, curve: Curve = make_curve) -> None:
        super().__init__(count)
        self.setting, self.curve = setting, curve
        self.tasks: list[Task] = []
        self.before: Callable[[Task], Any] = lambda task: "go on"

    def submit(self, task: Task) -> None:
        super().submit(task)
        self.tasks.append(task)

    def wait(self, seconds: float) -> list[Event]:
        task = self.running.pop(0)
        outcome = self.before(task)
        if outcome == "go on":
            outcome = self.carry_out(task)
        return [Event(task, outcome, "" if outcome else "was killed by SIGKILL")]

    def begin(self, task: Task) -> str:
        """Create the run of a task, as a worker does first."""
        client = mlflow.MlflowClient()
        tags = {VERB: "train", "experiment": Diabetes.name, **task.tags}
        run_id = client.create_run(self.setting.experiment_id, tags=tags, run_name=task.run_name).info.run_id
        for name, value in {"seed": 7, **task.given}.items():
            client.log_param(run_id, name, value)
        return run_id

    def carry_out(self, task: Task) -> Outcome:
        client = mlflow.MlflowClient()
        run_id = task.run_id or self.begin(task)
        if task.register:
            client.set_tag(run_id, REGISTERED, "1")
            client.set_terminated(run_id, "FINISHED")
            return Outcome("ended", run_id, version="diabetes version 1")
        values, reason, told = list(self.curve(dict(task.given))), "patience", ""
        monitor = task.given.get("monitor", "val_loss")
        direction: Direction = "max" if monitor == "val_r2" else "min"
        for epoch in range(1, len(values) + 1):
            if task.prune != "none" and (told := decide(task.prune, values[:epoch], task.others, direction)):
                values, reason = values[:epoch], PRUNED
                client.set_tag(run_id, PRUNED_BECAUSE, told)
                break
        if not all(map(math.isfinite, values)):
            reason = NOT_A_NUMBER
        now = round(time.time() * 1000)
        points = [Metric(monitor, value, now, epoch) for epoch, value in enumerate(values, 1)]
        points += [Metric("epoch_seconds", 1.5, now, epoch) for epoch in range(1, len(values) + 1)]
        client.log_batch(run_id, metrics=points)
        client.set_tag(run_id, STOP_REASON, reason)
        client.set_terminated(run_id, "FINISHED")
        return Outcome("ended", run_id)

    def fail(self, task: Task, error: str) -> Outcome:
        """End a task with an error, as a training does."""
        run_id = task.run_id or self.begin(task)
        client = mlflow.MlflowClient()
        client.set_tag(run_id, STOP_REASON, "error")
        client.set_tag(run_id, ERROR, error)
        client.set_terminated(run_id, "FAILED")
        return Outcome("failed", run_id, error)


def run_search(
    monkeypatch: pytest.MonkeyPatch,
    *argv: str,
    prepare: Callable[[MadeUpWorkers], None] = lambda workers: None,
    curve: Curve = make_curve,
    experiment: Experiment | None = None,
) -> MadeUpWorkers:
    """Run the verb with made-up workers; returns them."""
    made: list[MadeUpWorkers] = []

    def choose(parameters: Any) -> Callable[[Experiment, Setting], MadeUpWorkers]:
        def make(_: Experiment, setting: Setting) -> MadeUpWorkers:
            made.append(MadeUpWorkers(setting, parameters.workers, curve))
            prepare(made[-1])
            return made[-1]

        return make

    with monkeypatch.context() as patch:
        patch.setattr(tracked_search, "_choose_workers", choose)
        search.main(experiment or Diabetes(), argv, Signals())
    return made[-1]
