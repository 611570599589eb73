"""Run endpoints of the made-up experiment in a thread: real server, real scorers, and a registry that tests move."""

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from helpers.adding import Adder, count
from helpers.made_registry import MadeRegistry
from tracked.console.serve_parameters import make_serve_parameters
from tracked.serve.access import Access
from tracked.serve.app import make_app
from tracked.serve.http_server import make_server
from tracked.serve.service import Service

SECONDS = 60.0  # in which what a test waits for has to come


@dataclass
class Answer:
    """Of an endpoint."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """The sentence of an error."""
        assert set(self.json) == {"error_code", "message"}
        return str(self.json["message"])


class Endpoint:
    """An endpoint that runs in a thread."""

    def __init__(self, owner: Adder, made: MadeRegistry, token: str, parameters: Any) -> None:
        self.owner, self.made, self.folder = owner, made, owner.folder
        self._token, self._parameters = token, parameters
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.loop: asyncio.AbstractEventLoop
        self.service: Service
        self.server: Any
        self.error: BaseException | None = None
        self._began = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:
            self.error = error

    async def _serve(self) -> None:
        """Serve as ``tracked.serve.server`` does, without signals, which only a main thread gets."""
        self.loop = asyncio.get_running_loop()
        self.service = Service(self.owner, self._parameters, bool(self._token))
        access = Access.of(self._parameters, self._token)
        app = make_app(lambda: self.service, access)
        self.server = make_server(app, self._parameters.receive_timeout, self._parameters.max_connections)
        running = asyncio.create_task(self.server.serve([self._listener]))
        self._began.set()
        try:
            await self.service.ended
        finally:
            self.server.should_exit = True
            await running

    def begin(self, is_ready: bool = True) -> None:
        """Begin, and wait until requests are answered."""
        self.thread.start()
        self._began.wait(SECONDS)
        if is_ready:
            until(lambda: self.error or self.service.is_ready)

    def call(self, function: Callable[[], Any]) -> Any:
        """Call a function in the endpoint's event loop."""

        async def run() -> Any:
            found = function()
            return await found if isinstance(found, Awaitable) else found

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(SECONDS)

    def drain(self) -> None:
        """Ask it to end, as a signal does."""
        self.loop.call_soon_threadsafe(self.service.drain)

    def drain_at_once(self) -> None:
        """Ask it to end a second time, and later than what counts as once."""

        def ask_again() -> None:
            self.service.drain()
            self.service._asked -= 2
            self.service.drain()

        self.loop.call_soon_threadsafe(ask_again)

    def end(self) -> None:
        """End, and wait for it."""
        with suppress(RuntimeError):  # it has ended by itself
            self.drain_at_once()
        self.thread.join(SECONDS)
        assert not self.thread.is_alive()

    def ask(self, path: str, body: Any = None, method: str = "", headers: Mapping[str, str] | None = None) -> Answer:
        """Send a request on a new connection; a body is sent as JSON, unless it is bytes."""
        given = {} if body is None else {"content-type": "application/json"}
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connected = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            connected.request(
                method or ("GET" if body is None else "POST"), path, content, {**given, **(headers or {})}
            )
            response = connected.getresponse()
            return Answer(
                response.status, {name.lower(): value for name, value in response.headers.items()}, response.read()
            )
        finally:
            connected.close()

    def add(self, *pairs: Any, path: str = "/predict") -> Answer:
        """Ask for sums; a pair that is one value has 1 on its right."""
        rows = [pair if isinstance(pair, list) else [pair, 1] for pair in pairs]
        return self.ask(path, {"pairs" if path != "/invocations" else "inputs": rows})

    def begin_adding(self, *pairs: Any) -> "Begun":
        """Ask for sums in a thread."""
        return Begun(lambda: self.add(*pairs))

    def count_left(self, name: str) -> int:
        """Count what scorers left in a file."""
        return count(self.folder / name)


class Begun(threading.Thread):
    """A request whose answer is awaited."""

    def __init__(self, ask: Callable[[], Answer]) -> None:
        super().__init__()
        self._ask, self._found = ask, list[Answer | Exception]()
        self.start()

    def run(self) -> None:
        try:
            self._found.append(self._ask())
        except Exception as error:
            self._found.append(error)

    def result(self) -> Answer:
        """Wait for the answer."""
        self.join(SECONDS)
        (found,) = self._found
        if isinstance(found, Exception):
            raise found
        return found


def until(condition: Callable[[], Any]) -> Any:
    """Wait for a condition."""
    end = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.005)
    return found


@contextmanager
def serve(
    folder: Path, token: str = "", is_ready: bool = True, versions: Any = None, **parameters: Any
) -> Iterator[Endpoint]:
    """Serve the made-up experiment; without other words, with one scorer that looks for no version by itself."""
    owner = Adder(folder)
    words = [f"--{name}={value}" for name, value in ({"workers": 1, "reload": 0} | parameters).items()]
    endpoint = Endpoint(
        owner, MadeRegistry(owner, versions or {"1": {}}), token, make_serve_parameters(owner).parse(words)
    )
    with pytest.MonkeyPatch.context() as patch:
        endpoint.made.install(patch)
        try:
            endpoint.begin(is_ready)
            yield endpoint
        finally:
            (folder / "go").touch()
            endpoint.end()
