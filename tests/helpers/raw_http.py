"""A client that sends bytes as they are, and reads answers one by one."""

import json
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

SECONDS = 60.0


@dataclass
class RawAnswer:
    """As it came; ``headers`` have names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> str:
        """The sentence of an error."""
        assert self.headers["content-type"] == "application/json"
        found = json.loads(self.body)
        assert set(found) == {"error_code", "message"}
        return str(found["message"])


class RawClient:
    """A connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self._read = b""

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(self, *raised: Any) -> None:
        self._socket.close()

    def send(self, *chunks: bytes) -> None:
        """Send bytes."""
        for chunk in chunks:
            self._socket.sendall(chunk)

    def finish(self) -> None:
        """Send no more."""
        self._socket.shutdown(socket.SHUT_WR)

    def abort(self) -> None:
        """Leave: an end alone may mean that the client only sends no more."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def read_answer(self, is_headless: bool = False) -> RawAnswer:
        """Read one answer; of HEAD, it has no body."""
        while b"\r\n\r\n" not in self._read:
            self._receive()
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = 0 if is_headless else int(headers.get("content-length", 0))
        while len(self._read) < length:
            self._receive()
        body, self._read = self._read[:length], self._read[length:]
        return RawAnswer(int(first.split()[1]), headers, body)

    def read_end(self) -> bytes:
        """Read until the server closes; what came before, beyond the answers that were read."""
        with suppress(ConnectionError, EOFError):
            while True:
                self._receive()
        return self._read

    def _receive(self) -> None:
        if not (found := self._socket.recv(1 << 16)):
            raise EOFError(f"the server closed after {self._read!r}")
        self._read += found
