"""A lock between a user's processes on one host. The end of its holder releases it."""

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
from tracked.console.lines import format_duration, one_line, say

WAIT_SECONDS = 1800.0  # a promotion may evaluate two models
SHARED = Path("/tmp")


@contextmanager
def lock(experiment: str, resource: str, title: str, seconds: float | None = None) -> Iterator[None]:
    """Hold the lock of a resource; while another process holds it, print the holder and wait.

    Lock files are private, as another user could otherwise hold the lock with read access alone.

    Args:
        experiment: the experiment's name, which names the folder of its locks.
        resource: the name of what is locked; the lock file's name derives from it.
        title: the locked work, for messages.
        seconds: the longest wait; None: ``WAIT_SECONDS``.

    Raises:
        RunFailed: if another process still holds the lock after the wait, or no folder can hold a lock.
    """
    descriptor = _open(experiment, f"{hashlib.sha256(resource.encode()).hexdigest()[:16]}.lock", title)
    try:
        _wait(descriptor, title, WAIT_SECONDS if seconds is None else seconds)
        with suppress(OSError):  # a full disk; the line is informative only
            os.ftruncate(descriptor, 0)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            os.pwrite(descriptor, f"process {os.getpid()}, since {now}".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _open(experiment: str, name: str, title: str) -> int:
    """Open the lock's file in the first folder that can hold a lock; it may be held already.

    ``/tmp`` comes first: it is local, and the same for a shell and for a daemon without a home.
    """
    reasons = []
    for folder in (SHARED / f"{experiment}-locks-{os.getuid()}", find_state_folder(experiment) / "locks"):
        try:
            make_private(folder)
            descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                with suppress(BlockingIOError):
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            except OSError:  # a file system without locks
                os.close(descriptor)
                raise
        except (OSError, RuntimeError) as error:  # RuntimeError: the home is unknown
            reasons.append(one_line(error))
    raise RunFailed(f"{title} cannot be kept out: no folder can hold a lock ({'; '.join(reasons)})")


def _wait(descriptor: int, title: str, seconds: float) -> None:
    end, waiting = time.monotonic() + seconds, False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            holder = os.pread(descriptor, 100, 0).decode(errors="replace") or "a process that has just started"
        if not waiting:
            say(f"waiting for {title} to end: {holder}")
            waiting = True
        if time.monotonic() > end:
            raise RunFailed(f"{title} has not ended within {format_duration(seconds)}: {holder}; try again later")
        time.sleep(0.1)


def find_state_folder(experiment: str) -> Path:
    """Find this user's folder for an experiment's persistent state."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / experiment


def find_cache_folder(experiment: str) -> Path:
    """Find this user's folder for what an experiment can make again.

    Raises:
        RuntimeError: if the user's home is unknown.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().absolute() / experiment


def make_private(folder: Path) -> None:
    """Make a folder that only this user can read, if it is missing, and close it to others.

    Raises:
        OSError: if it cannot be made, or belongs to another user.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user; remove it")
    folder.chmod(0o700)
