"""The scorers of one version: each takes what waits, and is replaced if its process ends."""

import asyncio
from collections.abc import Callable, Coroutine
from itertools import chain, repeat
from typing import Any, TypeVar

from tracked.console.lines import say
from tracked.serve.frames import Answered, Bad, Batch, Failed, Ready
from tracked.serve.meter import Meter
from tracked.serve.refusals import AGAIN, Refusal
from tracked.serve.scorer_process import NotLoaded, ScorerEnded, ScorerProcess, UnfitModel
from tracked.serve.version import Version
from tracked.serve.waiting import MAX_ENDED, Job, Waiting

ATTEMPTS = 3  # at loading a model for the first time
PAUSES = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)  # seconds before the next attempt, after processes that ended at once
ResultT = TypeVar("ResultT")


class Pool:
    """The scorers of a version.

    Args:
        count: of scorers.
        seconds: in which a batch must be answered; a scorer that takes longer is killed.
        explain_bad: makes the sentence that refuses a row, of its number and the reason.

    Attributes:
        ready: what the scorers tell of the model, once loaded.
        alive: the number of scorers that are loaded now.
    """

    def __init__(
        self,
        version: Version,
        waiting: Waiting,
        meter: Meter,
        count: int,
        seconds: float,
        explain_bad: Callable[[int, str], str],
    ) -> None:
        self.version, self.ready, self.alive = version, Ready({}, {}, [], False), 0
        self._waiting, self._meter, self._count, self._seconds = waiting, meter, count, seconds
        self._explain_bad, self._is_retired = explain_bad, False
        self._slots: list[asyncio.Task[None]] = []
        self._idle: set[asyncio.Task[None]] = set()

    async def load(self) -> list[ScorerProcess]:
        """Start all scorers, and wait until each has loaded and checked the model.

        Raises:
            UnfitModel: if the model cannot be served.
        """
        loads = [asyncio.create_task(self._start_first(number)) for number in range(self._count)]
        try:
            scorers = await asyncio.gather(*loads)
        except BaseException:
            for task in loads:
                task.cancel()
            for done in await asyncio.gather(*loads, return_exceptions=True):
                if isinstance(done, ScorerProcess):
                    await done.end()
            raise
        return list(scorers)

    def begin(self, scorers: list[ScorerProcess]) -> None:
        """Let loaded scorers take what waits."""
        self.alive = len(scorers)
        self._slots = [asyncio.create_task(self._run(number, scorer)) for number, scorer in enumerate(scorers)]

    async def retire(self) -> None:
        """End the scorers, each once it has answered what it has."""
        self._is_retired = True
        for slot in [*self._idle]:
            slot.cancel()
        await asyncio.gather(*self._slots, return_exceptions=True)

    async def close(self) -> None:
        """End the scorers at once, whatever they have."""
        self._is_retired = True
        for slot in self._slots:
            slot.cancel()
        await asyncio.gather(*self._slots, return_exceptions=True)

    async def _start_first(self, number: int) -> ScorerProcess:
        for attempt in range(ATTEMPTS):
            try:
                return await self._start(number)
            except ScorerEnded as error:
                if attempt == ATTEMPTS - 1:
                    raise NotLoaded(f"its scorer {error} while loading it, {ATTEMPTS} times") from None
        raise AssertionError

    async def _start(self, number: int) -> ScorerProcess:
        scorer = await ScorerProcess.start(self.version.setting, f"scorer-{number}")
        try:
            self.ready = await scorer.load()
        except BaseException:
            await scorer.end()
            raise
        return scorer

    async def _run(self, number: int, scorer: ScorerProcess) -> None:
        """Score what waits until the pool is retired; a process that ended is replaced."""
        try:
            while not self._is_retired:
                try:
                    await self._score_while_alive(scorer)
                except ScorerEnded as error:
                    self._meter.deaths.inc()
                    if self._is_retired:
                        return
                    say(f"scorer {number} (process {scorer.pid}) {error}; another one takes its requests and its place")
                    self.alive -= 1
                    scorer = await self._replace(number)
                    self.alive += 1
        finally:
            await scorer.end()

    async def _score_while_alive(self, scorer: ScorerProcess) -> None:
        """Score what waits until the pool is retired.

        Raises:
            ScorerEnded: if the process ended, also while it had nothing to do.
        """
        slot, end = asyncio.current_task(), asyncio.create_task(scorer.watch())
        assert slot

        def break_off(_: asyncio.Task[None]) -> None:
            if is_scoring and slot in self._idle:
                slot.cancel()

        is_scoring = True
        end.add_done_callback(break_off)
        try:
            while not self._is_retired:
                if end.done():  # while it answered
                    raise await scorer.bury()
                await self._score_on(scorer)
        except asyncio.CancelledError:
            if self._is_retired or not end.done():
                raise
            slot.uncancel()
            raise await scorer.bury() from None
        finally:
            is_scoring = False
            end.cancel()

    async def _score_on(self, scorer: ScorerProcess) -> None:
        jobs = await self._while_idle(self._waiting.take())
        if jobs[0].columns != self.version.setting.columns:
            for job in jobs:
                job.refuse(Refusal(503, "another version is served by now, which reads other columns", AGAIN))
            return
        batch = Batch(jobs[0].columns, [(job.form, job.rows) for job in jobs])
        self._meter.batches.observe(sum(len(job.rows) for job in jobs))
        try:
            answered = await scorer.score(batch, self._seconds)
            for job, outcome in zip(jobs, answered, strict=True):
                self._settle(job, outcome)
        except ScorerEnded:
            self._give_back(jobs)
            raise
        except Exception as error:  # a broken process: nothing that it gives counts
            self._give_back(jobs)
            raise await scorer.bury(f"gave what cannot be read ({type(error).__name__}) and was killed") from None

    def _settle(self, job: Job, outcome: Answered) -> None:
        if isinstance(outcome, Bad):
            job.refuse(Refusal(422, self._explain_bad(outcome.row, outcome.reason)))
        elif isinstance(outcome, Failed):
            job.refuse(Refusal(500, f"it cannot be answered: {outcome.reason}"))
        else:
            job.answer(outcome, self.version.name)

    def _give_back(self, jobs: list[Job]) -> None:
        """Let the requests of a process that ended be scored again; one that ends each process is not."""
        for job in jobs:
            job.ended += 1
            if job.ended >= MAX_ENDED:
                job.refuse(Refusal(500, f"it cannot be answered: {MAX_ENDED} processes ended while they had it"))
        self._waiting.put_back(job for job in jobs if not job.done.done())

    async def _replace(self, number: int) -> ScorerProcess:
        for pause in chain(PAUSES, repeat(PAUSES[-1])):
            try:
                return await self._while_idle(self._start(number))
            except (ScorerEnded, UnfitModel, OSError) as error:
                say(f"scorer {number} cannot be replaced yet ({error}); the next attempt is in {pause:.0f} s")
                await self._while_idle(asyncio.sleep(pause))
        raise AssertionError

    async def _while_idle(self, wait: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Wait for something that the end of the pool may break off."""
        task = asyncio.current_task()
        assert task
        if self._is_retired:
            wait.close()
            raise asyncio.CancelledError
        self._idle.add(task)
        try:
            return await wait
        finally:
            self._idle.discard(task)
