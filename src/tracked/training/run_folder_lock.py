"""The hold of a process on a training's folder."""

import fcntl
import json
import os
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from tracked.console.lines import warn
from tracked.training.holder import Holder
from tracked.training.run_folder import ATTEMPTS, KERAS_TEMPORARY, LOCK, OWN_FILES, empty_folder, last_holder

RETRY_SECONDS = 0.5  # a listing holds the lock for a moment, and a new holder writes its name after locking


class HeldError(Exception):
    """A training is held by another process; the message says by which."""


class RunFolderLock:
    """At most one training's folder, held by this process until the end of the ``with`` statement.

    Args:
        files: patterns of the names of files that the experiment leaves there, beside ``OWN_FILES``.
    """

    def __init__(self, files: Sequence[str] = ()) -> None:
        self._ours = re.compile(rf"(partial-)?({'|'.join((*OWN_FILES, *files))})|{KERAS_TEMPORARY}")
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
        end = time.monotonic() + RETRY_SECONDS
        while (descriptor := self._try(folder)) < 0:
            if time.monotonic() > end:
                raise HeldError(str(last_holder(folder) or "a process that has not said its name"))
            time.sleep(0.05)
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(asdict(Holder.this_process())).encode(), 0)
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
            left = ["it is a link"] if self.folder.is_symlink() else empty_folder(self.folder, self._ours)
            if left:
                warn(f"{self.folder} is not removed, as it is not a training's alone: {', '.join(left)}")
            if not self.folder.is_symlink():
                with suppress(OSError):  # somebody has just taken it
                    # By its tokens a folder is known to be the run's, also when this is killed on the way.
                    (self.folder / ATTEMPTS).unlink(missing_ok=True)
                    (self.folder / LOCK).unlink(missing_ok=True)
                    self.folder.rmdir()
