"""A snapshot as a file: an ordinary .npz of arrays and JSON, of which nothing is unpickled."""

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
FINGERPRINT = "facts"  # the key, in format 1, of what equal bits depend on
NAME = re.compile(r"epoch-(\d+)-([0-9a-f]{64})\.npz")
# What zipfile and json raise, beside a ValueError, at content that is damaged.
UNREADABLE = (zipfile.BadZipFile, EOFError, RuntimeError)


@dataclass(frozen=True)
class Snapshot:
    """The state after an epoch: ``metadata`` is JSON, ``arrays`` come in the order in which they were given."""

    epoch: int
    metadata: dict[str, Any]
    arrays: list[np.ndarray]


def pack(snapshot: Snapshot) -> bytes:
    """Give the content of a snapshot's file."""
    metadata = json.dumps({"format": FORMAT, "epoch": snapshot.epoch} | snapshot.metadata).encode()
    arrays = {f"array-{number}": array for number, array in enumerate(snapshot.arrays)}
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, facts=np.frombuffer(metadata, np.uint8), **arrays)
    return content.getvalue()


def unpack(epoch: int, path: Path) -> Snapshot:
    """Read a snapshot's file.

    Raises:
        ValueError: if its content is not what its name says, or none that this project writes.
        OSError: if it cannot be read just now.
    """
    content = path.read_bytes()
    match = NAME.match(path.name)
    if match is None or hashlib.sha256(content).hexdigest() != match[2]:
        raise ValueError("its content is not what its name says: it is damaged")
    try:
        metadata, arrays = _parsed(content)
    except UNREADABLE as error:
        raise ValueError(f"its content is none that this project writes ({one_line(error)})") from error
    _require_metadata(metadata, epoch)
    return Snapshot(epoch, metadata, arrays)


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


def _require_metadata(metadata: Any, epoch: int) -> None:
    """Make sure that a snapshot's facts are those of this format; others than are known here may stand beside them.

    Raises:
        ValueError: naming the first that is not.
    """
    if not isinstance(metadata, dict) or "format" not in metadata:
        raise ValueError("it does not say its format")
    if metadata["format"] != FORMAT:
        raise ValueError(f"it has format {metadata['format']}, and here format {FORMAT} is known")
    if metadata.get("epoch") != epoch:
        raise ValueError("it is of another epoch than its name says")
    for path, fits in METADATA.items():
        value: Any = metadata
        for name in path.split("."):
            value = value.get(name, MISSING) if isinstance(value, dict) else MISSING
        if value is MISSING or not fits(value):
            raise ValueError(f"its {path} is not what a snapshot of format {FORMAT} has")
    if metadata["checkpoint"]["epoch"] > epoch:
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
