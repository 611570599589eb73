"""A proxy in front of an MLflow server that simulates network faults."""

import http.client
import json
import re
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Request:
    """A request; ``kind`` is its method and path without ids, ``number`` counts the requests of its kind from 1.

    ``credentials`` is its header Authorization.
    """

    method: str
    path: str
    body: bytes
    number: int
    credentials: str = ""

    @property
    def kind(self) -> str:
        return kind_of(self.method, self.path)

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.body or b"{}"))


@dataclass(frozen=True)
class Fault:
    """The fault of a request.

    Args:
        seconds: delay before the request reaches the server or, with ``after``, before the answer returns.
        status: the answer; the server does not get the request.
        cut: the server acts, but the connection breaks before its answer.
    """

    seconds: float = 0.0
    status: int = 0
    cut: bool = False
    after: bool = False


def kind_of(method: str, path: str) -> str:
    return f"{method} {re.sub(r'[0-9a-f-]{32,}', 'ID', urlsplit(path).path)}"


@dataclass
class Proxy:
    """A proxy on a free port. ``fault`` chooses each request's fault; ``seen`` lists all requests.

    Args:
        prefix: the path below which it hands on requests, without it; others get 404.
        max_body: the size of the largest request that it hands on; larger ones get 413. 0 for any size.
        tls: the context of a server with a certificate.
    """

    target: str
    fault: Callable[[Request], Fault | None] = lambda request: None
    seen: list[Request] = field(default_factory=list)
    faults: list[tuple[str, Fault]] = field(default_factory=list)
    port: int = 0
    prefix: str = ""
    max_body: int = 0
    tls: ssl.SSLContext | None = None

    def __enter__(self) -> "Proxy":
        self._lock = threading.Lock()
        self.come_back()
        return self

    def __exit__(self, *error: object) -> None:
        self.go()

    @property
    def uri(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}{self.prefix}"

    def go(self) -> None:
        """Refuse new connections, and break existing ones."""
        if self._server:
            self._server.gone = True
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def come_back(self) -> None:
        """Listen again on the same port."""
        self._server = _Server(("127.0.0.1", self.port), _Handler)
        self._server.proxy = self
        if self.tls:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def note(self, method: str, path: str, body: bytes, credentials: str = "") -> Request:
        with self._lock:
            kind = kind_of(method, path)
            number = 1 + sum(other.kind == kind for other in self.seen)
            request = Request(method, path, body, number, credentials)
            self.seen.append(request)
            return request


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    gone = False
    proxy: Proxy


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.gone:  # a connection that was open when the server went
            self.close_connection = True
            return
        proxy = self.server.proxy
        if not self.path.startswith(f"{proxy.prefix}/"):
            return self._answer(404, [("Content-Type", "text/plain")], b"not below the prefix")
        if proxy.max_body and len(body) > proxy.max_body:
            return self._answer(413, [("Content-Type", "text/html")], b"<h1>413 Request Entity Too Large</h1>")
        self.path = self.path.removeprefix(proxy.prefix)
        request = proxy.note(self.command, self.path, body, self.headers.get("Authorization", ""))
        fault = proxy.fault(request) or Fault()
        if fault != Fault():
            proxy.faults.append((request.kind, fault))
        if fault.seconds and not fault.after:
            time.sleep(fault.seconds)
        if fault.status:
            self._answer(fault.status, [("Content-Type", "text/plain")], b"a bad day")
            return
        parts = urlsplit(proxy.target)
        onward = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        onward.request(self.command, self.path, body or None, headers)
        answer = onward.getresponse()
        content = answer.read()
        onward.close()
        if fault.seconds and fault.after:
            time.sleep(fault.seconds)
        if fault.cut:
            self.close_connection = True
            return
        kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in (
            "content-length", "transfer-encoding", "connection", "server", "date")]  # fmt: skip
        self._answer(answer.status, kept, content)

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _handle

    def handle(self) -> None:
        with suppress(OSError):  # the client may have given up
            super().handle()

    def log_message(self, *arguments: object) -> None:
        pass
