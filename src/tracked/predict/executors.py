"""Where rows are answered: in processes of this machine, or in actors of Ray."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from tracked.experiment import Experiment
from tracked.predict.tasks import Failed, Outcome, Setting, Task, Workers
from tracked.predict.worker import start_worker
from tracked.workers.processes import ProcessWorkers

LOSS = "its part is made again"
MakeWorkers: TypeAlias = Callable[[Experiment, Setting], Workers]


def choose_workers(parameters: Any) -> MakeWorkers:
    """Choose where rows are answered.

    Raises:
        UserError: if Ray is not installed, or does not answer.
    """
    if parameters.executor == "processes":
        return lambda owner, setting: ProcessWorkers(
            partial(start_worker, owner, setting), Path(setting.folder), parameters.workers, LOSS
        )
    from tracked.workers import ray_workers

    ray_workers.require_ray(parameters.address)

    def make(owner: Experiment, setting: Setting) -> Workers:
        begin = partial(start_worker, owner, setting, ends_process=False)
        return ray_workers.RayWorkers(
            begin, Path(setting.folder), parameters.workers, LOSS, _refuse, parameters.address,
            working_folder=setting.working_folder,
        )  # fmt: skip

    return make


def _refuse(task: Task, error: str) -> Outcome:
    return Failed(f"{task.name}: {error}")
