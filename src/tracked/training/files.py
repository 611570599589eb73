"""Files in a training's folder: written whole or not at all, named, checked by their content."""

import errno
import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

BEST = "best.keras"  # what the best checkpoint is called wherever it is stored
JOURNAL = "journal.jsonl"
# What a training leaves at its run, beside the checkpoint.
HISTORY, EARLY_STOPPING, CURVES = "history.csv", "early_stopping.csv", "training.png"
ROWS, ENVIRONMENT = "rows.parquet", "environment.json"
CHECKPOINT = re.compile(r"best-(\d+)\.keras")  # as :func:`checkpoint_name` names them
PARTIAL = "partial"  # how names of files begin that are being written


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


def checkpoint_name(epoch: int) -> str:
    """The name of an epoch's checkpoint."""
    return f"best-{epoch}.keras"


def snapshot_files(checkpoint: Mapping[str, Any]) -> list[str]:
    """Names of the files that a snapshot's facts on its checkpoint, ``epoch`` and ``sha256``, refer to."""
    return [checkpoint_name(checkpoint["epoch"])] if checkpoint["epoch"] else []


def require_checkpoint(folder: Path, checkpoint: Mapping[str, Any]) -> None:
    """Make sure that the checkpoint is the one that a snapshot's facts mean.

    Raises:
        ValueError: if it is not; OSError if it cannot be read.
    """
    for name in snapshot_files(checkpoint):
        if sha256_of(folder / name) != checkpoint["sha256"]:
            raise ValueError(f"the checkpoint {name} is damaged")


def sha256_of(path: Path) -> str:
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
