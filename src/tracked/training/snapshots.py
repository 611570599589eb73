"""Snapshots of a training: one file an epoch, of arrays and JSON alone, whole or not there.

A file is an ordinary .npz, named ``epoch-EPOCH-SHA256.npz`` after its content. It is written aside, flushed to the disk
and then renamed, so that a process that dies at any instruction leaves the former files or the new one, complete. The
two newest are kept: one that the disk has damaged since is told by its name, and the one before it is taken.

Nothing in a file is unpickled, and no array is read that is not as long as its place in the file: arrays are stored as
they are, uncompressed.
"""

import errno
import fcntl
import hashlib
import io
import json
import math
import os
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tracked.console.lines import one_line, warn

FORMAT = 1
KEPT = 2
NAME = re.compile(r"epoch-(\d+)-([0-9a-f]{64})\.npz")
# What zipfile and json raise, beside a ValueError, at content that is damaged.
UNREADABLE = (zipfile.BadZipFile, EOFError, RuntimeError)
BEST = "best.keras"  # what the best checkpoint is called wherever it is stored
PARTIAL = "partial"  # how names of files begin that are being written


@dataclass(frozen=True)
class Snapshot:
    """The state after an epoch: ``facts`` are JSON, ``arrays`` come in the order in which they were given."""

    epoch: int
    facts: dict[str, Any]
    arrays: list[np.ndarray]


class Snapshots:
    """The snapshots in a folder.

    Args:
        needed: names of the other files in the folder, such as ``best-2.keras``, that a snapshot's facts refer to.
    """

    def __init__(self, folder: Path, needed: Callable[[dict[str, Any]], list[str]] = lambda facts: []) -> None:
        self.folder, self._needed = folder, needed
        self._names: dict[str, list[str]] = {}  # the files that each snapshot of this process refers to

    def write(self, snapshot: Snapshot) -> None:
        """Write a snapshot down to the disk, and remove what no kept one needs.

        Raises:
            OSError: if it cannot be written; what was there is there still.
        """
        content = _packed(snapshot)
        name = f"epoch-{snapshot.epoch}-{hashlib.sha256(content).hexdigest()}.npz"
        write_safely(self.folder / name, lambda path: path.write_bytes(content))
        self._names[name] = self._needed(snapshot.facts)
        self._prune(snapshot.epoch)

    def newest(self, use: Callable[[Snapshot], None]) -> Snapshot | None:
        """The newest snapshot that is whole and that ``use`` raises no ValueError for; None if there is none.

        A line says why another is left out. It is set aside, so that it is not taken again; if no other is usable, with
        all that it refers to, so that a version of this project that can read it still may. A file that it refers to
        and that is not there counts as a ValueError.

        Raises:
            OSError: if one cannot be read just now, which says nothing against it. This and any other error of ``use``
                leave all snapshots where they are.
        """
        unread: list[Path] = []
        for epoch, path in self._files():
            try:
                snapshot = _unpacked(epoch, path)
                use(snapshot)
            except (ValueError, FileNotFoundError) as error:
                warn(f"the snapshot of epoch {epoch} cannot be used ({one_line(error)}); going back to the one before")
                unread.append(path)
                continue
            self._names[path.name] = self._needed(snapshot.facts)
            self._set_aside(unread)
            return snapshot
        if unread:
            rest = [path for path in self.folder.iterdir() if path.name.startswith(("best-", "journal"))]
            place = self._set_aside([*unread, *rest])
            warn(f"no snapshot can be used, so it begins at epoch 1 again; what there was is in {place}")
        return None

    def facts(self) -> dict[str, Any]:
        """Read the facts of the newest snapshot that is whole, and change nothing; empty if there is none.

        Raises:
            OSError: if one cannot be read just now.
        """
        for epoch, path in self._files():
            with suppress(ValueError, FileNotFoundError):
                return _unpacked(epoch, path).facts
        return {}

    @property
    def last_epoch(self) -> int:
        """The epoch of the newest, by its name; 0 if there is none."""
        return next((epoch for epoch, _ in self._files()), 0)

    def _files(self) -> list[tuple[int, Path]]:
        """Epoch and file, the newest first."""
        found = [(int(match[1]), path) for path in self.folder.glob("epoch-*.npz") if (match := NAME.match(path.name))]
        return sorted(found, reverse=True)

    def _set_aside(self, paths: Sequence[Path]) -> Path:
        place = self.folder / f"aside-{1 + len(list(self.folder.glob('aside-*')))}"
        for path in paths:
            place.mkdir(exist_ok=True)
            path.rename(place / path.name)
        return place

    def _prune(self, epoch: int) -> None:
        # What is said to come after the one just written was trained by another history, and is none any more.
        kept = [path.name for number, path in self._files() if number <= epoch][:KEPT]
        names = {*kept, *(name for path in kept for name in self._names.get(path, []))}
        for path in self.folder.iterdir():
            if path.name.startswith((PARTIAL, "epoch-", "best-")) and path.name not in names:
                path.unlink(missing_ok=True)


def write_safely(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` make a file that is complete whenever it is there: written aside, flushed, renamed.

    Raises:
        OSError: if that fails. A former file is as before then, unless it was the last step, the flush of the folder.
    """
    aside = path.with_name(f"{PARTIAL}-{path.name}")
    try:
        write(aside)
        _flush(aside)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    _flush(path.parent)


def file_of(epoch: int) -> str:
    """The name of an epoch's checkpoint."""
    return f"best-{epoch}.keras"


def files(facts: Mapping[str, Any]) -> list[str]:
    """Names of the files that a snapshot's facts on its checkpoint, ``epoch`` and ``sha256``, refer to."""
    return [file_of(facts["epoch"])] if facts["epoch"] else []


def require_checkpoint(folder: Path, facts: Mapping[str, Any]) -> None:
    """Make sure that the checkpoint is the one that a snapshot's facts mean.

    Raises:
        ValueError: if it is not; OSError if it cannot be read.
    """
    for name in files(facts):
        if digest(folder / name) != facts["sha256"]:
            raise ValueError(f"the checkpoint {name} is damaged")


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush(descriptor: int) -> None:
    """Down to the medium; on macOS, fsync alone stops at the disk's own memory."""
    if hasattr(fcntl, "F_FULLFSYNC"):
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fsync(descriptor)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        flush(descriptor)
    except OSError as error:
        # Some network disks flush no folders, and need not.
        if not (path.is_dir() and error.errno in (errno.EINVAL, errno.ENOTSUP, errno.EBADF)):
            raise
    finally:
        os.close(descriptor)


def _packed(snapshot: Snapshot) -> bytes:
    facts = json.dumps({"format": FORMAT, "epoch": snapshot.epoch} | snapshot.facts).encode()
    arrays = {f"array-{number}": array for number, array in enumerate(snapshot.arrays)}
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, facts=np.frombuffer(facts, np.uint8), **arrays)
    return content.getvalue()


def _unpacked(epoch: int, path: Path) -> Snapshot:
    content = path.read_bytes()
    match = NAME.match(path.name)
    if match is None or hashlib.sha256(content).hexdigest() != match[2]:
        raise ValueError("its content is not what its name says: it is damaged")
    try:
        facts, arrays = _parsed(content)
    except UNREADABLE as error:
        raise ValueError(f"its content is none that this project writes ({one_line(error)})") from error
    _require_facts(facts, epoch)
    return Snapshot(epoch, facts, arrays)


def _parsed(content: bytes) -> tuple[Any, list[np.ndarray]]:
    """The facts and the arrays of a file, whatever they are."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        for member in file.infolist():
            _require_plain(file, member)
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = [f"array-{number}" for number in range(len(file.files) - 1)]
        if {*file.files} != {"facts", *arrays}:
            raise ValueError("it holds other members than this project writes")
        return json.loads(file["facts"].tobytes()), [file[name] for name in arrays]


def _require_facts(facts: Any, epoch: int) -> None:
    """Make sure that a snapshot's facts are those of this format; others than are known here may stand beside them.

    Raises:
        ValueError: naming the first that is not.
    """
    if not isinstance(facts, dict) or "format" not in facts:
        raise ValueError("it does not say its format")
    if facts["format"] != FORMAT:
        raise ValueError(f"it has format {facts['format']}, and here format {FORMAT} is known")
    if facts.get("epoch") != epoch:
        raise ValueError("it is of another epoch than its name says")
    for path, fits in FACTS.items():
        value: Any = facts
        for name in path.split("."):
            value = value.get(name, MISSING) if isinstance(value, dict) else MISSING
        if value is MISSING or not fits(value):
            raise ValueError(f"its {path} is not what a snapshot of format {FORMAT} has")
    if facts["checkpoint"]["epoch"] > epoch:
        raise ValueError("its checkpoint is of a later epoch")


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _are_words(value: Any, number: int) -> bool:
    """Whether a value is a list of so many numbers of 32 bits."""
    return isinstance(value, list) and len(value) == number and all(_is_count(word) and word < 2**32 for word in value)


def _is_python_state(value: Any) -> bool:
    """Whether a value is what ``random.getstate`` gives: 624 words and a place among them, and half of a pair."""
    if not isinstance(value, list) or len(value) != 3:
        return False
    version, words, gauss = value
    return version == 3 and _are_words(words, 625) and words[-1] <= 624 and (gauss is None or _is_number(gauss))


def _is_numpy_state(value: Any) -> bool:
    """Whether a value is what ``numpy.random.get_state`` gives; NumPy takes any place, and reads there."""
    if not isinstance(value, list) or len(value) != 5:
        return False
    name, words, place, has_gauss, gauss = value
    known = name == "MT19937" and _are_words(words, 624) and _is_count(place) and place <= 624
    return known and has_gauss in (0, 1) and _is_number(gauss)


MISSING = object()
FACTS: dict[str, Callable[[Any], bool]] = {
    "journal.bytes": _is_count,
    "journal.sha256": lambda value: isinstance(value, str),
    "checkpoint.epoch": _is_count,
    "checkpoint.value": lambda value: value is None or _is_number(value),
    "checkpoint.sha256": lambda value: isinstance(value, str),
    "checkpoint.data": lambda value: isinstance(value, str),
    "random.python": _is_python_state,
    "random.numpy": _is_numpy_state,
    "facts": lambda value: isinstance(value, dict) and all(isinstance(fact, str) for fact in value.values()),
}


def _require_plain(file: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Make sure that an array is stored as it is, and is as long as its place."""
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError("it holds something compressed, which this project does not write")
    with file.open(member) as array:
        if np.lib.format.read_magic(array) != (1, 0):
            raise ValueError("it holds an array in a form that this project does not write")
        try:
            shape, _, dtype = np.lib.format.read_array_header_1_0(array)
        except Exception as error:  # NumPy has Python's parser read it, and lets its errors through
            raise ValueError(f"it holds an array that does not say its form ({one_line(error)})") from error
        if dtype.hasobject or math.prod(shape) * dtype.itemsize != member.file_size - array.tell():
            raise ValueError("it holds an array that is not as long as it says")
