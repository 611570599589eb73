"""Scorers that end are replaced, and their requests scored again; one that ends each of them takes no other along."""

import asyncio
import multiprocessing
import os
import signal
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from helpers.adding import COLUMNS, SECRET, Adder, count, leave
from helpers.endpoints import SECONDS
from helpers.made_registry import make_version
from tracked.serve import pool as pools
from tracked.serve.meter import Meter
from tracked.serve.pool import Pool
from tracked.serve.refusals import Refusal
from tracked.serve.scorer_process import ScorerEnded, ScorerProcess, UnfitModel
from tracked.serve.waiting import MAX_ENDED, Job, Waiting


class Asker:
    """What a service does with a pool."""

    def __init__(self, folder: Path, count: int = 1, seconds: float = 60.0, **metadata: Any) -> None:
        self.folder, self.waiting, self.meter = folder, Waiting(1000), Meter()
        owner = Adder(folder)
        self.version = make_version("1", folder, owner, **metadata)
        self.pool = Pool(self.version, self.waiting, self.meter, count, seconds, lambda row, why: f"{row}: {why}")

    def ask(self, *pairs: Any, form: Any = "answers", columns: tuple[str, ...] = COLUMNS) -> Job:
        rows = [pair if isinstance(pair, list) else [pair, 1] for pair in pairs]
        job = Job(columns, rows, form, asyncio.get_running_loop().create_future())
        self.waiting.put(job)
        return job

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(SECONDS):
            while not condition():
                await asyncio.sleep(0.005)

    def count(self, name: str) -> int:
        return count(self.folder / name)

    @property
    def deaths(self) -> float:
        return self.meter.deaths._value.get()


@asynccontextmanager
async def pooled(folder: Path, *arguments: Any, **metadata: Any) -> AsyncIterator[Asker]:
    asker = Asker(folder, *arguments, **metadata)
    scorers = await asker.pool.load()
    asker.pool.begin(scorers)
    try:
        yield asker
    finally:
        (folder / "go").touch()
        await asker.pool.close()
        for scorer in scorers:
            assert not is_alive(scorer.pid)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def status_of(job: Job) -> int:
    """The status of a request that is refused."""
    with pytest.raises(Refusal) as caught:
        await asyncio.wait_for(job.done, SECONDS)
    assert SECRET not in caught.value.message
    return caught.value.status


async def sum_of(job: Job) -> bytes:
    ((answer,), version) = await asyncio.wait_for(job.done, SECONDS)
    assert version == "adder/1"
    return answer.split(b",")[0]


def run(test: Callable[[], Awaitable[None]]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # coroutines that nobody has awaited
        asyncio.run(test())


def test_requests_of_a_killed_scorer_are_scored_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def test() -> None:
        async with pooled(tmp_path) as asker:
            jobs = [asker.ask(3), asker.ask("die at first"), asker.ask([1, 4])]
            assert [await sum_of(job) for job in jobs] == [b'{"sum": 4.0', b'{"sum": 1.0', b'{"sum": 5.0']
            assert [job.ended for job in jobs] == [1, 1, 1]
            assert (asker.deaths, asker.pool.alive) == (1, 1)

    run(test)
    assert "was killed by SIGKILL; another one takes its requests and its place" in capsys.readouterr().out


@pytest.mark.slow
def test_request_that_ends_each_scorer_is_refused_and_its_neighbours_are_answered(tmp_path: Path) -> None:
    async def test() -> None:
        async with pooled(tmp_path) as asker:
            first, deadly, last = asker.ask(1), asker.ask("die"), asker.ask(2)
            assert await status_of(deadly) == 500
            assert [await sum_of(first), await sum_of(last)] == [b'{"sum": 2.0', b'{"sum": 3.0']
            assert deadly.ended == MAX_ENDED == asker.deaths
            assert max(first.ended, last.ended) < MAX_ENDED

    run(test)


@pytest.mark.slow
def test_scorer_that_hangs_is_killed_and_its_request_refused_like_one_that_ends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def test() -> None:
        async with pooled(tmp_path, 1, 0.5) as asker:
            hanging = asker.ask("hang")
            await asker.until(lambda: asker.count("hanging"))
            after = asker.ask(1)
            assert await sum_of(after) == b'{"sum": 2.0'
            assert await status_of(hanging) == 500
            pids = [int(line) for line in (tmp_path / "hanging").read_text().split()]
            assert len(pids) == MAX_ENDED
            assert not any(map(is_alive, pids))

    run(test)
    assert "did not answer within 0.5 s and was killed" in capsys.readouterr().out


def test_scorer_that_is_stopped_is_killed_and_its_request_answered(tmp_path: Path) -> None:
    async def test() -> None:
        asker = Asker(tmp_path, 1, 1.0)
        (scorer,) = await asker.pool.load()
        asker.pool.begin([scorer])
        os.kill(scorer.pid, signal.SIGSTOP)
        assert await sum_of(asker.ask(1)) == b'{"sum": 2.0'
        assert not is_alive(scorer.pid)
        await asker.pool.close()

    run(test)


def test_scorer_that_ends_while_it_idles_is_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def test() -> None:
        asker = Asker(tmp_path, 2)
        scorers = await asker.pool.load()
        asker.pool.begin(scorers)
        for times in (1, 2):
            idle = min(list_children())
            os.kill(idle, signal.SIGKILL)
            await asker.until(lambda: asker.deaths == times)  # noqa: B023
            await asker.until(lambda: asker.pool.alive == 2)
            assert not is_alive(idle)
            assert len(list_children()) == 2
        assert await sum_of(asker.ask(1)) == b'{"sum": 2.0'
        await asker.pool.retire()
        assert list_children() == set()

    run(test)
    assert capsys.readouterr().out.count("was killed by SIGKILL; another one takes") == 2


def test_request_that_ended_meanwhile_is_not_scored_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with pooled(tmp_path) as asker:
            deadly = asker.ask("wait", "die")
            await asker.until(lambda: asker.count("in hand"))
            deadly.refuse(Refusal(504, "late"))
            (tmp_path / "go").touch()
            assert await status_of(deadly) == 504
            assert await sum_of(asker.ask(1)) == b'{"sum": 2.0'
            assert asker.deaths == 1

    run(test)


def test_faults_are_told_with_their_statuses(tmp_path: Path) -> None:
    async def test() -> None:
        async with pooled(tmp_path) as asker:
            jobs = [asker.ask(*pairs) for pairs in ([1], [2, SECRET], ["raise"], ["nan"], ["short"])]
            assert await sum_of(jobs[0]) == b'{"sum": 2.0'
            assert [await status_of(job) for job in jobs[1:]] == [422, 500, 500, 500]
            reasons = [str(job.done.exception()) for job in jobs[1:]]
            assert reasons[0] == "1: left is no number"
            assert reasons[1] == "it cannot be answered: a fault of the model or of its scorer, which the log names"
            assert asker.deaths == 0

    run(test)


@pytest.mark.slow
def test_exit_within_the_model_is_an_end_of_the_scorer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def test() -> None:
        async with pooled(tmp_path) as asker:
            assert await status_of(asker.ask("raise system exit")) == 500
            assert asker.deaths == MAX_ENDED

    run(test)
    assert "ended with status 0" in capsys.readouterr().out


def test_rows_of_other_columns_are_refused_to_be_asked_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with pooled(tmp_path) as asker:
            other, good = asker.ask(1, columns=("a", "b")), asker.ask(1)
            assert await status_of(other) == 503
            assert other.done.exception().headers == {"retry-after": "1"}  # type: ignore[union-attr]
            assert await sum_of(good) == b'{"sum": 2.0'

    run(test)


def test_two_scorers_answer_at_the_same_time(tmp_path: Path) -> None:
    async def test() -> None:
        async with pooled(tmp_path, 2) as asker:
            waits = asker.ask("wait")
            await asker.until(lambda: asker.count("in hand"))
            assert await sum_of(asker.ask(1)) == b'{"sum": 2.0'
            assert not waits.done.done()
            (tmp_path / "go").touch()
            assert await sum_of(waits) == b'{"sum": 1.0'

    run(test)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"answers nan": True}, "its own example is not answered with a finite number for each row"),
        ({"raises while loading": SECRET}, r"it cannot be loaded \(ValueError in adding.py, line \d+\)"),
        ({"lacks predict": True}, "experiment 'adder': its scorer lacks predict, which serve needs"),
        ({"dies while loading": 99}, "its scorer was killed by SIGKILL while loading it, 3 times"),
    ],
)
def test_model_that_cannot_be_served_leaves_no_process(tmp_path: Path, metadata: Any, message: str) -> None:
    async def test() -> None:
        started, start = [], ScorerProcess.start

        async def noted(*arguments: Any) -> ScorerProcess:
            started.append(await start(*arguments))
            return started[-1]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ScorerProcess, "start", noted)
            asker = Asker(tmp_path, 2, **metadata)
            with pytest.raises(UnfitModel, match=message):
                await asker.pool.load()
        assert started
        await asker.until(lambda: not any(is_alive(scorer.pid) for scorer in started))
        assert all(scorer._writer.is_closing() for scorer in started)

    run(test)


def test_scorer_that_dies_twice_while_loading_is_loaded(tmp_path: Path) -> None:
    async def test() -> None:
        async with pooled(tmp_path, 1, 60.0, **{"dies while loading": 2}) as asker:
            assert await sum_of(asker.ask(1)) == b'{"sum": 2.0'

    run(test)


def test_replacement_that_dies_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pools, "PAUSES", (0.0, 0.01))

    async def test() -> None:
        for _ in range(3):
            leave(tmp_path / "loads", "the first one lives")
        async with pooled(tmp_path, 1, 60.0, **{"dies while loading": 3}) as asker:
            (tmp_path / "loads").unlink()
            assert await sum_of(asker.ask("die at first")) == b'{"sum": 1.0'
            assert asker.pool.alive == 1

    run(test)
    assert "cannot be replaced yet (was killed by SIGKILL); the next attempt is in 0 s" in capsys.readouterr().out


def test_cancelled_load_leaves_no_process(tmp_path: Path) -> None:
    async def test() -> None:
        asker = Asker(tmp_path, 2, **{"hangs while loading": True})
        loading = asyncio.create_task(asker.pool.load())
        await asker.until(lambda: asker.count("opened") == 2)
        children = list_children()
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading
        await asker.until(lambda: not children & list_children())

    run(test)


def list_children() -> set[int]:
    """The scorers of this process that live."""
    return {child.pid for child in multiprocessing.active_children() if child.pid and child.name.startswith("scorer-")}


def test_retired_pool_answers_what_it_has_and_takes_nothing_more(tmp_path: Path) -> None:
    async def test() -> None:
        async with pooled(tmp_path, 2) as asker:
            in_hand = asker.ask("wait")
            await asker.until(lambda: asker.count("in hand"))
            retiring = asyncio.create_task(asker.pool.retire())
            await asyncio.sleep(0)
            later = asker.ask(1)
            (tmp_path / "go").touch()
            assert await sum_of(in_hand) == b'{"sum": 1.0'
            await retiring
            assert list_children() == set()
            assert not later.done.done()
            assert asker.waiting.rows == 1

    run(test)


def test_scorer_that_ends_in_a_retired_pool_leaves_its_request_to_the_next_one(tmp_path: Path) -> None:
    async def test() -> None:
        async with pooled(tmp_path) as asker:
            in_hand = asker.ask("hang")
            await asker.until(lambda: asker.count("hanging"))
            retiring = asyncio.create_task(asker.pool.retire())
            await asyncio.sleep(0)
            os.kill(int((tmp_path / "hanging").read_text()), signal.SIGKILL)
            await retiring
            assert (await asker.waiting.take(), in_hand.ended) == ([in_hand], 1)
            assert list_children() == set()

    run(test)


def test_closed_pool_waits_for_no_answer(tmp_path: Path) -> None:
    async def test() -> None:
        asker = Asker(tmp_path, 2, 3600.0)
        asker.pool.begin(await asker.pool.load())
        asker.ask("hang")
        await asker.until(lambda: asker.count("hanging"))
        await asyncio.wait_for(asker.pool.close(), SECONDS)
        assert list_children() == set()

    run(test)


def test_end_of_a_process_that_ended_kills_no_other_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PID is reused once its process's end was seen."""

    async def test() -> None:
        asker = Asker(tmp_path)
        (scorer,) = await asker.pool.load()
        os.kill(scorer.pid, signal.SIGKILL)
        with pytest.raises(ScorerEnded):
            await scorer.score(pools.Batch(COLUMNS, [("answers", [[1, 1]])]), 60)
        monkeypatch.setattr(os, "kill", lambda pid, signum: pytest.fail(f"{signum} to {pid}"))
        assert await scorer.end() == -signal.SIGKILL

    run(test)
