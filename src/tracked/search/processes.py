"""Workers of a search that are processes of this machine."""

import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tracked.console.lines import one_line
from tracked.console.signals import Signals
from tracked.experiment import Experiment
from tracked.search.tasks import Outcome, Setting, Task
from tracked.search.worker import Worker
from tracked.workers import processes

LOSS = "its training can be resumed"


class ProcessWorkers(processes.ProcessWorkers[Task, Outcome]):
    """Workers as processes (:class:`tracked.search.tasks.Workers`); each writes what it prints to a log."""

    def __init__(self, experiment: Experiment, setting: Setting, count: int) -> None:
        start = partial(start_worker, experiment, setting)
        super().__init__(start, Path(setting.folder), count, LOSS)


def start_worker(
    experiment: Experiment, setting: Setting, signals: Signals, ends_process: bool = True
) -> Callable[[Task], tuple[Outcome, bool]]:
    """Make the worker of this process; returns what carries out one task and says whether it takes another."""
    worker = Worker(experiment, setting, signals, ends_process)

    def run(task: Task) -> tuple[Outcome, bool]:
        outcome = carry_out(worker, task)
        # Registering held its signals back for good.
        return outcome, not (outcome.status == "interrupted" or task.register)

    return run


def carry_out(worker: Worker, task: Task) -> Outcome:
    """Carry out a task; a bug of the experiment ends one trial, not the search."""
    try:
        return worker.run(task)
    except Exception as error:
        traceback.print_exc()
        return Outcome("failed", task.run_id, f"{type(error).__name__}: {one_line(error)}")
