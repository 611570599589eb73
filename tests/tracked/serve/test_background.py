"""Slow calls: their result or their error, and nothing of one that nobody waits for."""

import asyncio
import threading

import pytest

from tracked.serve.background import run_in_thread

pytestmark = pytest.mark.unit


def test_call_gives_its_result_or_its_error() -> None:
    async def run() -> None:
        assert await run_in_thread(threading.get_ident) != threading.get_ident()
        with pytest.raises(ZeroDivisionError):
            await run_in_thread(lambda: 1 // 0)

    asyncio.run(run())


def test_call_that_hangs_keeps_no_loop_from_ending() -> None:
    may_end, ended = threading.Event(), []

    def hang() -> None:
        may_end.wait(60)
        ended.append(True)

    async def run() -> None:
        waits = asyncio.create_task(run_in_thread(hang))
        await asyncio.sleep(0)
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits

    asyncio.run(run())
    assert not ended
    may_end.set()


def test_result_that_nobody_waits_for_is_dropped(capfd: pytest.CaptureFixture[str]) -> None:
    begun, may_end = threading.Event(), threading.Event()
    before = set(threading.enumerate())

    def call() -> None:
        begun.set()
        may_end.wait(60)

    async def run() -> None:
        waits = asyncio.create_task(run_in_thread(call))
        await asyncio.sleep(0)
        begun.wait(60)
        waits.cancel()

    asyncio.run(run())
    may_end.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
    assert capfd.readouterr() == ("", "")
