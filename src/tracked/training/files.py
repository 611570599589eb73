"""Files in a run folder: their names, atomic writes, checks by SHA-256."""

import errno
import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

BEST = "best.keras"  # the best checkpoint's name in the run's artifacts
JOURNAL = "journal.jsonl"
# Artifacts of a training, beside the checkpoint.
HISTORY, EARLY_STOPPING, CURVES = "history.csv", "early_stopping.csv", "training.png"
ROWS, ENVIRONMENT = "rows.parquet", "environment.json"
RANGE_TABLE, RANGE_PICTURE = "rate_range.csv", "rate_range.png"
EPOCH_CHECKPOINT = "best-{epoch}.keras"
CHECKPOINT = re.compile(r"best-(\d+)\.keras")  # the names of :func:`checkpoint_name`
PARTIAL = "partial"  # prefix of a file that is being written


def write_safely(path: Path, write: Callable[[Path], object], token: str = "") -> None:
    """Write a file atomically: to a partial file, flushed to the disk, then renamed.

    Args:
        token: in the partial file's name, where several processes might write it at once.

    Raises:
        OSError: if a step fails. An earlier file is unchanged then, unless the last step, the folder's flush, failed.
    """
    partial = path.with_name("-".join(filter(None, [PARTIAL, token, path.name])))
    try:
        write(partial)
        _flush(partial)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _flush(path.parent)


def checkpoint_name(epoch: int) -> str:
    """The file name of an epoch's checkpoint."""
    return EPOCH_CHECKPOINT.format(epoch=epoch)


def snapshot_files(checkpoint: Mapping[str, Any]) -> list[str]:
    """Names of the files that a snapshot needs, by its metadata's ``checkpoint``: none before the first save."""
    return [checkpoint_name(checkpoint["epoch"])] if checkpoint["epoch"] else []


def require_checkpoint(folder: Path, checkpoint: Mapping[str, Any]) -> None:
    """Check the checkpoint's file against the ``sha256`` of a snapshot's metadata.

    Raises:
        ValueError: if the file is damaged.
        OSError: if the file cannot be read.
    """
    for name in snapshot_files(checkpoint):
        if sha256_of(folder / name) != checkpoint["sha256"]:
            raise ValueError(f"checkpoint {name} is damaged")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def keep_file(folder: Path, name: str, make: Callable[[], bytes]) -> Path:
    """Return the file of a name in a run folder: an existing complete one, else a new one, written atomically.

    What a training has derived from its data once stays the same in every resume, whatever the code is then.

    Args:
        name: with ``{sha256}`` in place of the content's digest.

    Raises:
        OSError: if it cannot be written.
    """
    if existing := find_kept(folder, name):
        return existing
    content = make()
    path = folder / name.format(sha256=hashlib.sha256(content).hexdigest())
    write_safely(path, lambda to: to.write_bytes(content))
    return path


def find_kept(folder: Path, name: str) -> Path | None:
    """Find the file that :func:`keep_file` has kept, by the digest in its name; None if there is no complete one."""
    paths = folder.glob(name.format(sha256="*"))
    return next((path for path in paths if path.name == name.format(sha256=sha256_of(path))), None)


def flush(descriptor: int) -> None:
    """Flush an open file to the medium; on macOS, fsync alone stops at the disk's cache."""
    if hasattr(fcntl, "F_FULLFSYNC"):
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fsync(descriptor)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        flush(descriptor)
    except OSError as error:
        # Some network file systems cannot flush a folder, and do not need to.
        if not (path.is_dir() and error.errno in (errno.EINVAL, errno.ENOTSUP, errno.EBADF)):
            raise
    finally:
        os.close(descriptor)
