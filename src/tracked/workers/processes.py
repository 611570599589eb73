"""Workers that are processes of this machine."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Generic, Self, TypeAlias

from tracked.console.errors import Interrupted
from tracked.console.lines import warn
from tracked.console.secrets import hide_in_streams
from tracked.console.signals import Signals, describe_exit
from tracked.workers.tasks import GRACE, Event, OutcomeT, TaskT

LOG = "worker-{number}.log"
LOGS = r"worker-\d+\.log"

# Called in a worker's process before any task: returns what carries out a task. That returns the outcome, and whether
# the process takes another task.
Start: TypeAlias = Callable[[Signals], Callable[[TaskT], tuple[OutcomeT, bool]]]


@dataclass
class _Slot(Generic[TaskT]):
    """A place for a worker: its process and the connection to it, once started, and its task."""

    number: int
    process: SpawnProcess | None = None
    connection: Connection | None = None
    task: TaskT | None = None


class ProcessWorkers(Generic[TaskT, OutcomeT]):
    """Workers as processes (:class:`tracked.workers.tasks.Workers`); each writes what it prints to a log.

    Args:
        start: what each process begins with; it is pickled.
        folder: of the logs.
        count: of workers.
        loss: what becomes of the task of a worker that had to be killed, for people.
    """

    def __init__(self, start: "Start[TaskT, OutcomeT]", folder: Path, count: int, loss: str) -> None:
        self._begin, self._folder, self._loss = start, folder, loss
        self._slots: list[_Slot[TaskT]] = [_Slot(number) for number in range(count)]
        # A fresh Python: TensorFlow's threads do not survive a fork.
        self._context = multiprocessing.get_context("spawn")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        alive = [slot.process for slot in self._slots if slot.process and slot.process.is_alive()]
        for process in alive:
            _send(process, signal.SIGTERM)
        end = time.monotonic() + GRACE
        for process in alive:
            process.join(max(0.0, end - time.monotonic()))
            if process.is_alive():
                warn(f"worker {process.pid} did not end within {GRACE:.0f} s and is killed; {self._loss}")
                _send(process, signal.SIGKILL)
                process.join()

    @property
    def idle(self) -> int:
        """The number of workers without a task."""
        return sum(slot.task is None for slot in self._slots)

    def submit(self, task: TaskT) -> None:
        """Hand a task to an idle worker, whose process is started if there is none."""
        slot = next(slot for slot in self._slots if slot.task is None)
        slot.task = task
        connection = slot.connection
        if connection is None or slot.process is None or not slot.process.is_alive():
            connection = self._start(slot)
        try:
            connection.send(task)
        except OSError:  # it has just died
            self._start(slot).send(task)

    def _start(self, slot: _Slot[TaskT]) -> Connection:
        if slot.connection is not None:
            slot.connection.close()
        slot.connection, theirs = self._context.Pipe()
        log = str(self._folder / LOG.format(number=slot.number))
        arguments = (theirs, self._begin, log)
        slot.process = self._context.Process(target=_work, args=arguments, name=f"worker-{slot.number}", daemon=True)
        slot.process.start()
        theirs.close()  # so that the end of the process ends the connection
        return slot.connection

    def wait(self, seconds: float) -> list[Event[TaskT, OutcomeT]]:
        """Wait until a worker has left its task, for some time at most."""
        busy = [slot for slot in self._slots if slot.task]
        ready = wait([slot.connection for slot in busy if slot.connection], seconds)
        return [self._receive(slot) for slot in busy if slot.connection in ready]

    @staticmethod
    def _receive(slot: _Slot[TaskT]) -> Event[TaskT, OutcomeT]:
        task, slot.task = slot.task, None
        assert task
        assert slot.process
        assert slot.connection
        try:
            return Event(task, slot.connection.recv())
        except (EOFError, OSError):
            slot.process.join()
            return Event(task, None, describe_exit(slot.process.exitcode or 0))


def _send(process: SpawnProcess, signum: int) -> None:
    if process.pid:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signum)


def _work(connection: Connection, start: "Start[Any, Any]", log: str) -> None:
    """Carry out tasks until the holder ends: a worker's process."""
    with suppress(OSError):
        os.setpgid(0, 0)  # Ctrl-C reaches the holder alone, which ends its workers in order
    prepare_process(log)
    signals = Signals()
    signals.install()
    try:
        carry_out, takes_more = start(signals), True
        while takes_more:
            outcome, takes_more = carry_out(connection.recv())
            connection.send(outcome)
    except (Interrupted, EOFError, OSError):  # the holder has ended, or asks for it
        pass
    sys.stdout.flush()
    os._exit(0)  # libraries' threads may wait for each other at the end


def prepare_process(log: str) -> None:
    """Prepare a worker's process: what it and its libraries print goes to a log."""
    # So that a lock of a library has no name, which a killed worker would leave behind.
    multiprocessing.set_start_method("fork", force=True)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(file, stream)
    sys.stdout, sys.stderr = (os.fdopen(stream, "w", buffering=1, closefd=False) for stream in (1, 2))
    hide_in_streams()
