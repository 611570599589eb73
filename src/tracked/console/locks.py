"""A lock between the processes of one host, which dies with the process that holds it."""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FOLDER = Path("/tmp")  # not TMPDIR, which may be another one for each user


@contextmanager
def lock(experiment: str, what: str, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of that name; wait for it as long as another process does.

    Args:
        experiment: its name, which the file's name begins with.
        what: a name for what is locked; processes of all users of the host agree on the file by it.
        waiting: is called once if it has to be waited for.
    """
    path = FOLDER / f"{experiment}-{hashlib.sha256(what.encode()).hexdigest()[:16]}.lock"
    # Systems that guard /tmp refuse to create a file over another user's, but not to read it; reading is enough.
    with suppress(FileExistsError):
        made = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDONLY, 0o644)
        os.fchmod(made, 0o644)  # whatever this user's umask is
        os.close(made)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
