"""uvicorn with the limits that it lacks: a request arrives in time or is refused, and half a request has an answer."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from tracked.serve.refusals import AGAIN
from tracked.serve.statuses import encode_error

KEEP_ALIVE = 65  # seconds that a connection may idle: longer than most proxies keep theirs, so that these close first
GRACE = 2.0  # seconds for a client to read the last answer, and for the application to refuse a body that is late
LATE = "the request did not arrive in time"
HEADERS = 32_768  # bytes of a request's head
BACKLOG = 128  # connections that wait to be accepted, which are accepted at once
ENDED = (h11.DONE, h11.MUST_CLOSE, h11.CLOSED)  # of a request that has arrived


class Server(uvicorn.Server):
    """A server that leaves signals to its caller."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no handler."""
        yield


def make_server(
    app: Any, receive_timeout: int, max_connections: int, count_refused: Callable[[], object] = lambda: None
) -> Server:
    """Make a server of an ASGI application; what it logs of its own could hold input, and is dropped.

    Args:
        count_refused: called for each connection beyond the limit.
    """

    class Protocol(GuardedProtocol):
        receive_seconds, most = float(receive_timeout), max_connections

        def refuse_connection(self) -> None:
            """Refuse and count."""
            count_refused()
            super().refuse_connection()

    config = uvicorn.Config(
        app, http=Protocol, ws="none", loop="asyncio", lifespan="on", log_config=None, log_level="critical",
        access_log=False, server_header=False, timeout_keep_alive=KEEP_ALIVE, timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=HEADERS, backlog=BACKLOG,
    )  # fmt: skip
    return Server(config)


class GuardedProtocol(H11Protocol):
    """HTTP/1.1 with a limit for the time in which a request arrives and its answer is read, and for connections.

    The application reads bodies under a limit of its own; this one holds for heads, and closes the connection of a
    client that goes on sending what was refused.

    Attributes:
        receive_seconds: for a request to arrive, and for an answer to be read.
        most: connections; each further one is refused.
    """

    receive_seconds: float
    most: int
    _is_over = _has_ended = False
    _limit: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        self._leaving: set[Callable[[], None]] = set()
        self.app_state = {**self.app_state, "leaving": self._leaving}  # what to call if the client leaves
        super().connection_made(transport)
        self._is_over = len(self.connections) > self.most
        self._limit = self.loop.call_later(GRACE if self._is_over else self.receive_seconds, self._expire)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop()
        self._unset_keepalive_if_required()  # uvicorn leaves it after a reset
        self.resume_writing()
        super().connection_lost(exc)
        for leave in list(self._leaving):
            leave()

    def data_received(self, data: bytes) -> None:
        """Take what came, and wait for the rest of the request, if there is one."""
        if self._is_over:
            self.refuse_connection()
            return
        super().data_received(data)
        self._wait_for_rest()

    def refuse_connection(self) -> None:
        """Answer that there are too many, and close."""
        self._write(503, "too many connections are open; try again", [*AGAIN.items()])
        self._close()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer half a request; let a whole one be answered though its client has nothing more to send."""
        if self._is_incomplete():
            self._refuse(400, "the request ended before it was complete")
            return True
        self._has_ended = self.conn.their_state in ENDED and self.conn.our_state in (h11.SEND_RESPONSE, h11.SEND_BODY)
        if self._has_ended and not self.conn.trailing_data[0]:
            self.cycle.keep_alive = False
        return self._has_ended

    def pause_writing(self) -> None:
        """Wait for the client to read its answer, not forever."""
        super().pause_writing()
        self._unread = self.loop.call_later(self.receive_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on writing."""
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        super().resume_writing()

    def on_response_complete(self) -> None:
        """Go on with the next request, part of which may be there."""
        super().on_response_complete()
        if self.transport.is_closing():  # what is left to be written may not be read
            self.loop.call_later(self.receive_seconds, self.transport.abort)
        elif self._has_ended and self.conn.our_state is h11.IDLE and not self.conn.trailing_data[0]:
            self._close()  # that was the last of several requests
        else:
            self._wait_for_rest()

    def shutdown(self) -> None:
        """End the connection: at once if nothing is asked, else after the answer."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        elif self._is_incomplete():
            self._refuse(503, "the endpoint ends; ask another one")
        else:
            self._close()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that idles."""
        self._close()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP."""
        self._refuse(400, "the request is not valid HTTP/1.1")

    def _is_incomplete(self) -> bool:
        """Whether a request has begun to arrive and is not complete."""
        state = self.conn.their_state
        return state is h11.SEND_BODY or (state is h11.IDLE and bool(self.conn.trailing_data[0]))

    def _wait_for_rest(self) -> None:
        if self._is_incomplete():
            if self._limit is None:
                self._limit = self.loop.call_later(self.receive_seconds, self._expire)
            return
        self._stop()
        is_idle = self.conn.their_state is h11.IDLE and self.conn.our_state is h11.IDLE
        if is_idle and self.timeout_keep_alive_task is None and not self.transport.is_closing():
            # What came belonged to a request that was refused before all of it was there.
            self.timeout_keep_alive_task = self.loop.call_later(KEEP_ALIVE, self.timeout_keep_alive_handler)

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
        has_begun = self.cycle is not None and not self.cycle.response_complete and self.cycle.response_started
        if not has_begun and (self.conn.their_state is not h11.IDLE or self.conn.trailing_data[0]):
            if self.cycle is not None and not self.cycle.response_complete:
                self.cycle.disconnected = True  # the application's answer would come too late
                self.cycle.message_event.set()
            self._write(status, message)
        self._close()

    def _write(self, status: int, message: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        content = encode_error(status, message)
        own = [("content-type", "application/json"), ("content-length", str(len(content))), ("connection", "close")]
        events = h11.Response(status_code=status, headers=[*own, *headers]), h11.Data(data=content), h11.EndOfMessage()
        with suppress(h11.LocalProtocolError):  # none can be sent any more
            self.transport.write(b"".join(self.conn.send(event) or b"" for event in events))

    def _close(self) -> None:
        """Close the connection; what its client does not read is dropped soon."""
        self.transport.close()
        self.loop.call_later(GRACE, self.transport.abort)
