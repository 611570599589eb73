"""Searches and their workers as processes that are forked from one with all imports done: they start at once.

The search's spare workers are forked from it before it uses anything, so that no thread and no connection is copied. A
spare becomes a worker when the search starts one; once the spares are used up, workers are started as usual.
"""

import gc
import importlib
import multiprocessing
import os
import pickle
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from helpers import forked

SPARES = 3
COMM = "search-worker"  # the name of a worker's process for the system; a spare has another


class Forked:
    """A forked process, with what is used of subprocess's."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit status once it has ended."""
        if self.returncode is None:
            with suppress(ChildProcessError):
                ended, status = os.waitpid(self.pid, os.WNOHANG)
                if ended:
                    self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit status."""
        end = time.monotonic() + (1e9 if timeout is None else timeout)
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("a forked process", timeout or 0)
            time.sleep(0.005)
        return code

    def kill(self) -> None:
        """Kill it."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


def import_all() -> None:
    """Import all that a search imports, without using it."""
    forked.import_all()
    for module in ("tracked.verbs.search", "tracked.search.tracked_search", "tracked.search.winner", "optuna"):
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # so that a collection in a forked process copies no page of this one


def start_verb(experiment: Any, words: list[str], folder: Path, log: Path, environment: dict[str, str]) -> Forked:
    """Fork a process that runs a verb of an experiment, in its own session.

    Args:
        words: the verb and its flags.
        environment: further variables.
    """
    child = os.fork()
    if child:
        return Forked(child)
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    null, output = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor, stream in ((null, 0), (output, 1), (output, 2)):
        os.dup2(descriptor, stream)
    os.chdir(folder)
    os.environ.update(environment)
    random.seed()
    sys.argv = [str(Path(sys.argv[0]).with_name("search.py")), *words]
    status = 99
    try:
        _use_spares()
        from tracked.verbs import command

        command.run(experiment)
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]
    sys.stdout.flush()
    os._exit(status)


def _use_spares() -> None:
    from tracked.workers import processes

    spares = list[_Spare]()
    for _ in range(SPARES):
        spares.append(_Spare(processes._work, [one.connection for one in spares]))
    usual = multiprocessing.get_context("spawn")

    class Context:
        Pipe = staticmethod(multiprocessing.Pipe)

        @staticmethod
        def Process(**named: Any) -> Any:
            return _Worker(spares.pop(), named["args"]) if spares else usual.Process(**named)

    begin = processes.ProcessWorkers.__init__

    def initialize(self: Any, *arguments: Any, **named: Any) -> None:
        begin(self, *arguments, **named)
        self._context = Context

    processes.ProcessWorkers.__init__ = initialize  # type: ignore[method-assign]


class _Spare:
    """A process that waits to become a worker, and ends with the search."""

    def __init__(self, work: Callable[..., None], others: list[socket.socket]) -> None:
        self.connection, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid:
            theirs.close()
            return
        try:
            for other in (self.connection, *others):
                other.close()
            _wait_to_work(theirs, work)
        except BaseException:
            traceback.print_exc()
        os._exit(99)


def _wait_to_work(connection: socket.socket, work: Callable[..., None]) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # no worker yet: Ctrl-C ends the search, and that ends this process
    header, descriptors, _, _ = socket.recv_fds(connection, 8, 1)
    content = b""
    while len(content) < int.from_bytes(header, "big"):
        received = connection.recv(1 << 16)
        if not received:
            os._exit(0)
        content += received
    if not header:
        os._exit(0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    connection.close()
    Path("/proc/self/comm").write_text(COMM)
    work(Connection(descriptors[0]), *pickle.loads(content))
    os._exit(99)


class _Worker(Forked):
    """A worker's process, with what is used of multiprocessing's."""

    def __init__(self, spare: _Spare, arguments: tuple[Any, ...]) -> None:
        super().__init__(spare.pid)
        self._spare, self._arguments = spare, arguments

    @property
    def exitcode(self) -> int | None:
        """As multiprocessing names it."""
        return self.poll()

    def start(self) -> None:
        """Hand the arguments to the spare."""
        connection, *others = self._arguments
        content = pickle.dumps(others)
        with self._spare.connection as spare, suppress(OSError):
            socket.send_fds(spare, [len(content).to_bytes(8, "big")], [connection.fileno()])
            spare.sendall(content)

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self.poll() is None

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(timeout)
