"""Arrays in one file that is checked whenever it is read, and read by its owner alone.

It has the SHA-256 of all that follows, a line of JSON with its key and what the arrays are, and the arrays themselves.
"""

import fcntl
import hashlib
import json
import math
import mmap
import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np

from tracked.training.files import PARTIAL, flush

Arrays: TypeAlias = Mapping[str, np.ndarray]

FORMAT = 1
ALIGNMENT = 64  # bytes: TensorFlow shares the memory of an array that starts at a multiple
DIGEST = 32  # bytes of a SHA-256
MAX_HEAD = 1 << 20  # bytes
CHUNK = 1 << 20  # bytes read at once


def encode_key(key: Mapping[str, Any]) -> bytes:
    """Encode a key, a mapping to JSON's values, so that equal keys have equal bytes."""
    return json.dumps({"format": FORMAT, "order": sys.byteorder, "key": key}, sort_keys=True).encode()


def require_private(status: os.stat_result, is_kind: Callable[[int], bool], path: Path) -> None:
    """Check that a file or folder is this user's, and closed to others.

    Raises:
        ValueError: if it is not, or is of another kind.
    """
    if not is_kind(status.st_mode) or status.st_uid != os.getuid():
        raise ValueError(f"{path} is not this user's own")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise ValueError(f"{path} is open to others")


def read_arrays(path: Path, key: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Map the arrays of a file into memory, after checking all of it.

    They can be written to, which does not change the file, and start at multiples of ``ALIGNMENT``. As long as one of
    them is there, :func:`remove_unused` leaves the file alone.

    Raises:
        OSError: if it cannot be read.
        Exception: if it is not whole, private and of this key; a ValueError, unless somebody has forged it.
    """
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        require_private(status := os.fstat(file.fileno()), stat.S_ISREG, path)
        # By reads: they raise an error of the disk, which would end the process if it were met in mapped memory.
        digest, found = file.read(DIGEST), hashlib.sha256()
        while chunk := file.read(CHUNK):
            found.update(chunk)
        if found.digest() != digest:
            raise ValueError(f"{path} is damaged")
        file.seek(DIGEST)
        head = json.loads(file.readline(MAX_HEAD))
        if encode_key(head["key"]) != encode_key(key):
            raise ValueError(f"{path} is of something else")
        at, arrays = file.tell(), {}
        with suppress(OSError):  # the lock lasts as long as the mapping
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        mapped = mmap.mmap(file.fileno(), status.st_size, access=mmap.ACCESS_COPY)
    for name, kind, shape in head["arrays"]:
        arrays[name] = np.frombuffer(mapped, np.dtype(kind), math.prod(shape), at).reshape(shape)
        at += _pad(arrays[name].nbytes)
    return arrays


def write_arrays(path: Path, key: Mapping[str, Any], arrays: Arrays) -> None:
    """Write a file atomically, for its owner alone.

    Raises:
        OSError: if a step fails; what was there before is unchanged then.
    """
    described = [(name, array.dtype.str, array.shape) for name, array in arrays.items()]
    head = json.dumps({"key": key, "arrays": described}).encode()
    pieces: list[bytes | memoryview] = [head.ljust(_pad(DIGEST + len(head) + 1) - DIGEST - 1) + b"\n"]
    for array in arrays.values():
        pieces.append(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        pieces.append(bytes(_pad(array.nbytes) - array.nbytes))
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    with _write_beside(path) as file:
        file.write(digest.digest())
        for piece in pieces:
            file.write(piece)


def remove_unused(path: Path) -> bool:
    """Remove a file, unless a process is writing it or has mapped its arrays; returns whether it is gone.

    Raises:
        OSError: if it cannot be removed.
    """
    with suppress(FileNotFoundError), path.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            pass
        path.unlink()  # with the lock: who waits for it finds the file gone
    return True


@contextmanager
def _write_beside(path: Path) -> Iterator[BinaryIO]:
    """Write to a partial file within the block; after a block without an error, flush and rename it."""
    partial = path.with_name(f"{PARTIAL}-{secrets.token_hex(8)}-{path.name}")
    with open(_create_locked(partial), "wb") as file:
        try:
            yield file
            file.flush()
            flush(file.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def _create_locked(path: Path) -> int:
    """Create a file that :func:`remove_unused` leaves alone as long as it is open; returns its descriptor."""
    while True:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)  # another process has taken it for what a kill has left


def _pad(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
