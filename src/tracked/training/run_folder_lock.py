"""The lock of a process on a run folder."""

import fcntl
import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from tracked.console.lines import warn
from tracked.training.holder import Holder
from tracked.training.run_folder import ATTEMPTS, LOCK, compile_own_files, empty_folder, last_holder

RETRY_SECONDS = 0.5  # a listing holds the lock for a moment, and a new holder writes its name after locking


class HeldError(Exception):
    """Another process holds the run folder; the message names the process."""


class RunFolderLock:
    """At most one run folder, held by this process until the end of the ``with`` statement.

    Args:
        files: patterns of the names of the experiment's files there, beside ``OWN_FILES``.
    """

    def __init__(self, files: Sequence[str] = ()) -> None:
        self._own_files = compile_own_files(files)
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
            self.remove()  # no file was written
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def take(self, folder: Path, token: str = "") -> Path:
        """Lock a folder, which is made if missing; no effect if this lock holds the folder already.

        Args:
            token: the attempt's, signed at a new lock.

        Raises:
            HeldError: if another process holds the folder.
            OSError: if the folder cannot be made or locked.
        """
        if self.folder == folder:
            return folder
        end = time.monotonic() + RETRY_SECONDS
        while (descriptor := self._try(folder)) < 0:
            if time.monotonic() > end:
                raise HeldError(str(last_holder(folder) or "an unknown process"))
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
        """Write an attempt's token to the folder before the run has it: it proves that the folder is the run's."""
        if self.folder:
            with (self.folder / ATTEMPTS).open("a") as file:
                file.write(f"{token}\n")
                file.flush()
                os.fsync(file.fileno())

    def _try(self, folder: Path) -> int:
        """Lock, and return the lock's descriptor; -1 if another process has it, or has just removed the folder."""
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
        """Whether the folder's lock is the file that this process holds, not a later one of its name."""
        try:
            own, current = os.fstat(self._descriptor), (folder / LOCK).stat()
        except OSError:
            return False
        return (own.st_dev, own.st_ino) == (current.st_dev, current.st_ino)

    def remove(self) -> None:
        """Remove a training's files, then the folder with its lock: another process may lock it anew.

        Other files stay, with a warning. No link is followed. The lock goes last.
        """
        if self.folder and self._holds(self.folder):
            left = ["it is a link"] if self.folder.is_symlink() else empty_folder(self.folder, self._own_files)
            if left:
                warn(f"{self.folder} was not removed, since not all in it is the training's: {', '.join(left)}")
            if not self.folder.is_symlink():
                with suppress(OSError):  # another process has just locked the folder
                    # The tokens go after the files: a killed removal leaves a folder that is still the run's.
                    (self.folder / ATTEMPTS).unlink(missing_ok=True)
                    (self.folder / LOCK).unlink(missing_ok=True)
                    self.folder.rmdir()
