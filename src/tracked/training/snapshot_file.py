"""A snapshot's file: an .npz of arrays and JSON, read without pickle."""

import hashlib
import io
import json
import math
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tracked.console.lines import one_line

FORMAT = 1
FINGERPRINT = "facts"  # the metadata's key in format 1 for the fingerprint
FILE = "epoch-{epoch}-{sha256}.npz"
NAME = re.compile(r"epoch-(\d+)-([0-9a-f]{64})\.npz")
# Errors of zipfile and json on damaged content, beside ValueError.
UNREADABLE = (zipfile.BadZipFile, EOFError, RuntimeError)


@dataclass(frozen=True)
class Snapshot:
    """The state after an epoch: ``metadata`` as JSON, ``arrays`` in the trainee's order."""

    epoch: int
    metadata: dict[str, Any]
    arrays: list[np.ndarray]


def pack(snapshot: Snapshot) -> bytes:
    """Make the content of a snapshot's file."""
    metadata = json.dumps({"format": FORMAT, "epoch": snapshot.epoch} | snapshot.metadata).encode()
    arrays = {f"array-{number}": array for number, array in enumerate(snapshot.arrays)}
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, facts=np.frombuffer(metadata, np.uint8), **arrays)
    return content.getvalue()


def unpack(epoch: int, path: Path) -> Snapshot:
    """Read a snapshot's file.

    Raises:
        ValueError: if the content does not match the name's SHA-256, or is not a snapshot of this format.
        OSError: if the file cannot be read.
    """
    content = path.read_bytes()
    match = NAME.fullmatch(path.name)
    if match is None or hashlib.sha256(content).hexdigest() != match[2]:
        raise ValueError("damaged: the content does not match the SHA-256 in the name")
    try:
        metadata, arrays = _parsed(content)
    except UNREADABLE as error:
        raise ValueError(f"not a snapshot file ({one_line(error)})") from error
    _require_metadata(metadata, epoch)
    return Snapshot(epoch, metadata, arrays)


def _parsed(content: bytes) -> tuple[Any, list[np.ndarray]]:
    """The metadata, unchecked, and the arrays of a file."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        for member in file.infolist():
            _require_plain(file, member)
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = [f"array-{number}" for number in range(len(file.files) - 1)]
        if {*file.files} != {"facts", *arrays}:
            raise ValueError("the file has unknown members")
        return json.loads(file["facts"].tobytes()), [file[name] for name in arrays]


def _require_metadata(metadata: Any, epoch: int) -> None:
    """Check that a snapshot's metadata have all entries of this format; more are allowed.

    Raises:
        ValueError: naming the first that is missing or invalid.
    """
    if not isinstance(metadata, dict) or "format" not in metadata:
        raise ValueError("the metadata have no format")
    if metadata["format"] != FORMAT:
        raise ValueError(f"format {metadata['format']} is unknown; known: {FORMAT}")
    if metadata.get("epoch") != epoch:
        raise ValueError("the epoch differs from the name's")
    for path, fits in METADATA.items():
        value: Any = metadata
        for name in path.split("."):
            value = value.get(name, MISSING) if isinstance(value, dict) else MISSING
        if value is MISSING or not fits(value):
            raise ValueError(f"{path} is missing or invalid in format {FORMAT}")
    if metadata["checkpoint"]["epoch"] > epoch:
        raise ValueError("the checkpoint is of a later epoch")


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _are_words(value: Any, number: int) -> bool:
    """Whether a value is a list of ``number`` unsigned 32-bit numbers."""
    return isinstance(value, list) and len(value) == number and all(_is_count(word) and word < 2**32 for word in value)


def _is_python_state(value: Any) -> bool:
    """Whether a value is a state of ``random.getstate``: 624 words and a position in them, and half of a pair."""
    if not isinstance(value, list) or len(value) != 3:
        return False
    version, words, gauss = value
    return version == 3 and _are_words(words, 625) and words[-1] <= 624 and (gauss is None or _is_number(gauss))


def _is_numpy_state(value: Any) -> bool:
    """Whether a value is a state of ``numpy.random.get_state``; NumPy itself reads at any position unchecked."""
    if not isinstance(value, list) or len(value) != 5:
        return False
    name, words, position, has_gauss, gauss = value
    is_valid = name == "MT19937" and _are_words(words, 624) and _is_count(position) and position <= 624
    return is_valid and has_gauss in (0, 1) and _is_number(gauss)


MISSING = object()
METADATA: dict[str, Callable[[Any], bool]] = {
    "journal.bytes": _is_count,
    "journal.sha256": lambda value: isinstance(value, str),
    "checkpoint.epoch": _is_count,
    "checkpoint.value": lambda value: value is None or _is_number(value),
    "checkpoint.sha256": lambda value: isinstance(value, str),
    "checkpoint.data": lambda value: isinstance(value, str),
    "random.python": _is_python_state,
    "random.numpy": _is_numpy_state,
    FINGERPRINT: lambda value: isinstance(value, dict) and all(isinstance(fact, str) for fact in value.values()),
}


def _require_plain(file: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Check that an array is uncompressed and exactly as long as its member of the file."""
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError("a member is compressed")
    with file.open(member) as array:
        if np.lib.format.read_magic(array) != (1, 0):
            raise ValueError("an array is not in format 1.0 of .npy")
        try:
            shape, _, dtype = np.lib.format.read_array_header_1_0(array)
        except Exception as error:  # NumPy parses the header with Python's parser and lets its errors through
            raise ValueError(f"an array's header is unreadable ({one_line(error)})") from error
        if dtype.hasobject or math.prod(shape) * dtype.itemsize != member.file_size - array.tell():
            raise ValueError("an array's length differs from its header's")
