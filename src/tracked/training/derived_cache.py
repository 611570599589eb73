"""Keep what trainings derive from their data for later processes, within a limit.

An entry is one file of arrays, named after its key. What a kill has cut off, what is damaged and what others may have
written is never read. Nothing here ends a training: what cannot be read or written is told in a line, and derived.

The files lie in the user's folder for caches. A setting such as ``DIABETES_CACHE_GB`` limits their size: those that
were used least recently go first, and 0 switches the cache off.
"""

import hashlib
import math
import os
import shutil
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from tracked.console.errors import UserError
from tracked.console.lines import one_line, say, warn
from tracked.console.locks import find_cache_folder, make_private
from tracked.console.parameters import refusal
from tracked.experiment import Experiment
from tracked.training.array_file import Arrays, encode_key, read_arrays, remove_unused, require_private, write_arrays
from tracked.training.files import PARTIAL

GIGABYTES = 2.0
ENDING = ".arrays"


def setting_name(experiment: str) -> str:
    """The environment variable that limits the size of an experiment's cache."""
    return f"{experiment.upper().replace('-', '_')}_CACHE_GB"


def read_limit(experiment: str) -> float:
    """Read the largest size of an experiment's cache, in bytes; 0 if there is to be none.

    Raises:
        UserError: if the setting is not a number of gigabytes.
    """
    name = setting_name(experiment)
    text = os.environ.get(name) or str(GIGABYTES)
    try:
        gigabytes = float(text)
    except ValueError:
        gigabytes = math.nan
    if not 0 <= gigabytes < math.inf:
        raise refusal(name, text, "a number of gigabytes, 0 for no cache")
    return gigabytes * 1e9


class DerivedCache:
    """What an experiment's trainings have derived, by key.

    A key is a mapping to JSON's values of all that the arrays depend on: what they are, the data, the parameters, the
    code and the versions of packages. A key that lacks one of them makes trainings wrong.

    Args:
        experiment: the experiment's name.
        is_allowed: whether what is derived may be stored; else nothing is read or written.

    Attributes:
        folder: of the entries; it may not exist.
    """

    def __init__(self, experiment: str, is_allowed: bool = True) -> None:
        self._setting, self._limit, self.folder = setting_name(experiment), 0.0, Path()
        # A wrong setting is refused where a training's data are loaded. Without a home, there is no place.
        with suppress(UserError, RuntimeError):
            self.folder = find_cache_folder(experiment) / "derived"
            self._limit = read_limit(experiment) if is_allowed else 0.0

    @classmethod
    def of(cls, experiment: Experiment, parameters: Any) -> Self:
        """Open the cache for a training, unless its parameters forbid to store its inputs."""
        switch = experiment.inputs_switch
        return cls(experiment.name, not switch or bool(getattr(parameters, switch)))

    def take(self, key: Mapping[str, Any], title: str, make: Callable[[], Arrays], *, is_told: bool = True) -> Arrays:
        """Return the arrays of a key: those that were kept, else new ones, which are kept.

        Args:
            title: what the arrays are, for messages.
            is_told: whether a line says that they were kept.
        """
        if (found := self.find(key, title)) is not None:
            if is_told:
                self.tell(title)
            return found
        made = make()
        self.keep(key, title, made)
        return made

    def find(self, key: Mapping[str, Any], title: str) -> Arrays | None:
        """Return the arrays that were kept under a key, mapped into memory; None if there are none.

        They can be written to, which does not change what is kept. An entry that is not whole, not this user's or open
        to others is removed, with a warning.
        """
        if not self._limit:
            return None
        path = self._locate(key)
        try:
            status = self.folder.lstat()
        except OSError:
            return None
        if status.st_uid != os.getuid():  # to keep arrays tells so
            return None
        try:
            require_private(status, stat.S_ISDIR, self.folder)
            arrays = read_arrays(path, key)
        except FileNotFoundError:
            return None
        except Exception as error:  # a forged file may raise any
            warn(f"{title}: what was kept is not used, as {one_line(error)}")
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):  # a file system that is read only
            os.utime(path)
        return arrays

    def tell(self, title: str) -> None:
        """Say that arrays are those of an earlier training."""
        say(f"{title}: taken from an earlier training ({self.folder})")

    def keep(self, key: Mapping[str, Any], title: str, arrays: Arrays) -> None:
        """Keep arrays under a key, with room made for them; a warning says why they are not kept."""
        if not self._limit:
            return
        size = sum(array.nbytes for array in arrays.values())
        try:
            if size > self._limit:
                raise ValueError(f"{size / 1e9:.2f} GB are more than {self._setting} allows")
            make_private(self.folder)
            if self._prune(self._limit - size) > self._limit - size:
                raise ValueError(f"what is in use leaves no room for {size / 1e9:.2f} GB")
            if size > (free := shutil.disk_usage(self.folder).free) / 2:  # the training needs some, too
                raise ValueError(f"{size / 1e9:.2f} GB are more than half of the {free / 1e9:.2f} GB that are free")
            write_arrays(self._locate(key), key, arrays)
        except (OSError, ValueError) as error:
            warn(f"{title}: not kept for later trainings ({one_line(error)})")

    def _locate(self, key: Mapping[str, Any]) -> Path:
        return self.folder / f"{hashlib.sha256(encode_key(key)).hexdigest()}{ENDING}"

    def _prune(self, limit: float) -> int:
        """Remove what kills have left, and entries until they take ``limit`` bytes, the least recently used first.

        What a process writes or has mapped stays. Returns the bytes that are left.
        """
        entries = []
        for path in self.folder.iterdir():
            with suppress(OSError):
                status = path.lstat()
                if path.name.endswith(ENDING) and not (path.name.startswith(PARTIAL) and remove_unused(path)):
                    entries.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total <= limit:
                break
            with suppress(OSError):
                total -= size * remove_unused(path)
        return total
