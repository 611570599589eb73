"""What workers of a search are given in a test: a setting and tasks of the second experiment."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow

from tracked.runs import trials
from tracked.search.tasks import Event, Outcome, Setting, Task, Workers
from tracked.training.run_folder import last_holder
from tracked.training.run_folder_lock import RunFolderLock

SEARCH = "5" * 32  # the id of the search's run, which its trials name as their parent


@contextmanager
def made_setting(folder: Path, uri: str, experiment: Any, threads: int = 1) -> Iterator[Setting]:
    """Make the setting of a search and hold its run folder, as the search does while its workers work."""
    data = experiment.load(None, "")
    # Not MLflow's active one, which later tests of this process would log to.
    experiment_id = mlflow.MlflowClient().create_experiment(experiment.name)
    environment = {"MLFLOW_TRACKING_URI": uri, "DIABETES_SNAPSHOTS": str(folder / "snapshots")}
    with RunFolderLock([r"workers|stop|worker-\d+\.log"]) as lock:
        held = lock.take(folder / "snapshots" / SEARCH)
        holder = last_holder(held)
        yield Setting(experiment_id, str(held), holder, data.digest, data.source, threads, environment, str(folder))


def make_task(number: int, run_id: str = "", **given: Any) -> Task:
    """Make the task of a trial; of two epochs unless the parameters say otherwise."""
    values = {"learning_rate": 0.01, **given}
    tags = trials.make_tags(SEARCH, number, values, ())
    return Task(f"trial {number}", run_id, f"trial {number}", {"epochs": 2, **values}, None, tags)


def carry_out(workers: Workers, tasks: Mapping[int, Task], seconds: float = 600) -> dict[int, Event]:
    """Hand tasks to idle workers, and wait for their events, by the tasks' numbers."""
    events = dict[int, Event]()
    left, numbers = dict(tasks), {task.name: number for number, task in tasks.items()}
    while len(events) < len(tasks):
        while workers.idle and left:
            workers.submit(left.pop(min(left)))
        found = workers.wait(seconds)
        assert found, f"nothing within {seconds} s"
        events.update({numbers[event.task.name]: event for event in found})
    return events


def read_losses(outcome: Outcome | None) -> list[float]:
    """Read a training's loss by epoch."""
    assert outcome is not None, "died"
    assert outcome.status == "ended", outcome.error
    points = mlflow.MlflowClient().get_metric_history(outcome.run_id, "val_loss")
    return [point.value for point in sorted(points, key=lambda point: point.step)]
