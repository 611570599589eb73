"""What is handed to workers and comes back: tasks, events, the workers' interface."""

from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

TaskT = TypeVar("TaskT")
OutcomeT = TypeVar("OutcomeT")

GRACE = 60.0  # seconds in which a worker that is asked to stop reaches a point where it can


@dataclass(frozen=True)
class Event(Generic[TaskT, OutcomeT]):
    """A task that a worker has left: with its outcome, or without one if the worker died (``death`` says how)."""

    task: TaskT
    outcome: OutcomeT | None
    death: str = ""


class Workers(Protocol[TaskT, OutcomeT]):
    """Workers that carry out one task each at a time, in processes of their own.

    A worker is made when it is needed, and another in place of one that died. A context manager: at the end of the
    block, all workers are asked to stop (they end their tasks in order, so that these can be resumed), and after
    ``GRACE`` seconds they are killed.
    """

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    @property
    def idle(self) -> int:
        """The number of workers without a task."""

    def submit(self, task: TaskT) -> None:
        """Hand a task to an idle worker."""

    def wait(self, seconds: float) -> list[Event[TaskT, OutcomeT]]:
        """Wait until a worker has left its task, for some time at most."""
