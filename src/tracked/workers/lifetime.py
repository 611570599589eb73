"""The life of a worker: it ends with the process that it works for, and a later one waits for it.

The process that has workers holds a folder (:class:`tracked.training.run_folder_lock.RunFolderLock`). Each worker holds
a shared lock in that folder for as long as it lives.
"""

import fcntl
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

from tracked.console.lines import say
from tracked.console.signals import Signals
from tracked.training.holder import Holder
from tracked.training.run_folder import find_holder
from tracked.workers.tasks import GRACE

WORKERS, STOP = "workers", "stop"  # files of the folder
POLL = 0.5  # seconds between two looks at the folder


class Lifetime:
    """Keeps this process alive no longer than the process that it works for; made before any work.

    Args:
        folder: held by that process.
        holder: that process, as the folder's lock names it.
        signals: their handler, or one that is asked to stop by :meth:`Signals.request`.
        ends_process: whether the process may be ended if a task does not reach a point where it can stop.

    Attributes:
        working: to be held while a task is carried out.
    """

    def __init__(self, folder: Path, holder: Holder | None, signals: Signals, ends_process: bool = True) -> None:
        self._folder, self._holder, self._signals = folder, holder, signals
        self._lock = os.open(folder / WORKERS, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(self._lock, fcntl.LOCK_SH)  # a later holder waits until the former workers have ended
        if not self._is_wanted():  # killed while this process was starting: a later one may not have waited for it
            signals.request(signal.SIGTERM)
        self.working = threading.Lock()
        threading.Thread(target=self._watch, args=(ends_process,), name="watch", daemon=True).start()

    def _is_wanted(self) -> bool:
        """Whether the process that this one works for holds the folder; a later holder is another one."""
        try:
            return find_holder(self._folder) == self._holder
        except OSError:
            return True  # a disk that does not answer tells nothing

    def _watch(self, ends_process: bool) -> None:
        """End the task once the holder has ended or asks for it: no worker outlives its holder for long."""
        stop, parent = self._folder / STOP, os.getppid()
        while self._is_wanted() and not stop.exists() and (os.getppid() == parent or not ends_process):
            time.sleep(POLL)
        self._signals.request(signal.SIGTERM)
        if ends_process:
            with suppress(ProcessLookupError):
                os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(GRACE)
            os._exit(128 + signal.SIGTERM)
        with self.working:  # a task that comes later is interrupted at once
            os.close(self._lock)


def wait_for_workers(folder: Path, signals: Signals, what: str = "a worker of the former attempt") -> None:
    """Wait until the workers of a folder's former holders have ended.

    Args:
        what: is waited for, in the line that says so.

    Raises:
        Interrupted: if a signal came.
    """
    descriptor, told = os.open(folder / WORKERS, os.O_RDWR | os.O_CREAT, 0o644), False
    try:
        while True:
            signals.check()
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if not told:
                    say(f"waiting for {what} to end")
                told = True
                time.sleep(POLL)
    finally:
        os.close(descriptor)
