"""Snapshots of a training: one file an epoch, of arrays and JSON alone, whole or not there.

A file is an ordinary .npz, named ``epoch-EPOCH-SHA256.npz`` after its content. It is written aside, flushed to the disk
and then renamed, so that a process that dies at any instruction leaves the former files or the new one, complete. The
two newest are kept: one that the disk has damaged since is told by its name, and the one before it is taken.

Nothing in a file is unpickled, and no size that it claims is believed: the arrays are stored as they are, uncompressed,
so they cannot be larger than the file.
"""

import hashlib
import io
import json
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imdb_conv1d.console import one_line, warn

FORMAT = 1
KEPT = 2
NAME = re.compile(r"epoch-(\d+)-([0-9a-f]{64})\.npz")
PARTIAL = "partial"  # how names of files begin that are being written


@dataclass(frozen=True)
class Snapshot:
    """The state after an epoch: ``facts`` are JSON, ``arrays`` come in the order in which they were given."""

    epoch: int
    facts: dict[str, Any]
    arrays: list[np.ndarray]


class Snapshots:
    """The snapshots in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, snapshot: Snapshot, needed: Callable[[dict[str, Any]], Sequence[str]] = lambda facts: ()) -> None:
        """Write a snapshot down to the disk, and remove what no kept one needs.

        Args:
            needed: names of other files in the folder, named like ``best-2.keras``, that a snapshot's facts refer to.

        Raises:
            OSError: if it cannot be written; what was there is as before.
        """
        content = _packed(snapshot)
        name = f"epoch-{snapshot.epoch}-{hashlib.sha256(content).hexdigest()}.npz"
        write_safely(self.folder / name, lambda path: path.write_bytes(content))
        self._prune(snapshot.epoch, needed)

    def newest(self, usable: Callable[[Snapshot], None]) -> Snapshot | None:
        """The newest snapshot that is whole and that ``usable`` raises no exception for; None if there is none.

        A line says why another is left out; it is renamed, so that it is neither taken nor counted again.
        """
        for epoch, path in self._files():
            try:
                snapshot = _unpacked(epoch, path)
                usable(snapshot)
                return snapshot
            except Exception as error:  # whatever is in the file, it must not end the program
                warn(f"the snapshot of epoch {epoch} cannot be used ({one_line(error)}); going back to the one before")
                path.rename(path.with_suffix(".damaged"))
        return None

    @property
    def last_epoch(self) -> int:
        """The epoch of the newest, by its name; 0 if there is none."""
        return next((epoch for epoch, _ in self._files()), 0)

    def _files(self) -> Iterator[tuple[int, Path]]:
        """Epoch and file, the newest first."""
        found = [(int(match[1]), path) for path in self.folder.glob("epoch-*.npz") if (match := NAME.match(path.name))]
        yield from sorted(found, key=lambda item: (item[0], item[1].stat().st_mtime), reverse=True)

    def _prune(self, epoch: int, needed: Callable[[dict[str, Any]], Sequence[str]]) -> None:
        files = list(self._files())
        # What is said to come after the one just written was trained by another history, and is none any more.
        kept = [path for number, path in files if number <= epoch][:KEPT]
        names = {path.name for path in kept} | {name for path in kept for name in needed(_facts(path))}
        for path in self.folder.iterdir():
            ours = path.name.startswith((PARTIAL, "epoch-", "best-")) and not path.name.endswith(".damaged")
            if ours and path.name not in names:
                path.unlink(missing_ok=True)


def write_safely(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` make a file that is complete whenever it is there: written aside, flushed, renamed.

    Raises:
        OSError: if that fails; nothing of it is left, and a former file is as before.
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


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
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
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        if any(member.compress_type != zipfile.ZIP_STORED for member in file.infolist()):
            raise ValueError("it holds something compressed, which this project does not write")
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        facts = json.loads(file["facts"].tobytes())
        if facts["format"] != FORMAT:
            raise ValueError(f"it has format {facts['format']}, and here format {FORMAT} is known")
        if facts["epoch"] != epoch:
            raise ValueError("it is of another epoch than its name says")
        return Snapshot(epoch, facts, [file[f"array-{number}"] for number in range(len(file.files) - 1)])


def _facts(path: Path) -> dict[str, Any]:
    """What a snapshot of this format says, without its arrays."""
    with np.load(path, allow_pickle=False) as file:
        return dict(json.loads(file["facts"].tobytes()))
