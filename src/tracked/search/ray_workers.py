"""Workers of a search that are actors of Ray."""

from functools import partial
from pathlib import Path

from tracked.experiment import Experiment
from tracked.search.processes import LOSS, start_worker
from tracked.search.tasks import Outcome, Setting, Task
from tracked.workers import ray_workers
from tracked.workers.ray_cluster import AUTO, require_ray

__all__ = ["RayWorkers", "require_ray"]


class RayWorkers(ray_workers.RayWorkers[Task, Outcome]):
    """Workers as actors of Ray (:class:`tracked.search.tasks.Workers`); each writes what it prints to a log."""

    def __init__(self, experiment: Experiment, setting: Setting, count: int, address: str = AUTO) -> None:
        begin = partial(start_worker, experiment, setting, ends_process=False)
        cpus = max(1, setting.threads)
        folder, where = Path(setting.folder), setting.working_folder
        super().__init__(begin, folder, count, LOSS, _refuse, address, cpus, where, "resume the search with --resume")


def _refuse(task: Task, error: str) -> Outcome:
    return Outcome("failed", task.run_id, error)
