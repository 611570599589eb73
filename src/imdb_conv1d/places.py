"""Where trainings keep what they need to go on, and which process holds a training.

Each has a folder by its run's id, held by one process at a time. The hold is a lock on an open file, which dies with
its process. The folder is beside a local tracking store, else in the user's state folder; ``IMDB_CONV1D_SNAPSHOTS``
names another place.
"""

import fcntl
import json
import os
import shutil
import socket
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

SETTING = "IMDB_CONV1D_SNAPSHOTS"
LOCK = "lock"
PATIENCE = 0.5  # seconds in which it is tried again: it may only be looked at, or its holder has yet to say its name


def root(tracking_uri: str) -> Path:
    """The folder of all trainings' folders."""
    if given := os.environ.get(SETTING):
        return Path(given).expanduser().absolute()
    scheme = urlsplit(tracking_uri).scheme
    if scheme.startswith("sqlite"):
        database = tracking_uri.partition(":///")[2].partition("?")[0]
        return Path(database).absolute().parent / "snapshots"
    if scheme in ("", "file"):
        return Path(urlsplit(tracking_uri).path).absolute().parent / "snapshots"
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "imdb-conv1d" / "snapshots"


@dataclass(frozen=True)
class Holder:
    """A process that holds a training."""

    pid: int
    host: str
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} on host {self.host}, since {self.since}"

    @property
    def is_here(self) -> bool:
        """Whether it is of this host."""
        return self.host == socket.gethostname()

    @property
    def is_dead(self) -> bool:
        """Whether it is known to be dead: a process of this host that does not exist."""
        if not self.is_here:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False


class HeldError(Exception):
    """A training is held by another process; the message says by which."""


class Claim:
    """At most one training's folder, held by this process until the end of the ``with`` statement."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.folder and self.folder.exists() and [path.name for path in self.folder.iterdir()] == [LOCK]:
            self.remove()  # nothing was kept
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def take(self, folder: Path) -> Path:
        """Hold a folder, which is made if it does not exist; one that is held already is returned as it is.

        Raises:
            HeldError: if another process holds it.
            OSError: if it cannot be made.
        """
        if self.folder == folder:
            return folder
        end = time.monotonic() + PATIENCE
        while True:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # The one before may have removed the folder between our opening of the file and its end.
                if os.fstat(descriptor).st_nlink:
                    break
            except BlockingIOError:
                if time.monotonic() > end:
                    os.close(descriptor)
                    raise HeldError(str(_told(folder) or "a process that has not said its name")) from None
            os.close(descriptor)
            time.sleep(0.05)
        me = Holder(os.getpid(), socket.gethostname(), datetime.now(UTC).isoformat(timespec="seconds"))
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(asdict(me)).encode(), 0)
        self._descriptor, self.folder = descriptor, folder
        return folder

    def remove(self) -> None:
        """Remove the folder; it stays held, so that nobody takes it for an unfinished one meanwhile."""
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)


def holder(folder: Path) -> Holder | None:
    """Who holds a folder; None if nobody does, or there is none.

    Raises:
        OSError: if that cannot be found out.
    """
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _told(folder) or Holder(0, "unknown", "a moment ago")
    finally:
        os.close(descriptor)
    return None


def _told(folder: Path) -> Holder | None:
    try:
        return Holder(**json.loads((folder / LOCK).read_text()))
    except (OSError, ValueError, TypeError):
        return None
