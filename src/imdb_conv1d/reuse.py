"""Hold what a training has derived from its texts, for the next training of the process on the same dataset.

A dataset holds the last encoding, with the last n-grams of that encoding. Large arrays lie in files without a name and
stay usable when the run folder in which they were made is removed. Each run folder gets its own kept files.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from tracked.training.files import find_kept

if TYPE_CHECKING:
    from imdb_conv1d.ids import Encoding

Value = TypeVar("Value")


class Last(Generic[Value]):
    """The value that was made last, with its key; at most one."""

    def __init__(self) -> None:
        self._held: tuple[Hashable, Value] | None = None

    def take(
        self, key: Hashable, make: Callable[[], Value], fits: Callable[[Value], bool] = lambda value: True
    ) -> Value:
        """Return the value of a key: the one held if it fits, else a new one.

        The former value is given up before the new one is made, so that no moment has both.
        """
        if self._held is None or self._held[0] != key or not fits(self._held[1]):
            self._held = None
            self._held = key, make()
        return self._held[1]


class KeptContent:
    """The content of a file that :func:`tracked.training.files.keep_file` has kept, for other run folders.

    The file stays open, so its content outlasts the run folder without a place in memory.

    Args:
        path: the file.
        is_new: whether this process made it. One that a resumed training has found may come from an earlier version of
            the code, so no new training gets it.
    """

    def __init__(self, path: Path, is_new: bool) -> None:
        self._name, self._is_new = path.name, is_new
        self._file = path.open("rb")

    def fits(self, folder: Path, name: str) -> bool:
        """Check whether a run folder's training depends on this content: it has the file, or has none of the name."""
        found = find_kept(folder, name)
        return found.name == self._name if found else self._is_new

    def read(self) -> bytes:
        """Read the content."""
        self._file.seek(0)
        return self._file.read()


@dataclass(frozen=True, eq=False)
class NgramReuse:
    """The n-grams of one encoding: the models' file, and the numbers of their n-grams, int32 [places, longest]."""

    models: Last[KeptContent] = field(default_factory=Last)
    numbers: Last[np.ndarray] = field(default_factory=Last)


@dataclass(frozen=True, eq=False)
class Prepared:
    """An encoding, its vocabulary's content, and the n-grams of its ids."""

    encoding: "Encoding"
    vocabulary: KeptContent
    ngrams: NgramReuse = field(default_factory=NgramReuse)
