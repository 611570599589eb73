"""Commands in warm processes, forked from one that has all imports done, where a test needs no fresh process.

:func:`python` names a client that takes Python's arguments. It passes them on with its environment, folder and streams,
forwards SIGINT and SIGTERM, and ends as the forked process ends; if it is killed, that process is killed.

python tests/helpers/warm.py FOLDER PID
"""

import atexit
import fcntl
import gc
import importlib
import json
import os
import random
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

if __name__ == "__main__":
    DEFAULT_PATH = sys.path[1:]
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    ROOT = Path(__file__).resolve().parents[2]
    sys.path[1:1] = [str(ROOT / "src"), str(ROOT / "examples" / "diabetes")]

PLACE = Path(tempfile.gettempdir())  # at import, before a test has one of its own
MODULES = (
    "mlflow.cli", "mlflow.projects.backend.local", "numpy", "tracked.verbs.compare", "tracked.verbs.evaluate",
    "tracked.verbs.find_rate",
    "tracked.verbs.promote", "tracked.verbs.replay", "tracked.verbs.rollback", "tracked.verbs.unfinished",
    "tracked.verbs.tidy",
    "imdb_conv1d.verbs.explain",
)  # fmt: skip
CLIENT = """#!/bin/sh
'''exec' {python!r} -ISE "$0" "$@"
' '''
import os, sys
words = sys.argv[1:]
if not words or not (words[0].endswith(".py") or words[:2] == ["-m", "mlflow"]):
    os.execv({python!r}, [{python!r}, *words])
import json, signal, socket
streams = []
for number in (0, 1, 2):
    try:
        os.fstat(number)
        streams.append(number)
    except OSError:
        pass
connection = socket.socket(socket.AF_UNIX)
connection.connect({address!r})
request = {{"words": words, "folder": os.getcwd(), "environment": dict(os.environ), "streams": streams}}
request["umask"] = os.umask(0)
content = json.dumps(request).encode()
socket.send_fds(connection, [len(content).to_bytes(8, "big")], streams or [connection.fileno()])
connection.sendall(content)
child = int(connection.recv(16))
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda received, frame: os.kill(child, received))
status = int(connection.recv(16) or -signal.SIGKILL)
if status < 0:
    if status != -signal.SIGKILL:
        signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
os._exit(status)
"""


@cache
def python() -> Path:
    """Return the client, or this Python where forks are not safe; all test processes share one server."""
    if sys.platform != "linux":
        return Path(sys.executable)
    name = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    tests = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    folder = PLACE / f"warm-{name[:16]}"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "python").exists():
            _start(folder, tests)
    return folder / "python"


def _start(folder: Path, tests: int) -> None:
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, __file__, str(folder), str(tests)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    while not (folder / "python").exists():
        if server.poll() is not None:
            raise RuntimeError(f"no warm processes:\n{(folder / 'log').read_text()}")
        time.sleep(0.05)


def main() -> None:
    """Import all, then fork a process for each client until the tests' process has ended."""
    from helpers import forked

    folder, tests = Path(sys.argv[1]), int(sys.argv[2])
    forked.import_all()
    for module in MODULES:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # so that a collection in a forked process copies no page of this one
    address = str(folder / "socket")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    client = folder / "client"
    client.write_text(CLIENT.format(python=sys.executable, address=address))
    client.chmod(0o755)
    client.rename(folder / "python")
    clients: dict[socket.socket, int] = {}
    try:
        while _is_alive(tests):
            _serve(listener, clients)
    finally:
        for child in clients.values():
            os.kill(child, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def _serve(listener: socket.socket, clients: dict[socket.socket, int]) -> None:
    """Begin the processes of new clients, kill those of clients that are gone, pass on the statuses of ended ones."""
    ready, _, _ = select.select([listener, *clients], [], [], 0.02 if clients else 0.5)
    for connection in ready:
        if connection is not listener:
            os.kill(clients[connection], signal.SIGKILL)
            os.waitpid(clients.pop(connection), 0)
            connection.close()
            continue
        connection, _ = listener.accept()
        header, descriptors, _, _ = socket.recv_fds(connection, 8, 3)
        content = b""
        while len(content) < int.from_bytes(header, "big"):
            content += connection.recv(1 << 16)
        child = os.fork()
        if child == 0:
            for other in (listener, *clients):
                other.close()
            connection.close()
            _become(json.loads(content), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        connection.sendall(f"{child}".ljust(16).encode())
        clients[connection] = child
    for connection, child in list(clients.items()):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            with suppress(OSError):
                connection.sendall(f"{os.waitstatus_to_exitcode(status)}".ljust(16).encode())
            connection.close()
            del clients[connection]


def _become(request: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Turn this process into the client's command."""
    os.setpgid(0, 0)
    given = dict(zip(request["streams"], descriptors, strict=False))
    for number in (0, 1, 2):
        if number in given:
            os.dup2(given[number], number)
        else:
            os.close(number)
    for descriptor in descriptors:
        os.close(descriptor)
    os.chdir(request["folder"])
    os.umask(request["umask"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    random.seed()
    sys.modules["numpy"].random.seed()
    status = 0
    try:
        _run(request["words"])
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException as error:
        traceback.print_exc()
        status = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    if status < 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def _run(words: list[str]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    added = list(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))
    if words[0] == "-m":
        sys.path = [os.getcwd(), *added, *DEFAULT_PATH]
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.path = [str(Path(words[0]).resolve().parent), *added, *DEFAULT_PATH]
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    main()
