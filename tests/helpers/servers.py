"""Start a separate MLflow tracking server."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

START_SECONDS = 300.0  # 8 to 16 s on an idle machine, minutes on one that is overloaded
OURS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # eight more processes, for features that nothing here uses
}


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


@contextmanager
def mlflow_server(folder: Path, prefix: str = "") -> Iterator[str]:
    """Run a server; yield its URI. Its SQLite store mlflow.db, artifacts and server.log are in ``folder``.

    Args:
        prefix: a path below which all is served.

    Raises:
        RuntimeError: if the server does not start, with its output.
    """
    port = free_port()
    uri, log = f"http://127.0.0.1:{port}{prefix}", folder / "server.log"
    command = [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={port}", "--workers=1"]
    command += [f"--backend-store-uri=sqlite:///{folder}/mlflow.db", f"--artifacts-destination={folder}/artifacts"]
    command += [f"--static-prefix={prefix}"] if prefix else []
    with log.open("wb") as output:
        server = subprocess.Popen(
            command,
            cwd=folder,
            env={name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")} | OURS,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # one process group with its workers
        )
    try:
        wait_until_healthy(uri, server, log)
        yield uri
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def wait_until_healthy(uri: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server answers.

    Raises:
        RuntimeError: if it does not, with its output.
    """
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy would look on another machine
    end = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < end:
        try:
            with direct.open(f"{uri}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    ended = f"is not healthy after {START_SECONDS:.0f} s" if server.returncode is None else f"exit {server.returncode}"
    raise RuntimeError(f"mlflow server on {uri}: {ended}; it printed:\n{log.read_text(errors='replace')}")
