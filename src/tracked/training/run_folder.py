"""Where trainings keep what they need to go on, and which process holds a training.

Each has a folder by its run's id, held by one process at a time. The hold is a lock on an open file, which dies with
its process. The folder is beside a local tracking store, else in the user's state folder; a setting by the experiment's
name, such as ``DIABETES_SNAPSHOTS``, names another place.
"""

import fcntl
import json
import os
import re
import socket
import stat
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

from tracked.console.lines import one_line, warn

LOCK, ATTEMPTS = "lock", "attempts"
# All that a training leaves in its folder beside the lock, and in the folders in it where something is set aside; an
# experiment's network may leave more.
OURS = (
    r"attempts", r"journal\.jsonl", r"epoch-\d+-[0-9a-f]{64}\.npz", r"best(-\d+)?\.keras", r"rows\.parquet",
    r"history\.csv", r"early_stopping\.csv", r"training\.png", r"environment\.json",
)  # fmt: skip
KERAS_OWN = r"tmp[a-z0-9_]{8}"  # from within a checkpoint's writing, where Keras finds little memory
ASIDE = re.compile(r"aside-\d+")
PATIENCE = 0.5  # seconds in which it is tried again: it may only be looked at, or its holder has yet to say its name


def setting(experiment: str) -> str:
    """Name the environment variable that says where an experiment's trainings are kept."""
    return f"{experiment.upper().replace('-', '_')}_SNAPSHOTS"


def root(experiment: str, tracking_uri: str) -> Path:
    """Give the folder of the folders of an experiment's trainings.

    Args:
        experiment: its name.
    """
    if given := os.environ.get(setting(experiment)):
        return Path(given).expanduser().absolute()
    scheme = urlsplit(tracking_uri).scheme
    if scheme.startswith("sqlite"):
        database = tracking_uri.partition(":///")[2].partition("?")[0]
        return Path(database).absolute().parent / "snapshots"
    if scheme in ("", "file"):
        return Path(unquote(urlsplit(tracking_uri).path)).absolute().parent / "snapshots"
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / experiment / "snapshots"


@dataclass(frozen=True)
class Holder:
    """A process that holds a training; ``start`` tells it from a later one with its number, where that is known."""

    pid: int
    host: str
    since: str
    start: str = ""

    @classmethod
    def me(cls) -> Self:
        """This process."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(os.getpid(), socket.gethostname(), now, _start(os.getpid()))

    def __str__(self) -> str:
        return f"process {self.pid} on host {self.host}, since {self.since}"

    @property
    def is_here(self) -> bool:
        """Whether it is of this host."""
        return self.host == socket.gethostname()

    @property
    def is_dead(self) -> bool:
        """Whether it is known to be dead: a process of this host that does not exist, or is another one by now."""
        if not self.is_here:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # another user's
        now = _start(self.pid)
        return bool(self.start and now) and self.start != now


def _start(pid: int) -> str:
    """When a process was started, in the kernel's clock ticks; empty where the system does not tell."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


class HeldError(Exception):
    """A training is held by another process; the message says by which."""


class Claim:
    """At most one training's folder, held by this process until the end of the ``with`` statement.

    Args:
        files: patterns of the names of files that the experiment leaves there, beside ``OURS``.
    """

    def __init__(self, files: Sequence[str] = ()) -> None:
        self._ours = re.compile(rf"(partial-)?({'|'.join((*OURS, *files))})|{KERAS_OWN}")
        self.folder: Path | None = None
        self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if (
            self.folder
            and self._holds(self.folder)
            and {path.name for path in self.folder.iterdir()} <= {LOCK, ATTEMPTS}
        ):
            self.remove()  # nothing was kept
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def take(self, folder: Path, token: str = "") -> Path:
        """Hold a folder, which is made if it does not exist; one that is held already is returned as it is.

        Args:
            token: is signed with, if it is new.

        Raises:
            HeldError: if another process holds it.
            OSError: if it cannot be made, or the disk has no locks.
        """
        if self.folder == folder:
            return folder
        end = time.monotonic() + PATIENCE
        while (descriptor := self._try(folder)) < 0:
            if time.monotonic() > end:
                raise HeldError(str(told(folder) or "a process that has not said its name"))
            time.sleep(0.05)
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(asdict(Holder.me())).encode(), 0)
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor, self.folder = descriptor, folder
        if token:
            self.sign(token)
        return folder

    def sign(self, token: str) -> None:
        """Note an attempt's token in the folder, before the run has it: so a folder is known to be the run's own."""
        if self.folder:
            with (self.folder / ATTEMPTS).open("a") as file:
                file.write(f"{token}\n")
                file.flush()
                os.fsync(file.fileno())

    def _try(self, folder: Path) -> int:
        """A descriptor of the lock, held; -1 if another process has it, or has just removed the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:
            return -1
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:
                return descriptor
        except BlockingIOError:
            pass
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return -1

    def _holds(self, folder: Path) -> bool:
        """Whether the folder has the very lock that this process holds, and not one that was made since."""
        try:
            ours, there = os.fstat(self._descriptor), (folder / LOCK).stat()
        except OSError:
            return False
        return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)

    def remove(self) -> None:
        """Remove a training's files, then the folder, and with it the hold: others may take it anew.

        Whatever else is in the folder stays there, and a line says so. No link is followed. The lock goes last.
        """
        if self.folder and self._holds(self.folder):
            left = ["it is a link"] if self.folder.is_symlink() else _emptied(self.folder, self._ours)
            if left:
                warn(f"{self.folder} is not removed, as it is not a training's alone: {', '.join(left)}")
            if not self.folder.is_symlink():
                with suppress(OSError):  # somebody has just taken it
                    # By its tokens a folder is known to be the run's, also when this is killed on the way.
                    (self.folder / ATTEMPTS).unlink(missing_ok=True)
                    (self.folder / LOCK).unlink(missing_ok=True)
                    self.folder.rmdir()


def _emptied(folder: Path, ours: re.Pattern[str]) -> list[str]:
    """Remove a training's files from a folder, but its lock and its tokens; the names of what else stays."""
    left = []
    try:
        found = sorted(path for path in folder.iterdir() if path.name not in (LOCK, ATTEMPTS))
    except OSError as error:
        return [one_line(error)]
    for path in found:
        try:
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode) and ASIDE.fullmatch(path.name):
                left += [f"{path.name}/{name}" for name in _emptied(path, ours)]
                with suppress(OSError):
                    path.rmdir()
            elif stat.S_ISREG(mode) and ours.fullmatch(path.name):
                path.unlink()
            else:
                left.append(path.name)
        except OSError as error:
            left.append(one_line(error))
    return left


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
        return told(folder) or Holder(0, "unknown", "a moment ago")
    finally:
        os.close(descriptor)
    return None


def attempts(folder: Path) -> list[str]:
    """The tokens of all attempts that a folder was used for; none if it is no folder of a training's."""
    try:
        return (folder / ATTEMPTS).read_text().split()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # a ValueError: no text, or no path at all
        return []


def told(folder: Path) -> Holder | None:
    """Who held a folder last; None if that is not known."""
    try:
        return Holder(**json.loads((folder / LOCK).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def require(root: Path) -> None:
    """Make sure that trainings can be kept there: that files can be written, and locks be held.

    Raises:
        OSError: if not.
    """
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=root) as file:
        file.write(bytes(4096))
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
