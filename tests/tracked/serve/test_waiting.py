"""Requests that wait: each is taken once and in order, in batches within their bound."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracked.serve.refusals import Refusal
from tracked.serve.waiting import ALONE, BATCH, Job, Waiting

pytestmark = pytest.mark.unit

COLUMNS = (("a",), ("b",))
BOUND, MOST = 4, 12

sizes = st.sampled_from([1, 1, 1, 1, 2, 2, 3, 6])
forms = st.sampled_from(["answers", "answers", "answers", "output", "explanation"])
puts = st.tuples(st.just("put"), sizes, st.sampled_from([*COLUMNS[:1] * 4, COLUMNS[1]]), forms)
begins, ticks = st.just(("begin",)), st.just(("tick",))
places = st.integers(0, 5)
others = st.tuples(st.sampled_from(["cancel", "expire", "put back", "put back, as its scorer ended"]), places)
steps = st.lists(puts | puts | begins | ticks | others, max_size=60)


def make_job(rows: int = 1, columns: tuple[str, ...] = COLUMNS[0], form: Any = "answers", ended: int = 0) -> Job:
    return Job(columns, [[0]] * rows, form, asyncio.get_running_loop().create_future(), ended)


class Model:
    """A queue as a list, and scorers that take from both."""

    def __init__(self) -> None:
        self.waiting, self.order = Waiting(MOST, BOUND), list[Job]()
        self.takers, self.taken = list[asyncio.Task[None]](), list[list[Job]]()

    def list_live(self) -> list[Job]:
        return [job for job in self.order if not job.done.done()]

    async def take(self) -> None:
        """Take once, and compare with what a list gives."""
        batch = await self.waiting.take()
        live = self.list_live()
        assert batch
        assert batch == live[: len(batch)]
        rest = live[len(batch) :]
        assert len(batch) == 1 or not any(job.is_alone for job in batch)
        assert len({job.columns for job in batch}) == 1
        rows = sum(len(job.rows) for job in batch)
        assert len(batch) == 1 or rows <= BOUND
        if rest and not batch[0].is_alone:
            assert rest[0].is_alone or rest[0].columns != batch[0].columns or rows + len(rest[0].rows) > BOUND
        self.order = rest
        self.taken.append(batch)

    def put(self, rows: int, columns: tuple[str, ...], form: Any) -> None:
        job = make_job(rows, columns, form)
        if self.waiting.rows + rows <= MOST:
            self.waiting.put(job)
            self.order.append(job)
            return
        with pytest.raises(Refusal) as caught:
            self.waiting.put(job)
        assert (caught.value.status, caught.value.headers) == (429, {"retry-after": "1"})

    def put_back(self, place: int, ended: int) -> None:
        if self.taken:
            batch = [job for job in self.taken.pop(place % len(self.taken)) if not job.done.done()]
            for job in batch:
                job.ended += ended
            self.waiting.put_back(job for job in batch)
            self.order = batch + self.order

    def step(self, name: str, *words: Any) -> None:
        if name == "put":
            self.put(*words)
        elif name == "begin":
            self.takers.append(asyncio.create_task(self.take()))
        elif name == "cancel" and self.takers:
            self.takers.pop(words[0] % len(self.takers)).cancel()
        elif name == "expire" and self.order:
            job = self.order[words[0] % len(self.order)]
            job.refuse(Refusal(504, "late"))
            job.done.exception()  # asyncio prints errors that nobody has seen
        elif name.startswith("put back"):
            self.put_back(words[0], int("ended" in name))

    async def settle(self) -> None:
        """Let all tasks run as far as they get: nothing waits while somebody would take it."""
        for _ in range(50):
            await asyncio.sleep(0)
        for task in self.takers:
            if task.done():
                task.result()
        self.takers = [task for task in self.takers if not task.done()]
        assert not (self.takers and self.list_live())

    async def finish(self) -> None:
        """Take what is left."""
        while self.list_live():
            self.takers.append(asyncio.create_task(self.take()))
            await self.settle()
        last = asyncio.create_task(self.take())
        await asyncio.sleep(0)
        assert (self.waiting.rows, self.list_live()) == (0, [])
        for task in [last, *self.takers]:
            task.cancel()


@given(given=steps)
def test_every_interleaving_takes_each_request_once_and_in_order(given: list[tuple[Any, ...]]) -> None:
    async def run() -> None:
        model = Model()
        for name, *words in given:
            if name == "tick":
                await model.settle()
            else:
                model.step(name, *words)
        await model.settle()
        await model.finish()
        for job in [job for batch in model.taken for job in batch]:
            job.answer([], "")

    asyncio.run(run())


def test_request_is_passed_on_by_a_scorer_that_was_woken_for_it_and_cancelled() -> None:
    async def run() -> list[Job]:
        waiting = Waiting(MOST)
        first, second = (asyncio.create_task(waiting.take()) for _ in range(2))
        await asyncio.sleep(0)
        waiting.put(make_job())
        first.cancel()
        return await asyncio.wait_for(second, 20)

    assert len(asyncio.run(run())) == 1


def test_requests_of_a_scorer_that_ended_are_taken_by_all_that_are_idle() -> None:
    async def run() -> list[list[int]]:
        waiting = Waiting(MOST)
        takers = [asyncio.create_task(waiting.take()) for _ in range(2)]
        await asyncio.sleep(0)
        waiting.put_back([make_job(1, ended=ALONE), make_job(2, ended=ALONE)])
        return [[len(job.rows) for job in await asyncio.wait_for(taker, 20)] for taker in takers]

    assert asyncio.run(run()) == [[1], [2]]


def test_queue_refuses_what_exceeds_its_bound_and_takes_the_rest() -> None:
    async def run() -> None:
        waiting = Waiting(10)
        waiting.put(make_job(9))
        with pytest.raises(Refusal, match=r"too much is waiting \(10 rows at most\)") as caught:
            waiting.put(make_job(2))
        assert (caught.value.status, caught.value.headers) == (429, {"retry-after": "1"})
        waiting.put(make_job(1))
        assert waiting.rows == 10
        waiting.put_back([make_job(5)])  # what was taken is never refused
        assert waiting.rows == 15

    asyncio.run(run())


def test_batch_has_at_most_its_bound_but_for_one_larger_request() -> None:
    async def run() -> list[list[int]]:
        waiting = Waiting(10 * BATCH)
        for rows in (BATCH // 2, BATCH // 2, 1, 3 * BATCH, 2, BATCH - 1):
            waiting.put(make_job(rows))
        return [[len(job.rows) for job in await waiting.take()] for _ in range(5)]

    half = BATCH // 2
    assert asyncio.run(run()) == [[half, half], [1], [3 * BATCH], [2], [BATCH - 1]]


def test_request_that_has_seen_scorers_end_is_taken_alone() -> None:
    async def run() -> list[list[int]]:
        waiting = Waiting(100)
        for ended in (0, ALONE - 1, ALONE, 0, ALONE, ALONE):
            waiting.put(make_job(ended=ended))
        return [[job.ended for job in await waiting.take()] for _ in range(5)]

    assert asyncio.run(run()) == [[0, ALONE - 1], [ALONE], [0], [ALONE], [ALONE]]


def test_end_of_a_request_is_told_once() -> None:
    async def run() -> None:
        late, answered = make_job(), make_job()
        late.refuse(Refusal(504, "late"))
        late.answer([b"1"], "m/1")
        answered.answer([b"1"], "m/1")
        answered.refuse(Refusal(504, "late"))
        assert answered.done.result() == ([b"1"], "m/1")
        assert isinstance(late.done.exception(), Refusal)

    asyncio.run(run())
