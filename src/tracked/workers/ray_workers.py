"""Workers that are actors of Ray: on this machine, or on a cluster whose address is given.

Ray is imported in ``ray_cluster`` alone, and when it is asked for: it is no package of ``requirements.txt``.
"""

import pickle
import re
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Self

from tracked.console.errors import RunFailed
from tracked.console.lines import warn
from tracked.workers.lifetime import STOP
from tracked.workers.processes import LOG
from tracked.workers.processes import Start as Begin
from tracked.workers.ray_actor import Start
from tracked.workers.ray_cluster import AUTO, connected, has_ended, require_ray
from tracked.workers.tasks import GRACE, Event, OutcomeT, TaskT

__all__ = ["RayWorkers", "require_ray"]

CHECK_SECONDS = 5.0  # between two looks at the cluster while nothing comes from it
MAX_SILENT = 3  # such looks in a row that find no cluster, before it counts as ended


@dataclass
class _Slot(Generic[TaskT]):
    """A place for a worker: its actor, once made, its task and what its outcome will be taken from."""

    number: int
    actor: Any = None
    task: TaskT | None = None
    result: Any = None


class RayWorkers(Generic[TaskT, OutcomeT]):
    """Workers as actors of Ray (:class:`tracked.workers.tasks.Workers`); each writes what it prints to a log.

    A local cluster ends with this process, however that ends; on a cluster of its own, Ray ends the actors of a process
    that has died. In both, a worker itself sees that the folder is not held any longer.

    Args:
        begin: what each process begins with; it is pickled, and must not end its process.
        folder: held by this process, and of the logs; all workers see it.
        count: of workers.
        loss: what becomes of the task of a worker that had to be killed, for people.
        refuse: makes the outcome of a task whose worker did not start, from the reason.
        address: of a cluster; auto for one of this machine alone, which is started here.
        cpus: of an actor of a cluster: by them, Ray decides which machine has a place for it, and nothing else.
        working_folder: of the processes, which their machine must see.
        advice: what to do if the cluster has ended, for people.
    """

    def __init__(
        self,
        begin: Begin[TaskT, OutcomeT],
        folder: Path,
        count: int,
        loss: str,
        refuse: Callable[[TaskT, str], OutcomeT],
        address: str = AUTO,
        cpus: int = 1,
        working_folder: str = "",
        advice: str = "",
    ) -> None:
        self._begin, self._folder, self._loss, self._refuse, self._advice = begin, folder, loss, refuse, advice
        self._address, self._cpus, self._working_folder = address, cpus if address != AUTO else 1, working_folder
        self._slots: list[_Slot[TaskT]] = [_Slot(number) for number in range(count)]
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

    def __exit__(self, *_: object) -> None:
        busy = [slot.result for slot in self._slots if slot.task]
        try:
            if busy and self._silent < MAX_SILENT:
                with suppress(OSError):  # the folder's disk is gone; Ray ends the actors
                    (self._folder / STOP).touch()
                _, left = self._ray.wait(busy, num_returns=len(busy), timeout=GRACE)
                if left:
                    warn(f"{len(left)} workers did not end within {GRACE:.0f} s and are killed; {self._loss}")
        finally:
            for slot in self._slots:
                self._drop(slot)
            self._connection.close()

    @property
    def idle(self) -> int:
        """The number of workers without a task."""
        return sum(slot.task is None for slot in self._slots)

    def submit(self, task: TaskT) -> None:
        """Hand a task to an idle worker, whose actor is made if there is none."""
        slot = next(slot for slot in self._slots if slot.task is None)
        slot.task = task
        if slot.actor is None:
            log = str(self._folder / LOG.format(number=slot.number))
            start = pickle.dumps(Start.here(self._begin, [str(self._folder), self._working_folder], log))
            made = self._ray.remote(_define_actor()).options(num_cpus=self._cpus, max_restarts=0, max_task_retries=0)
            slot.actor = made.remote(sys.path, start)
        slot.result = slot.actor.run.remote(pickle.dumps(task))

    def wait(self, seconds: float) -> list[Event[TaskT, OutcomeT]]:
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
        except KeyboardInterrupt:  # Ray makes it of whatever a signal's handler raises; the holder looks at its signals
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
            advice = f"; {self._advice}" if self._advice else ""
            raise RunFailed(f"Ray's cluster has ended, and its workers with it{advice}")

    def _receive(self, slot: _Slot[TaskT]) -> Event[TaskT, OutcomeT]:
        task, slot.task = slot.task, None
        assert task
        try:
            outcome, takes_more = pickle.loads(self._ray.get(slot.result))
        except self._ray.exceptions.RayError as error:
            self._drop(slot)  # also one that Ray cannot reach: another takes its place
            if getattr(error, "actor_init_failed", False):
                return Event(task, self._refuse(task, f"its worker did not start: {_find_reason(error)}"))
            return Event(task, None, f"died ({_find_reason(error)})")
        slot.result = None  # Ray keeps what is referred to
        if not takes_more:
            self._drop(slot)
        return Event(task, outcome, "" if outcome is not None else "was asked to stop")

    def _drop(self, slot: _Slot[TaskT]) -> None:
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

    class TrackedWorker:
        def __init__(self, path: list[str], start: bytes) -> None:
            import sys

            sys.path[:0] = [folder for folder in path if folder not in sys.path]
            from tracked.workers import ray_actor

            self._run: Callable[[bytes], bytes] = ray_actor.start(start)

        def run(self, task: bytes) -> bytes:
            return self._run(task)

    return TrackedWorker
