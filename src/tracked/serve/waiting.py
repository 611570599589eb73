"""Requests that wait to be scored: in order, bounded, and together as far as they fit into a batch."""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tracked.serve.frames import Form
from tracked.serve.refusals import AGAIN, Refusal

BATCH = 64  # rows that are scored together at most; a request of more is scored alone
ALONE = 2  # scorers that a request may have seen end before it is scored without others
MAX_ENDED = 4  # scorers that a request may have seen end


@dataclass(eq=False)
class Job:
    """A request that waits: its rows, and the future that gets their answers as JSON and the version that gave them.

    Args:
        columns: of the rows; those of the model that the request was read for.
        ended: the number of scorers that ended while they had this request.
    """

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    form: Form
    done: asyncio.Future[tuple[Sequence[bytes], str]]
    ended: int = 0

    @property
    def is_alone(self) -> bool:
        """Whether it is not scored with others: one that may end its scorer would take them along."""
        return self.form == "explanation" or self.ended >= ALONE

    def refuse(self, refusal: Exception) -> None:
        """End the request with an error, unless it has its end."""
        if not self.done.done():
            self.done.set_exception(refusal)

    def answer(self, answers: Sequence[bytes], version: str) -> None:
        """End the request with its answers, unless it has its end."""
        if not self.done.done():
            self.done.set_result((answers, version))


class Waiting:
    """The requests that wait.

    Args:
        max_rows: that wait at the same time.
        batch: rows that are scored together.

    Attributes:
        rows: that wait now.
    """

    def __init__(self, max_rows: int, batch: int = BATCH) -> None:
        self._jobs: deque[Job] = deque()
        self._max_rows, self._batch = max_rows, batch
        self._idle: deque[asyncio.Future[None]] = deque()  # of scorers that wait for requests
        self.rows = 0

    def put(self, job: Job) -> None:
        """Let a request wait.

        Raises:
            Refusal: if too much waits already.
        """
        if self.rows + len(job.rows) > self._max_rows:
            raise Refusal(429, f"too much is waiting ({self._max_rows:,} rows at most): try again", AGAIN)
        self._jobs.append(job)
        self.rows += len(job.rows)
        self._wake()

    def put_back(self, jobs: Iterable[Job]) -> None:
        """Let requests that were taken wait again, before all others and however many these are."""
        for job in reversed(list(jobs)):
            self._jobs.appendleft(job)
            self.rows += len(job.rows)
        self._wake()

    def drop(self, job: Job) -> None:
        """Let a request wait no longer, if it does."""
        with suppress(ValueError):
            self._jobs.remove(job)
            self.rows -= len(job.rows)

    async def take(self) -> list[Job]:
        """Take all that waits, as far as it fits into a batch; waits for the first request.

        There is no wait for more: what comes meanwhile is the next batch.
        """
        while not (taken := self._take()):
            idle: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append(idle)
            try:
                await idle
            except asyncio.CancelledError:
                if idle.done() and not idle.cancelled():  # it was told of a request, which another has to take now
                    self._wake()
                raise
            finally:
                if idle in self._idle:
                    self._idle.remove(idle)
        if self._jobs:
            self._wake()
        return taken

    def _take(self) -> list[Job]:
        taken: list[Job] = []
        rows = 0
        while self._jobs:
            job = self._jobs[0]
            if not job.done.done():  # else its time is up, or its client has gone
                fits = rows + len(job.rows) <= self._batch and job.columns == taken[0].columns if taken else True
                if not fits or (taken and job.is_alone):
                    break
                taken.append(job)
                rows += len(job.rows)
            self._jobs.popleft()
            self.rows -= len(job.rows)
            if taken and taken[0].is_alone:
                break
        return taken

    def _wake(self) -> None:
        while self._idle:
            idle = self._idle.popleft()
            if not idle.done():
                idle.set_result(None)
                return
