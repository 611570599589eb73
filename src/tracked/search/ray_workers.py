"""Workers that are actors of Ray: on this machine, or on a cluster whose address is given.

Ray is imported in ``ray_cluster`` alone, and when a search asks for it: it is no package of ``requirements.txt``.
"""

import pickle
import re
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tracked.console.errors import RunFailed
from tracked.console.lines import warn
from tracked.experiment import Experiment
from tracked.search.processes import LOG
from tracked.search.ray_actor import Start
from tracked.search.ray_cluster import AUTO, connected, has_ended, require_ray
from tracked.search.tasks import GRACE, Event, Outcome, Setting, Task
from tracked.search.worker import STOP

__all__ = ["RayWorkers", "require_ray"]

CHECK_SECONDS = 5.0  # between two looks at the cluster while nothing comes from it
MAX_SILENT = 3  # such looks in a row that find no cluster, before it counts as ended


@dataclass
class _Slot:
    """A place for a worker: its actor, once made, its task and what its outcome will be taken from."""

    number: int
    actor: Any = None
    task: Task | None = None
    result: Any = None


class RayWorkers:
    """Workers as actors of Ray (:class:`tracked.search.tasks.Workers`); each writes what it prints to a log.

    A local cluster ends with the search, however that ends; on a cluster of its own, Ray ends the actors of a search
    that has died. In both, a worker itself sees that the search's run folder is not held any longer.

    Args:
        count: of workers.
        address: of a cluster; auto for one of this machine alone, which is started here.
    """

    def __init__(self, experiment: Experiment, setting: Setting, count: int, address: str = AUTO) -> None:
        self._experiment, self._setting, self._address = experiment, setting, address
        self._slots = [_Slot(number) for number in range(count)]
        self._connection = ExitStack()
        self._ray: Any = None
        self._next_check, self._silent = 0.0, 0

    def __enter__(self) -> Self:
        self._ray = self._connection.enter_context(connected(self._address, len(self._slots)))
        self._tell_places()
        return self

    def _tell_places(self) -> None:
        cpus = self._ray.cluster_resources().get("CPU", 0)
        if cpus < len(self._slots) * self._cpus:
            few = f"the cluster has {cpus:.0f} CPUs, and {len(self._slots)} workers take {self._cpus} each"
            warn(f"{few}: some wait for a place")

    @property
    def _cpus(self) -> int:
        """Of an actor: by them, Ray decides which machine has a place for it, and nothing else."""
        return 1 if self._address == AUTO else max(1, self._setting.threads)

    def __exit__(self, *_: object) -> None:
        busy = [slot.result for slot in self._slots if slot.task]
        try:
            if busy and self._silent < MAX_SILENT:
                with suppress(OSError):  # the folder's disk is gone; Ray ends the actors
                    (Path(self._setting.folder) / STOP).touch()
                _, left = self._ray.wait(busy, num_returns=len(busy), timeout=GRACE)
                if left:
                    warn(
                        f"{len(left)} workers did not end within {GRACE:.0f} s and are killed; "
                        "their trainings can be resumed"
                    )
        finally:
            for slot in self._slots:
                self._drop(slot)
            self._connection.close()

    @property
    def idle(self) -> int:
        """The number of workers without a task."""
        return sum(slot.task is None for slot in self._slots)

    def submit(self, task: Task) -> None:
        """Hand a task to an idle worker, whose actor is made if there is none."""
        slot = next(slot for slot in self._slots if slot.task is None)
        slot.task = task
        if slot.actor is None:
            log = str(Path(self._setting.folder) / LOG.format(number=slot.number))
            start = pickle.dumps(Start.here(self._experiment, self._setting, log))
            made = self._ray.remote(_define_actor()).options(num_cpus=self._cpus, max_restarts=0, max_task_retries=0)
            slot.actor = made.remote(sys.path, start)
        slot.result = slot.actor.run.remote(pickle.dumps(task))

    def wait(self, seconds: float) -> list[Event]:
        """Wait until a worker has left its task, for some time at most.

        Raises:
            RunFailed: if the cluster has ended.
        """
        busy = [slot for slot in self._slots if slot.task]
        if not busy:
            time.sleep(seconds)
            return []
        try:
            self._ray.wait([slot.result for slot in busy], num_returns=1, timeout=seconds)
        except KeyboardInterrupt:  # Ray makes it of whatever a signal's handler raises; the search looks at its signals
            return []
        ready, _ = self._ray.wait([slot.result for slot in busy], num_returns=len(busy), timeout=0)
        if not ready:
            self._require_cluster()
        return [self._receive(slot) for slot in busy if slot.result in ready]

    def _require_cluster(self) -> None:
        if time.monotonic() < self._next_check:
            return
        self._next_check = time.monotonic() + CHECK_SECONDS
        self._silent = self._silent + 1 if has_ended(self._ray, self._address) else 0
        if self._silent >= MAX_SILENT:
            raise RunFailed("Ray's cluster has ended, and its workers with it; resume the search with --resume")

    def _receive(self, slot: _Slot) -> Event:
        task, slot.task = slot.task, None
        assert task
        try:
            outcome: Outcome = pickle.loads(self._ray.get(slot.result))
        except self._ray.exceptions.RayError as error:
            self._drop(slot)  # also one that Ray cannot reach: another takes its place
            if getattr(error, "actor_init_failed", False):
                return Event(task, Outcome("failed", task.run_id, f"its worker did not start: {_find_reason(error)}"))
            return Event(task, None, f"died ({_find_reason(error)})")
        if outcome.status == "interrupted" or task.register:  # its signals are used up
            self._drop(slot)
        return Event(task, outcome)

    def _drop(self, slot: _Slot) -> None:
        """End a worker's process; the next task makes another."""
        if slot.actor is not None:
            with suppress(self._ray.exceptions.RayError):
                self._ray.kill(slot.actor, no_restart=True)
        slot.actor, slot.result = None, None


def _find_reason(error: Exception) -> str:
    """Find the one line of Ray's long message that says why."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    found = re.search(r"Worker exit type: (\w+)", str(error))
    if found and not getattr(error, "actor_init_failed", False):
        return f"Ray says: {found[1]}"
    return lines[-1] if lines else type(error).__name__


def _define_actor() -> type:
    """Define the actor's class within a function, so that Ray sends the class itself: its process cannot import yet."""

    class SearchWorker:
        def __init__(self, path: list[str], start: bytes) -> None:
            import sys

            sys.path[:0] = [folder for folder in path if folder not in sys.path]
            from tracked.search import ray_actor

            self._run: Callable[[bytes], bytes] = ray_actor.start(start)

        def run(self, task: bytes) -> bytes:
            return self._run(task)

    return SearchWorker
