"""Read a request's body within limits of size and time, also a packed one."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tracked.serve.refusals import Refusal

WBITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # what zlib calls its formats
MAX_MEMBERS = 100  # of a gzip stream; each costs time, also an empty one


class ClientGone(Exception):
    """The client closed the connection before the whole body had arrived: there is nobody to answer."""


async def read_body(
    scope: Mapping[str, Any], receive: Callable[[], Awaitable[Mapping[str, Any]]], max_body: int, seconds: float
) -> bytes:
    """Read a body, unpacked. Neither what arrives nor what is unpacked of it grows beyond ``max_body`` and a chunk.

    Args:
        scope: of ASGI; ``receive`` is, too.
        max_body: bytes, packed and unpacked.
        seconds: for the whole body.

    Raises:
        Refusal: 400, if it is packed wrongly; 408, if it is late; 413, if it is too large; 415, if it is packed
            otherwise than by gzip or deflate.
        ClientGone: if the client is gone.
    """
    length, encoding = _read_headers(scope["headers"])
    unpacker = _choose_unpacker(encoding, max_body)
    # The server checks that these are digits; Python's int takes thousands of them, but not any number.
    if length.isdigit() and (len(length) > 20 or int(length) > max_body):
        raise _refuse_size(max_body)
    try:
        async with asyncio.timeout(seconds) as timer:
            body = await _receive_all(receive, unpacker, max_body)
    except TimeoutError:
        if not timer.expired():
            raise
        fault = f"the body did not arrive within {seconds:g} seconds"
        raise Refusal(408, f"{fault}; send it faster, or fewer rows at a time", {"Connection": "close"}) from None
    return body


async def _receive_all(
    receive: Callable[[], Awaitable[Mapping[str, Any]]], unpacker: "_Unpacker | None", max_body: int
) -> bytes:
    received, body = 0, bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk, is_last = message.get("body", b""), not message.get("more_body", False)
        received += len(chunk)
        if received > max_body:
            raise _refuse_size(max_body)
        if unpacker:
            unpacker.unpack_into(body, chunk)
        elif is_last and received == len(chunk):  # in one piece, as most are
            return bytes(chunk)
        else:
            body += chunk
        if is_last:
            break
    if unpacker and received:
        unpacker.require_end()
    return bytes(body)


class _Unpacker:
    """Unpacks a stream chunk by chunk.

    Args:
        encoding: a key of ``WBITS``.
        max_body: bytes of all that is unpacked.
    """

    def __init__(self, encoding: str, max_body: int) -> None:
        self._encoding, self._max_body, self._members = encoding, max_body, 0
        self._begin_member()

    def unpack_into(self, body: bytearray, chunk: bytes) -> None:
        """Append what a chunk unpacks to.

        Raises:
            Refusal: 400, if it is packed wrongly; 413, if the body becomes too large.
        """
        while chunk:
            if self._stream.eof:
                self._begin_member()
            room = self._max_body - len(body)
            try:
                piece = self._stream.decompress(chunk, room + 1)
            except zlib.error:
                raise self._refuse("is damaged") from None
            if len(piece) > room:
                raise _refuse_size(self._max_body, " once unpacked")
            body += piece
            chunk = self._stream.unused_data

    def require_end(self) -> None:
        """Require that the stream is at its end.

        Raises:
            Refusal: 400, if more should come.
        """
        if not self._stream.eof:
            raise self._refuse("is cut off")

    def _begin_member(self) -> None:
        self._members += 1
        if self._members > (1 if self._encoding == "deflate" else MAX_MEMBERS):
            raise self._refuse("goes on after its end" if self._encoding == "deflate" else "has too many parts")
        self._stream = zlib.decompressobj(WBITS[self._encoding])

    def _refuse(self, fault: str) -> Refusal:
        return Refusal(400, f"the body {fault}, as Content-Encoding has it; allowed: whole {self._encoding} data")


def _choose_unpacker(encoding: str, max_body: int) -> _Unpacker | None:
    if encoding in ("", "identity"):
        return None
    if encoding not in WBITS:
        fault = "Content-Encoding: not known; allowed: gzip, deflate or none"
        raise Refusal(415, fault, {"Accept-Encoding": "gzip, deflate"})
    return _Unpacker(encoding, max_body)


def _read_headers(headers: Any) -> tuple[bytes, str]:
    """Read the length and the encoding, both empty for none. Encodings one after the other are none that is known."""
    length, encodings = b"", []
    for name, value in headers:
        if name == b"content-length":
            length = value
        elif name == b"content-encoding":
            encodings.append(value.decode("latin-1").strip().lower())
    return length, ",".join(encodings)


def _refuse_size(max_body: int, state: str = "") -> Refusal:
    return Refusal(413, f"the body is larger than {max_body:,} bytes{state}; send fewer rows at a time")
