"""Hand tasks to workers until all of them have a result."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from tracked.console.signals import Signals
from tracked.workers.tasks import Event, OutcomeT, TaskT, Workers

WAIT = 1.0  # seconds between two looks at signals
ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class Retry(Generic[TaskT]):
    """A task that another worker carries out, or goes on with."""

    task: TaskT


def dispatch(
    workers: Workers[TaskT, OutcomeT],
    tasks: Iterator[TaskT],
    settle: Callable[[Event[TaskT, OutcomeT]], Retry[TaskT] | ResultT],
    signals: Signals,
) -> Iterator[ResultT]:
    """Hand tasks to workers, each once one is idle; yields the results as they come.

    Args:
        tasks: asked for the next one when a worker is idle.
        settle: makes a task's result of what a worker has left, or lets another worker take it.

    Raises:
        Interrupted: if a signal came. What came back with it is not settled: a resumed verb finds it.
    """
    again: list[TaskT] = []
    running = 0
    while True:
        while workers.idle:
            task = again.pop() if again else next(tasks, None)
            if task is None:
                break
            workers.submit(task)
            running += 1
        if not running:
            return
        for event in workers.wait(WAIT):
            running -= 1
            signals.check()
            settled = settle(event)
            if isinstance(settled, Retry):
                again.append(settled.task)
            else:
                yield settled
        signals.check()
