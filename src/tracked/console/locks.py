"""A lock between the processes of a user on one host, which dies with the process that holds it."""

import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from tracked.console.errors import RunFailed
from tracked.console.lines import format_duration, say

WAIT_SECONDS = 1800.0  # a promotion may have two models to evaluate
SHARED = Path("/tmp")  # where a user has no folder that can be written to


@contextmanager
def lock(experiment: str, what: str, title: str, seconds: float | None = None) -> Iterator[None]:
    """Hold a lock; while another process has it, print by which and wait.

    No other user can open its file, and so hold it: a lock may be taken on what can only be read.

    Args:
        experiment: the name of the folder of its locks.
        what: is locked; processes agree on the file by it.
        title: the work that the lock is held for, in a sentence.
        seconds: to wait at most; None: ``WAIT_SECONDS``.

    Raises:
        RunFailed: if another process still has it then.
        OSError: if no private folder can be made.
    """
    path = _private_folder(experiment) / f"{hashlib.sha256(what.encode()).hexdigest()[:16]}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        _wait(descriptor, title, WAIT_SECONDS if seconds is None else seconds)
        with suppress(OSError):  # a full disk; the line is for people alone
            os.ftruncate(descriptor, 0)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            os.pwrite(descriptor, f"process {os.getpid()}, since {now}".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _wait(descriptor: int, title: str, seconds: float) -> None:
    end, waiting = time.monotonic() + seconds, False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            holder = os.pread(descriptor, 100, 0).decode(errors="replace") or "a process that has just begun"
        if not waiting:
            say(f"waiting for {title} to end: {holder}")
            waiting = True
        if time.monotonic() > end:
            raise RunFailed(f"{title} has not ended in {format_duration(seconds)}: {holder}; try again when it has")
        time.sleep(0.1)


def find_state_folder(experiment: str) -> Path:
    """Give the folder in which an experiment keeps what outlives a process, of this user."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / experiment


def _private_folder(experiment: str) -> Path:
    """Make a folder that is this user's alone.

    Raises:
        OSError: if neither the user's state folder nor ``/tmp`` takes one.
    """
    with suppress(OSError, RuntimeError):  # a home that cannot be written to, or is not known
        return _make_private(find_state_folder(experiment) / "locks")
    return _make_private(SHARED / f"{experiment}-locks-{os.getuid()}")


def _make_private(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(f"{folder} is another user's: remove it")
    folder.chmod(0o700)
    return folder
