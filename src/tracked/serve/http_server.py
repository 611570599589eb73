"""uvicorn with the limits that it lacks: a request arrives in time or is refused, and half a request has an answer."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from tracked.serve.statuses import encode_error

KEEP_ALIVE = 65  # seconds that a connection may idle: longer than most proxies keep theirs, so that these close first
GRACE = 2.0  # seconds in which the application refuses a body that is late, before the server does
LATE = "the request did not arrive in time"
HEADERS = 32_768  # bytes of a request's head


class Server(uvicorn.Server):
    """A server that leaves signals to its caller."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no handler."""
        yield


def make_server(app: Any, receive_timeout: int) -> Server:
    """Make a server of an ASGI application; what it logs of its own could hold input, and is dropped."""

    class Protocol(TimedProtocol):
        receive_seconds = float(receive_timeout)

    config = uvicorn.Config(
        app, http=Protocol, ws="none", loop="asyncio", lifespan="on", log_config=None, log_level="critical",
        access_log=False, server_header=False, timeout_keep_alive=KEEP_ALIVE, timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=HEADERS, backlog=1024,
    )  # fmt: skip
    return Server(config)


class TimedProtocol(H11Protocol):
    """HTTP/1.1 with a limit for the time in which a request arrives.

    The application reads bodies under a limit of its own; this one holds for heads, and closes the connection of a
    client that goes on sending what was refused.
    """

    receive_seconds: float
    _limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._limit = self.loop.call_later(self.receive_seconds, self._expire)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came, and wait for the rest of the request, if there is one."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Go on to what came behind the request that is answered; it may be half a request."""
        super().on_response_complete()
        self._watch()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer half a request; let a whole one be answered though its client has nothing more to send."""
        if self._is_incomplete():
            self._refuse(400, "the request ended before it was complete")
            return False
        if self.conn.their_state is h11.DONE and self.conn.our_state in (h11.SEND_RESPONSE, h11.SEND_BODY):
            self.cycle.keep_alive = False
            return True
        return False

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP."""
        self._refuse(400, "the request is not valid HTTP/1.1")

    def _is_incomplete(self) -> bool:
        """Whether a request has begun to arrive and is not complete."""
        state = self.conn.their_state
        return state is h11.SEND_BODY or (state is h11.IDLE and bool(self.conn.trailing_data[0]))

    def _watch(self) -> None:
        """Wait for the rest of a request, if there is one to come."""
        if not self._is_incomplete():
            self._stop()
        elif self._limit is None:
            self._limit = self.loop.call_later(self.receive_seconds, self._expire)

    def _stop(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _expire(self) -> None:
        self._limit = None
        if self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.SEND_RESPONSE:
            # The application waits for the body under the same limit, and refuses it; its time began after the head.
            self._limit = self.loop.call_later(GRACE, self._refuse, 408, LATE)
        else:
            self._refuse(408, LATE)

    def _refuse(self, status: int, message: str) -> None:
        """Answer by itself, and close; just close where an answer has begun, or nothing was asked."""
        if self.cycle is not None and not self.cycle.response_complete:
            if self.cycle.response_started:
                self.transport.close()
                return
            self.cycle.disconnected = True  # the application's answer would come too late
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE) and self.conn.their_state is not h11.CLOSED:
            began = self.conn.their_state is not h11.IDLE or self.conn.trailing_data[0]
            if began:
                self._write(status, message)
        self.transport.close()

    def _write(self, status: int, message: str) -> None:
        content = encode_error(status, message)
        headers = [("content-type", "application/json"), ("content-length", str(len(content))), ("connection", "close")]
        try:
            head = self.conn.send(h11.Response(status_code=status, headers=headers))
            self.transport.write(b"".join(filter(None, [head, self.conn.send(h11.Data(data=content))])))
        except h11.LocalProtocolError:  # an answer has begun, or none can be sent any more
            pass
