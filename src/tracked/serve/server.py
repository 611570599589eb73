"""Run an endpoint until it is asked to end."""

import asyncio
import os
import resource
import signal
import socket
from contextlib import suppress
from typing import Any

from tracked.console.errors import RunFailed, UserError
from tracked.console.lines import say, warn
from tracked.experiment import Experiment
from tracked.serve.access import Access
from tracked.serve.app import make_app
from tracked.serve.http_server import BACKLOG, make_server
from tracked.serve.service import Service

SPARE_FILES = 128  # descriptors beside those of the connections


def run(owner: Experiment, parameters: Any, token: str) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish what has begun.

    Args:
        parameters: a ``ServeParameters``.
        token: that requests need; empty for none.

    Raises:
        UserError: if the address cannot be listened at, or the model cannot be served.
        RunFailed: if the server ends though nobody asked for it.
    """
    listener = _listen(parameters.host, parameters.port)
    _raise_limit(parameters.max_connections + BACKLOG + SPARE_FILES)
    asyncio.run(_serve(owner, parameters, token, listener))


def _raise_limit(files: int) -> None:
    """Raise the number of files that this process may open, as far as the system lets it."""
    with suppress(ValueError, OSError):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = files if hard == resource.RLIM_INFINITY else min(files, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _listen(host: str, port: int) -> socket.socket:
    """Listen at an address: nobody else can take it from now on.

    Raises:
        UserError: if that is not possible.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError):
        raise UserError(f"host: {host!r} is not allowed; allowed: an address of this machine") from None
    # With its protocol, so that asyncio sends small answers without a delay.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(BACKLOG)  # Linux lets several sockets be bound to a port that none of them listens at
    except OSError as error:
        listener.close()
        raise UserError(
            f"port: {port} at {host} cannot be listened at ({os.strerror(error.errno or 0)}); allowed: a free port, or "
            "0 to find one"
        ) from None
    return listener


async def _serve(owner: Experiment, parameters: Any, token: str, listener: socket.socket) -> None:
    service, loop = Service(owner, parameters, bool(token)), asyncio.get_running_loop()
    loop.set_exception_handler(_tell)
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, service.drain)
    loop.add_signal_handler(signal.SIGHUP, service.keeper.reload)
    app = make_app(lambda: service, Access.of(parameters, token))
    count_refused = service.meter.refused_connections.inc
    server = make_server(app, parameters.receive_timeout, parameters.max_connections, count_refused)
    service.count_connections = lambda: len(server.server_state.connections)
    host, port = listener.getsockname()[:2]
    say(f"listening at http://{f'[{host}]' if ':' in host else host}:{port} (process {os.getpid()})")
    running = asyncio.create_task(server.serve([listener]))
    try:
        await asyncio.wait({running, service.ended}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await running
        if not service.ended.done():
            raise RunFailed("the HTTP server ended by itself")
        await service.ended
    finally:
        await service.close()  # again, if the server could not


def _tell(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say in one line what asyncio would log with a stack trace, which may hold input."""
    error = context.get("exception")
    warn(f"{context.get('message', 'a fault')}" + (f" ({type(error).__name__})" if error else ""))
