"""A scorer's process as the server sees it: started, asked, ended."""

import asyncio
import multiprocessing
import socket
from collections.abc import Sequence
from multiprocessing.context import SpawnProcess
from typing import Any

from tracked.console.signals import describe_exit
from tracked.serve.frames import Answered, Batch, Ready, Setting, Unfit, encode, receive
from tracked.serve.scorer import work

LOAD_SECONDS = 300.0  # in which a scorer must have loaded its model


class UnfitModel(Exception):
    """A model cannot be served, in one sentence."""


class NotLoaded(UnfitModel):
    """A scorer's process ended while it loaded the model, time and again: memory may lack, or the model be at fault."""


class ScorerEnded(Exception):
    """A scorer's process ended, or did not answer in time and was killed; the message says how."""


class ScorerProcess:
    """A process that scores, and the connection to it."""

    def __init__(self, process: SpawnProcess, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._process, self._reader, self._writer = process, reader, writer

    @classmethod
    async def start(cls, setting: Setting, name: str) -> "ScorerProcess":
        """Start a process; it loads its model meanwhile."""
        ours, theirs = socket.socketpair()
        # A fresh Python: TensorFlow's threads do not survive a fork, and it has none of the server's connections.
        process = multiprocessing.get_context("spawn").Process(
            target=work, args=(theirs, setting), name=name, daemon=True
        )
        starting = asyncio.get_running_loop().run_in_executor(None, process.start)
        try:
            try:
                await asyncio.shield(starting)
            finally:
                await asyncio.wait({starting})  # it needs the connection until then
                theirs.close()  # so that the end of the process ends the connection
            reader, writer = await asyncio.open_connection(sock=ours)
        except BaseException:
            if process.pid:
                process.kill()
            ours.close()
            raise
        return cls(process, reader, writer)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid or 0

    async def load(self) -> Ready:
        """Wait until the model is loaded and checked.

        Raises:
            UnfitModel: if it cannot be served.
            ScorerEnded: if the process ended.
        """
        loaded: Ready | Unfit = await self._receive(LOAD_SECONDS)
        if isinstance(loaded, Unfit):
            raise UnfitModel(loaded.reason)
        return loaded

    async def score(self, batch: Batch, seconds: float) -> Sequence[Answered]:
        """Let it answer a batch: an outcome for each request.

        Raises:
            ScorerEnded: if the process ended, or did not answer in time.
        """
        self._writer.write(encode(batch))
        answered: Sequence[Answered] = await self._receive(seconds)
        return answered

    async def _receive(self, seconds: float) -> Any:
        try:
            async with asyncio.timeout(seconds):
                return await receive(self._reader)
        except TimeoutError:
            await self.end()
            raise ScorerEnded(f"did not answer within {seconds:g} s and was killed") from None
        except Exception:  # at the end of the connection; whatever else cannot be read comes from a broken process
            raise await self.bury() from None

    async def watch(self) -> None:
        """Wait until the process has ended."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._process.sentinel, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(self._process.sentinel)

    async def bury(self, reason: str = "") -> ScorerEnded:
        """Make the error of a process that has ended, or is ended now for a reason."""
        ended = describe_exit(await self.end())
        return ScorerEnded(reason or ended)

    async def end(self) -> int:
        """End the process, which has nothing to finish, also one that is stopped; returns its exit code."""
        self._writer.close()
        self._process.kill()  # unless its end was seen: its PID may be reused
        await asyncio.get_running_loop().run_in_executor(None, self._process.join)
        return self._process.exitcode or 0
