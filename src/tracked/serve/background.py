"""Wait for slow calls without blocking what accepts."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar, cast

ResultT = TypeVar("ResultT")


async def run_in_thread(call: Callable[[], ResultT]) -> ResultT:
    """Make a call in a thread that does not keep the process alive: a registry may hang for minutes."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[ResultT] = loop.create_future()

    def settle(value: ResultT | None, error: BaseException | None) -> None:
        if result.done():
            return
        if error is None:
            result.set_result(cast(ResultT, value))
        else:
            result.set_exception(error)

    def run() -> None:
        value, failed = None, None
        try:
            value = call()
        except BaseException as error:
            failed = error
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, value, failed)

    threading.Thread(target=run, daemon=True).start()
    return await result
