"""Open files of texts: packed by gzip or not, in any encoding, with a limit for what a packed file may become."""

import codecs
import gzip
import io
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tracked.console.errors import UserError

MAX_RATIO = 200  # of the unpacked size to the packed one: texts reach 20, and gzip's limit is 1,032
MIN_REFUSED = 100_000_000  # bytes below which any ratio is harmless
CHUNK = 1 << 20


def refuse_bomb(path: Path, packed: int, unpacked: int) -> None:
    """Refuse a file that becomes large beyond reason when it is unpacked."""
    if unpacked > MIN_REFUSED and unpacked > MAX_RATIO * packed:
        raise UserError(
            f"data: {path} becomes more than {MAX_RATIO} times larger when it is unpacked ({packed:,} bytes -> "
            f"{unpacked:,} and more); allowed: a file that does not, or one that is not packed"
        )


class _Unpacked(io.RawIOBase):
    """The unpacked bytes of a gzip file; reading fails with a UserError once they are too many, or damaged."""

    def __init__(self, path: Path) -> None:
        self._path, self._packed, self._done = path, path.open("rb"), 0
        self._gzip = gzip.GzipFile(fileobj=self._packed)

    @property
    def packed_position(self) -> int:
        """The position in the packed file."""
        return self._packed.tell()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            piece = self._gzip.read(len(buffer))
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise UserError(f"data: {self._path} is no complete gzip file ({error}); allowed: a complete one") from None
        self._done += len(piece)
        refuse_bomb(self._path, self._packed.tell(), self._done)
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self._packed.close()
        super().close()


def is_packed(path: Path) -> bool:
    """Check by its name whether a file is packed by gzip."""
    return path.suffix.lower() == ".gz"


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to read its bytes once, from the beginning, unpacked."""
    with path.open("rb") if not is_packed(path) else io.BufferedReader(_Unpacked(path), CHUNK) as file:
        yield file


def tell_packed(file: IO[bytes]) -> int:
    """Tell the position in the file on the disk of what :func:`open_bytes` has opened."""
    raw = getattr(file, "raw", None)
    return raw.packed_position if isinstance(raw, _Unpacked) else file.tell()


@contextmanager
def open_seekable(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to read its bytes in any order; a packed one is unpacked to a temporary file without a name."""
    if not is_packed(path):
        with path.open("rb") as file:
            yield file
        return
    with tempfile.TemporaryFile() as unpacked, open_bytes(path) as packed:
        shutil.copyfileobj(packed, unpacked, CHUNK)
        unpacked.seek(0)
        yield unpacked


@contextmanager
def open_text(path: Path, encoding: str, kind: str) -> Iterator[IO[str]]:
    """Open a file to read its text, with its line breaks as they are; a byte order mark is left out.

    Args:
        kind: what the file should be, for messages.

    Raises:
        UserError: on leaving, where the bytes are not a text in this encoding.
    """
    codec = honour_mark(encoding)
    try:
        with open_bytes(path) as file, io.TextIOWrapper(file, encoding=codec, newline="") as text:
            yield text
    except UnicodeError as error:
        raise UserError(
            f"data: {path} is not {encoding.upper()} text ({_locate(path, codec) or error}); "
            f"allowed: {kind} in {encoding.upper()} (encoding names another, such as cp1252)"
        ) from None


def honour_mark(encoding: str) -> str:
    """Name the codec of an encoding that leaves out a byte order mark."""
    return "utf-8-sig" if encoding in ("utf-8", "utf-8-sig") else encoding


def _locate(path: Path, codec: str) -> str:
    """Find the reason and the position of the first bytes that cannot be decoded; empty if all can."""
    decoder, done = codecs.getincrementaldecoder(codec)(), 0
    with open_bytes(path) as file:
        while True:
            piece = file.read(CHUNK)
            try:
                decoder.decode(piece, final=not piece)
            except UnicodeDecodeError as error:
                # The decoder has kept bytes of the piece before.
                return f"{error.reason} at byte {done - (len(error.object) - len(piece)) + error.start + 1:,}"
            except UnicodeError as error:
                return str(error)
            if not piece:
                return ""
            done += len(piece)
