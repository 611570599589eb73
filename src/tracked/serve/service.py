"""The service behind an endpoint: it begins, answers requests, and ends in order."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias

from tracked.console.lines import format_count, say
from tracked.experiment import Experiment
from tracked.serve.bodies import ClientGone
from tracked.serve.facts import EndpointFacts
from tracked.serve.frames import Form
from tracked.serve.keeper import Keeper
from tracked.serve.memory import settle_memory
from tracked.serve.meter import Meter
from tracked.serve.pool import Pool
from tracked.serve.refusals import AGAIN, Refusal
from tracked.serve.statuses import LIMITS
from tracked.serve.waiting import Job, Waiting

Leaving: TypeAlias = set[Callable[[], None]]
PAUSE = 0.02  # seconds between two looks at whether all is answered


class Service:
    """A model behind an endpoint; made in a running event loop.

    Args:
        owner: the experiment.
        parameters: a ``ServeParameters``.
        needs_token: whether the endpoint asks for one, for its pages.

    Attributes:
        unanswered: the number of requests that have begun and have no answer yet.
        began: done once the first model is loaded; an error if that is not possible.
        ended: done once the service was asked to end and has nothing to answer; the same error.
    """

    def __init__(self, owner: Experiment, parameters: Any, needs_token: bool = False) -> None:
        self.owner, self.parameters, self.needs_token = owner, parameters, needs_token
        self.meter, self.unanswered = Meter(), 0
        self._waiting = waiting = Waiting(parameters.max_waiting)
        self._jobs: set[Job] = set()
        self.keeper = Keeper(owner, parameters, waiting, self.meter, self._explain_bad)
        self.is_draining, self._is_forced, self._asked = False, False, 0.0
        self._is_closed = False
        self.count_connections: Callable[[], float] = lambda: 0  # where the server knows it
        self._drainer: asyncio.Task[None] | None = None
        loop = asyncio.get_running_loop()
        self.began: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.meter.waiting.set_function(lambda: self._waiting.rows)
        self.meter.scorers.set_function(lambda: self.keeper.pool.alive if self.keeper.pool else 0)
        self.meter.connections.set_function(lambda: self.count_connections())
        self.meter.ready.set_function(lambda: float(self.is_ready))
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            await self.keeper.begin()
        except Exception as error:
            for future in (self.began, self.ended):
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # not everybody waits for both
            return
        settle_memory()
        self.began.set_result(None)
        await self.keeper.run()

    @property
    def is_ready(self) -> bool:
        """Whether requests are answered now."""
        return self.keeper.pool is not None and self.keeper.pool.alive > 0 and not self.is_draining

    def require_pool(self) -> Pool:
        """The scorers of the version that answers.

        Raises:
            Refusal: while the service starts.
        """
        if self.keeper.pool is None:
            raise Refusal(503, "the model is being loaded; try again in a few seconds", AGAIN)
        return self.keeper.pool

    def require_open(self) -> tuple[str, ...]:
        """The columns of the rows that can be asked about now.

        Raises:
            Refusal: while the service starts or ends.
        """
        if self.is_draining:
            raise Refusal(503, "the endpoint is shutting down; ask another one", {**AGAIN, "connection": "close"})
        return self.require_pool().version.setting.columns

    def describe(self, address: str) -> EndpointFacts:
        """Describe the endpoint for its pages.

        Args:
            address: at which it is asked.

        Raises:
            Refusal: while the service starts.
        """
        pool, terms = self.require_pool(), self.owner.terms
        version, columns = pool.version, pool.version.setting.columns
        rows = version.setting.example
        return EndpointFacts(
            experiment=self.owner.name,
            request_name=self.owner.request_name,
            columns=columns,
            answer_columns=pool.ready.answer_columns,
            example=[row[0] if len(columns) == 1 else dict(zip(columns, row, strict=True)) for row in rows],
            row=terms.row,
            rows=terms.rows,
            model=version.stored.name or version.stored.uri,
            version=version.stored.version,
            digest=version.digest,
            can_explain=pool.ready.can_explain,
            needs_token=self.needs_token,
            answer_notes=pool.ready.answer_notes,
            example_answers=pool.ready.example_answers,
            address=address,
            limits={name: getattr(self.parameters, name) for name in LIMITS},
        )

    async def answer(
        self, columns: tuple[str, ...], rows: Sequence[Sequence[Any]], form: Form, leaving: Leaving | None = None
    ) -> tuple[Sequence[bytes], str]:
        """Answer the rows of a request: each one's answer as JSON, and the version that gave them.

        Args:
            leaving: what to call if the client leaves, where the server knows that.

        Raises:
            Refusal: if they cannot be answered.
            ClientGone: if the client has left.
        """
        loop = asyncio.get_running_loop()
        job = Job(columns, rows, form, loop.create_future())
        self._waiting.put(job)
        self._jobs.add(job)
        limit = loop.call_later(self.parameters.timeout, self._expire, job)
        leave = partial(self._end, job, ClientGone())
        if leaving is not None:
            leaving.add(leave)
        try:
            answers = await job.done
        finally:
            limit.cancel()
            self._jobs.discard(job)
            if leaving is not None:
                leaving.discard(leave)
        self.meter.rows.inc(len(rows))
        return answers

    def _expire(self, job: Job) -> None:
        late = Refusal(
            504, f"there was no answer within {format_count(self.parameters.timeout, 'second')}; try again", AGAIN
        )
        self._end(job, late)

    def _end(self, job: Job, error: Exception) -> None:
        """End a request that need not be scored any more."""
        self._waiting.drop(job)
        job.refuse(error)

    def _explain_bad(self, row: int, reason: str) -> str:
        return f"{self.owner.terms.row} {row + 1} cannot be answered: {reason}"

    def drain(self) -> None:
        """Refuse new requests, and end once all that have begun are answered; asked again later, end at once.

        ``mlflow run`` sends SIGTERM soon after the terminal's SIGINT: two within a second are one.
        """
        now = time.monotonic()
        if self.is_draining:
            self._is_forced = now > self._asked + 1
            return
        self._asked = now
        self.is_draining = True
        say(f"shutting down: {format_count(self.unanswered, 'request')} to finish; new ones are refused")
        self._drainer = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        limit = loop.time() + self.parameters.drain
        while self.unanswered and loop.time() < limit and not self._is_forced:
            await asyncio.sleep(PAUSE)
        if self.unanswered:
            say(f"{format_count(self.unanswered, 'request')} could not be finished in time and are refused")
            for job in list(self._jobs):
                job.refuse(Refusal(503, "the endpoint ended before it could answer; ask another one", AGAIN))
            await asyncio.sleep(PAUSE)
        if not self.ended.done():
            self.ended.set_result(None)

    async def close(self) -> None:
        """End the scorers, and remove what was downloaded; no effect a second time."""
        if self._is_closed:
            return
        self._is_closed = True
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await self.keeper.close()
