"""Start a team's servers: one of MLflow with users, alone or with PostgreSQL and S3 as its stores.

They run in an environment of their own, .venv-team, which ``make test EXTRAS=team`` and ``make team`` make.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from helpers import ROOT, detached
from helpers.postgresql import PostgreSQL
from helpers.servers import OURS, free_port, wait_until_healthy
from helpers.tcp_gate import TcpGate
from helpers.team_users import ADMIN, Users, make_password

PYTHON = ROOT / ".venv-team" / "bin" / "python"
BUCKET = "artifacts"
SERVER, S3 = "mlflow-server", "s3-server"  # the parts that :mod:`helpers.detached` finds; PostgreSQL has its own tool


@dataclass
class AuthServer(Users):
    """An MLflow server with users, on loopback; its log, settings and SQLite stores are in ``folder``.

    Args:
        default_permission: what a user may do who has no right of his own.
        settings: more environment variables of the server.
        options: more options of ``mlflow server``.
    """

    folder: Path = Path()
    default_permission: str = "READ"
    workers: int = 1
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)
    options: tuple[str, ...] = ()

    @property
    def admin(self) -> tuple[str, str]:
        """The administrator's name and password."""
        return ADMIN, self.passwords[ADMIN]

    @property
    def log(self) -> Path:
        return self.folder / f"{SERVER}.log"

    def start_server(self) -> None:
        """Start the MLflow server, and wait until it answers.

        Raises:
            RuntimeError: if it does not start, with its output.
        """
        self._write_rights(f"sqlite:///{self.folder}/users.db")
        self._start_mlflow(f"sqlite:///{self.folder}/mlflow.db", f"{self.folder}/artifacts")

    def stop_server(self) -> None:
        """Kill the MLflow server, as a crash does: requests break off."""
        detached.send(self.folder, SERVER, signal.SIGKILL)
        detached.end(self.folder, SERVER)

    def restart_server(self) -> None:
        """Kill the MLflow server, and start it again."""
        self.stop_server()
        self.start_server()

    def _write_rights(self, users: str) -> None:
        lines = ["[mlflow]", f"default_permission = {self.default_permission}", f"database_uri = {users}"]
        # Without it each request computes the password's hash anew, which takes a fifth of a second.
        lines.append("auth_cache_ttl_seconds = 60")
        (self.folder / "basic_auth.ini").write_text("\n".join(lines) + "\n")

    def _start_mlflow(self, store: str, artifacts: str) -> None:
        # No secret stands in the command, which everybody on this machine can read.
        environment = clean_environment() | OURS | {
            "MLFLOW_AUTH_CONFIG_PATH": str(self.folder / "basic_auth.ini"),
            "MLFLOW_AUTH_ADMIN_USERNAME": ADMIN,
            "MLFLOW_AUTH_ADMIN_PASSWORD": self.passwords[ADMIN],
            "MLFLOW_FLASK_SERVER_SECRET_KEY": make_password(),
            **self.settings,
        }  # fmt: skip
        port = self.uri.rpartition(":")[2].partition("/")[0]
        command = [str(PYTHON), "-m", "mlflow", "server", "--app-name=basic-auth", "--host=127.0.0.1"]
        command += [f"--port={port}", f"--workers={self.workers}", f"--backend-store-uri={store}"]
        command += [f"--artifacts-destination={artifacts}", *self.options]
        server = detached.start(self.folder, SERVER, command, environment)
        wait_until_healthy(self.uri, server, self.log)


@dataclass
class TeamStack(AuthServer):
    """The same with runs and users in PostgreSQL and artifacts in S3, which the server hands on."""

    database: PostgreSQL = field(default_factory=lambda: _make_database())
    s3_port: int = field(default_factory=free_port)
    s3_key: str = field(default_factory=make_password, repr=False)
    gate: TcpGate | None = None  # in front of the S3 server, so that it can be away

    def start_all(self) -> None:
        """Make the databases and the bucket, start all, and make no user but the administrator.

        Raises:
            RuntimeError: if a server does not start, with its output.
        """
        self.database.create("runs", "users")
        self.start_s3()
        self.start_server()

    def start_server(self) -> None:
        self._write_rights(self.database.uri("users"))
        s3_port = self.gate.port if self.gate else self.s3_port
        own = {"PGPASSWORD": self.database.password, "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{s3_port}"}
        self.settings = {**self.settings, **own, **self._s3_settings()}
        self._start_mlflow(self.database.uri("runs"), f"s3://{BUCKET}/mlflow")

    def start_s3(self) -> None:
        """Start the S3 server, which keeps its objects in memory and temporary files, and make the bucket."""
        command = [str(PYTHON), "-m", "moto.server", "--host=127.0.0.1", f"--port={self.s3_port}"]
        server = detached.start(self.folder, S3, command, clean_environment() | self._s3_settings())
        make = f"import boto3; boto3.client('s3', endpoint_url='http://127.0.0.1:{self.s3_port}').create_bucket"
        until = time.monotonic() + 60
        while server.poll() is None and time.monotonic() < until:
            done = subprocess.run(
                [PYTHON, "-c", f"{make}(Bucket={BUCKET!r})"], env=clean_environment() | self._s3_settings(),
                stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
            )  # fmt: skip
            if done.returncode == 0:
                return
        raise RuntimeError(f"the S3 server does not answer:\n{(self.folder / f'{S3}.log').read_text()}")

    def stop_database(self) -> None:
        """Stop PostgreSQL; connections break off."""
        self.database.stop()

    def start_database(self) -> None:
        """Start PostgreSQL again."""
        self.database.start()

    def take_s3_away(self, hanging: bool = False) -> None:
        """Let the S3 server refuse all connections or, if ``hanging``, not answer."""
        if hanging:
            detached.send(self.folder, S3, signal.SIGSTOP)
        else:
            assert self.gate, "only the stack of the tests can do that"
            self.gate.go()

    def bring_s3_back(self) -> None:
        """Let the S3 server answer again."""
        detached.send(self.folder, S3, signal.SIGCONT)
        if self.gate:
            self.gate.come_back()

    def stop_all(self) -> None:
        """End all processes, and remove the database's folder."""
        detached.end(self.folder)
        if self.database.is_running:
            self.database.stop("immediate")
        shutil.rmtree(self.database.folder, ignore_errors=True)

    def _s3_settings(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": "team", "AWS_SECRET_ACCESS_KEY": self.s3_key, "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }  # fmt: skip


@contextmanager
def basic_auth_server(folder: Path, default_permission: str = "READ", *options: str) -> Iterator[AuthServer]:
    """Run a server with users, its stores in SQLite and a folder."""
    folder.mkdir(exist_ok=True)
    server = AuthServer(_free_uri(), folder=folder, default_permission=default_permission, options=options)
    try:
        server.start_server()
        yield server
    finally:
        server.stop_server()


@contextmanager
def team_stack(folder: Path, default_permission: str = "READ", *options: str) -> Iterator[TeamStack]:
    """Run the whole stack, with two workers of the server."""
    folder.mkdir(exist_ok=True)
    stack = TeamStack(_free_uri(), folder=folder, default_permission=default_permission, workers=2, options=options)
    try:
        with TcpGate(stack.s3_port) as stack.gate:
            stack.start_all()
            yield stack
    finally:
        stack.stop_all()


def clean_environment() -> dict[str, str]:
    """This process's environment without settings of MLflow, AWS and PostgreSQL."""
    foreign = ("MLFLOW_", "AWS_", "PG", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


def _free_uri() -> str:
    return f"http://127.0.0.1:{free_port()}"


def _make_database() -> PostgreSQL:
    # Not below the stack's folder: the user postgres must reach it, and a socket's path is short.
    folder = Path(tempfile.mkdtemp(prefix="team-postgresql-", dir="/tmp"))
    return PostgreSQL(folder, free_port(), make_password())
