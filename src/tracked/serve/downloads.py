"""The folder of downloaded versions: an endpoint's own, removed with it or, after a kill, by a later one."""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

MARK = ".endpoint"  # a file in an endpoint's folder: folders of other names may look alike


class Downloads:
    """A folder in the system's temporary one, locked as long as the endpoint lives.

    The lock also keeps systemd-tmpfiles from removing what a scorer that is replaced has to read again.
    """

    def __init__(self, name: str) -> None:
        prefix, self._count, self._is_closed = f"{name}-serve-", 0, False
        _remove_left(Path(tempfile.gettempdir()), prefix)
        self._folder = Path(tempfile.mkdtemp(prefix=prefix))
        self._lock = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        (self._folder / MARK).touch()  # once it is locked: others remove no folder without it

    def name(self) -> Path:
        """Name a folder for one version, which is not made yet."""
        self._count += 1
        return self._folder / str(self._count)

    def remove(self, folder: Path) -> None:
        """Remove a version's folder; all of them once closed, as a download in another thread cannot be broken off."""
        shutil.rmtree(self._folder if self._is_closed else folder, ignore_errors=True)

    def close(self) -> None:
        """Remove all."""
        self._is_closed = True
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._lock)

    @property
    def is_closed(self) -> bool:
        """Whether all was removed."""
        return self._is_closed


def _remove_left(place: Path, prefix: str) -> None:
    """Remove the folders of endpoints that were killed: this user's, with the mark, that nobody holds."""
    for folder in place.glob(f"{prefix}*"):
        with suppress(OSError):  # another endpoint's, or somebody else's
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if (folder / MARK).is_file() and os.fstat(lock).st_uid == os.getuid():
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
