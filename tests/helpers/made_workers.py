"""Workers without processes: a test says what becomes of each task."""

from typing import Generic, Self

from tracked.workers.tasks import TaskT


class MadeWorkers(Generic[TaskT]):
    """Workers whose tasks are in ``running`` until ``wait``, which a subclass has, takes them."""

    def __init__(self, count: int = 1) -> None:
        self.count, self.running = count, list[TaskT]()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def idle(self) -> int:
        """The number of workers without a task."""
        return self.count - len(self.running)

    def submit(self, task: TaskT) -> None:
        """Hand a task to an idle worker."""
        assert self.idle > 0
        self.running.append(task)
