"""Snapshots of a training: one file an epoch, of arrays and JSON alone, whole or not there.

A file is an ordinary .npz, named ``epoch-EPOCH-SHA256.npz`` after its content. It is written aside, flushed to the disk
and then renamed, so that a process that dies at any instruction leaves the former files or the new one, complete. The
two newest are kept: one that the disk has damaged since is told by its name, and the one before it is taken.

Nothing in a file is unpickled, and no array is read that is not as long as its place in the file: arrays are stored as
they are, uncompressed.
"""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tracked.console.lines import one_line, warn
from tracked.training.files import CHECKPOINT, JOURNAL, PARTIAL, write_safely
from tracked.training.snapshot_file import NAME, Snapshot, pack, unpack

KEPT = 2


class Snapshots:
    """The snapshots in a folder.

    Args:
        needed: names of the other files in the folder, such as ``best-2.keras``, that a snapshot's facts refer to.
    """

    def __init__(self, folder: Path, needed: Callable[[dict[str, Any]], list[str]] = lambda metadata: []) -> None:
        self.folder, self._needed = folder, needed
        self._names: dict[str, list[str]] = {}  # the files that each snapshot of this process refers to

    def write(self, snapshot: Snapshot) -> None:
        """Write a snapshot down to the disk, and remove what no kept one needs.

        Raises:
            OSError: if it cannot be written; what was there is there still.
        """
        content = pack(snapshot)
        name = f"epoch-{snapshot.epoch}-{hashlib.sha256(content).hexdigest()}.npz"
        write_safely(self.folder / name, lambda path: path.write_bytes(content))
        self._names[name] = self._needed(snapshot.metadata)
        self._prune(snapshot.epoch)

    def load_newest(self, use: Callable[[Snapshot], None]) -> Snapshot | None:
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
                snapshot = unpack(epoch, path)
                use(snapshot)
            except (ValueError, FileNotFoundError) as error:
                warn(f"the snapshot of epoch {epoch} cannot be used ({one_line(error)}); going back to the one before")
                unread.append(path)
                continue
            self._names[path.name] = self._needed(snapshot.metadata)
            self._set_aside(unread)
            return snapshot
        if unread:
            rest = [path for path in self.folder.iterdir() if CHECKPOINT.fullmatch(path.name) or path.name == JOURNAL]
            place = self._set_aside([*unread, *rest])
            warn(f"no snapshot can be used, so it begins at epoch 1 again; what there was is in {place}")
        return None

    def read_metadata(self) -> dict[str, Any]:
        """Read the facts of the newest snapshot that is whole, and change nothing; empty if there is none.

        Raises:
            OSError: if one cannot be read just now.
        """
        for epoch, path in self._files():
            with suppress(ValueError, FileNotFoundError):
                return unpack(epoch, path).metadata
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
            ours = path.name.startswith(PARTIAL) or NAME.fullmatch(path.name) or CHECKPOINT.fullmatch(path.name)
            if ours and path.name not in names:
                path.unlink(missing_ok=True)


def _is_referred_to(name: str) -> bool:
    """Whether a snapshot may refer to a file of that name."""
    return name == JOURNAL or CHECKPOINT.fullmatch(name) is not None
