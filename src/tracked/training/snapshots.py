"""Snapshots of a training: one file an epoch, written atomically, verified by SHA-256, read without pickle.

A file is an .npz named ``epoch-EPOCH-SHA256.npz`` after its content. It is written to a partial file, flushed to the
disk and renamed: a process that dies at any instruction leaves only complete files. The two newest snapshots are kept;
if the newest is damaged, the one before it is used.

Arrays are stored uncompressed, and their lengths are checked before they are read.
"""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tracked.console.lines import one_line, warn
from tracked.training.files import CHECKPOINT, JOURNAL, PARTIAL, write_safely
from tracked.training.run_folder import ASIDE_FOLDER
from tracked.training.snapshot_file import FILE, NAME, Snapshot, pack, unpack

KEPT = 2


class Snapshots:
    """The snapshots in a folder.

    Args:
        needed: returns the names of the other files, such as ``best-2.keras``, that a snapshot's metadata refer to.
    """

    def __init__(self, folder: Path, needed: Callable[[dict[str, Any]], list[str]] = lambda metadata: []) -> None:
        self.folder, self._needed = folder, needed
        self._names: dict[str, list[str]] = {}  # the files that each snapshot of this process refers to

    def write(self, snapshot: Snapshot) -> None:
        """Write a snapshot, then remove the snapshots and checkpoints that the two newest do not need.

        Raises:
            OSError: if the snapshot cannot be written; earlier files stay.
        """
        content = pack(snapshot)
        name = FILE.format(epoch=snapshot.epoch, sha256=hashlib.sha256(content).hexdigest())
        write_safely(self.folder / name, lambda path: path.write_bytes(content))
        self._names[name] = self._needed(snapshot.metadata)
        self._prune(snapshot.epoch)

    def load_newest(self, use: Callable[[Snapshot], None]) -> Snapshot | None:
        """Load the newest usable snapshot: intact, and ``use`` raises no ValueError; None if there is none.

        An unusable snapshot is moved to an aside-N folder, with a warning. If none is usable, the checkpoints and the
        journal go there too, so that a version of this project that can read them has all. A missing file that a
        snapshot refers to counts as a ValueError.

        Raises:
            OSError: if a file cannot be read. After this and any other error of ``use``, no file has been moved.
        """
        unusable: list[Path] = []
        for epoch, path in self._files():
            try:
                snapshot = unpack(epoch, path)
                use(snapshot)
            except (ValueError, FileNotFoundError) as error:
                warn(f"the snapshot of epoch {epoch} is unusable ({one_line(error)}); trying the snapshot before it")
                unusable.append(path)
                continue
            self._names[path.name] = self._needed(snapshot.metadata)
            self._set_aside(unusable)
            return snapshot
        if unusable:
            rest = [path for path in self.folder.iterdir() if _is_referred_to(path.name)]
            aside = self._set_aside([*unusable, *rest])
            warn(f"no snapshot is usable: training restarts at epoch 1; the earlier files are in {aside}")
        return None

    def read_metadata(self) -> dict[str, Any]:
        """Read the metadata of the newest intact snapshot, without moving a file; empty if there is none.

        Raises:
            OSError: if a file cannot be read.
        """
        for epoch, path in self._files():
            with suppress(ValueError, FileNotFoundError):
                return unpack(epoch, path).metadata
        return {}

    @property
    def last_epoch(self) -> int:
        """The epoch of the newest snapshot, by its name; 0 if there is none."""
        return next((epoch for epoch, _ in self._files()), 0)

    def _files(self) -> list[tuple[int, Path]]:
        """Epochs and files, the newest first."""
        files = [(int(match[1]), path) for path in self.folder.glob("*") if (match := NAME.fullmatch(path.name))]
        return sorted(files, reverse=True)

    def _set_aside(self, paths: Sequence[Path]) -> Path:
        number = 1 + len(list(self.folder.glob(ASIDE_FOLDER.format(number="*"))))
        aside = self.folder / ASIDE_FOLDER.format(number=number)
        for path in paths:
            aside.mkdir(exist_ok=True)
            path.rename(aside / path.name)
        return aside

    def _prune(self, epoch: int) -> None:
        # Snapshots of later epochs belong to an abandoned history.
        kept = [path.name for number, path in self._files() if number <= epoch][:KEPT]
        names = {*kept, *(name for path in kept for name in self._names.get(path, []))}
        for path in self.folder.iterdir():
            is_own = path.name.startswith(PARTIAL) or NAME.fullmatch(path.name) or CHECKPOINT.fullmatch(path.name)
            if is_own and path.name not in names:
                path.unlink(missing_ok=True)


def _is_referred_to(name: str) -> bool:
    """Whether a snapshot may refer to a file of this name."""
    return name == JOURNAL or CHECKPOINT.fullmatch(name) is not None
