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
from tracked.console.lines import format_duration, say

WAIT_SECONDS = 1800.0  # a promotion may evaluate two models
SHARED = Path("/tmp")  # for users without a writable home


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
        RunFailed: if another process still holds the lock after the wait.
        OSError: if no private folder can be made.
    """
    path = _private_folder(experiment) / f"{hashlib.sha256(resource.encode()).hexdigest()[:16]}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        _wait(descriptor, title, WAIT_SECONDS if seconds is None else seconds)
        with suppress(OSError):  # a full disk; the line is informative only
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


def _private_folder(experiment: str) -> Path:
    """Make a private folder of this user.

    Raises:
        OSError: if neither the user's state folder nor ``/tmp`` is writable.
    """
    with suppress(OSError, RuntimeError):  # a home that is read-only or unknown
        return _make_private(find_state_folder(experiment) / "locks")
    return _make_private(SHARED / f"{experiment}-locks-{os.getuid()}")


def _make_private(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user; remove it")
    folder.chmod(0o700)
    return folder
