"""Start a separate PostgreSQL server."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from helpers.servers import free_port


def programs() -> Path | None:
    """Find the folder of initdb and pg_ctl; None without a PostgreSQL server."""
    found = shutil.which("initdb")
    there = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return Path(found).resolve().parent if found else there[-1].parent if there else None


@contextmanager
def postgresql() -> Iterator[str]:
    """Run a server with an empty database; yield its URI for MLflow. Root starts it as the user postgres."""
    folder, port, where = Path(tempfile.mkdtemp(prefix="imdb-conv1d-pg-", dir="/tmp")), free_port(), programs()
    user = "postgres" if os.getuid() == 0 else None
    if user:
        shutil.chown(folder, user)

    def run(*command: str) -> None:
        done = subprocess.run(command, cwd=folder, user=user, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr

    def control(action: str, *more: str) -> None:
        options = f"-c port={port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
        log = str(folder / "log")
        run(f"{where}/pg_ctl", action, "-w", "-D", str(folder / "data"), "-l", log, "-o", options, *more)

    try:
        run(f"{where}/initdb", "-D", str(folder / "data"), "-U", "mlflow", "-A", "trust", "--no-sync")
        control("start")
        try:
            run(f"{where}/createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "mlflow", "mlflow")
            yield f"postgresql://mlflow@127.0.0.1:{port}/mlflow"
        finally:
            control("stop", "-m", "immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
