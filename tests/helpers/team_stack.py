"""A team's servers: MLflow with users on PostgreSQL and S3, as processes of this machine."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from helpers import detached
from helpers.auth_server import PYTHON, AuthServer, clean_environment
from helpers.postgresql import PostgreSQL
from helpers.servers import free_port
from helpers.team_users import make_password

BUCKET = "artifacts"
S3, GATE, DATABASE = "s3-server", "s3-gate", "postgresql"


@dataclass
class TeamStack(AuthServer):
    """The same with runs and users in PostgreSQL and artifacts in S3, which the server hands on."""

    database_port: int = field(default_factory=free_port)
    database_password: str = field(default_factory=make_password, repr=False)
    # Not below the stack's folder: the user postgres must reach it, and a socket's path is short.
    database_folder: Path = field(default_factory=lambda: Path("/tmp", f"team-postgresql-{secrets.token_hex(4)}"))
    s3_port: int = field(default_factory=free_port)
    s3_key: str = field(default_factory=make_password, repr=False)
    gate_port: int = 0  # where the MLflow server finds S3, so that it can be away; 0 for no gate

    @property
    def database(self) -> PostgreSQL:
        """The database server, which is marked as the other processes are."""
        mark = {detached.MARK: detached.make_mark(self.folder, DATABASE)}
        return PostgreSQL(self.database_folder, self.database_port, self.database_password, mark)

    def start_all(self) -> None:
        """Make the databases and the bucket, start all, and make no user but the administrator.

        Raises:
            RuntimeError: if a server does not start, with its output.
        """
        self.database_folder.mkdir(mode=0o700)
        self.database.create("runs", "users")
        self.start_s3()
        self.start_server()

    def start_server(self) -> None:
        self._write_rights(self.database.uri("users"))
        s3_uri = f"http://127.0.0.1:{self.gate_port or self.s3_port}"
        own = {"PGPASSWORD": self.database.password, "MLFLOW_S3_ENDPOINT_URL": s3_uri}
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
                return self.bring_s3_back() if self.gate_port else None
        raise RuntimeError(f"the S3 server does not answer:\n{(self.folder / f'{S3}.log').read_text()}")

    def stop_database(self) -> None:
        """Stop PostgreSQL; connections break off."""
        self.database.stop()

    def start_database(self) -> None:
        """Start PostgreSQL again."""
        self.database.start()

    def take_s3_away(self, hanging: bool = False) -> None:
        """Let S3 refuse connections, and break off those that there are; or, if ``hanging``, not answer."""
        if hanging:
            detached.send(self.folder, S3, signal.SIGSTOP)
        else:
            assert self.gate_port, "only a stack with a gate can do that"
            detached.send(self.folder, GATE, signal.SIGKILL)
            detached.end(self.folder, GATE)

    def bring_s3_back(self) -> None:
        """Let S3 answer again."""
        detached.send(self.folder, S3, signal.SIGCONT)
        if self.gate_port and not detached.find(self.folder, GATE):
            command = [sys.executable, str(Path(__file__).with_name("tcp_gate.py"))]
            detached.start(self.folder, GATE, [*command, str(self.gate_port), str(self.s3_port)], clean_environment())

    def stop_all(self) -> None:
        """End all processes, and remove the database's folder."""
        if self.database.is_running:
            with suppress(RuntimeError):  # it may be the server that initdb runs for a moment
                self.database.stop("immediate")
        detached.end(self.folder)
        until = time.monotonic() + 5
        while self.database_folder.exists() and time.monotonic() < until:  # a last process may still write
            shutil.rmtree(self.database_folder, ignore_errors=True)

    def _s3_settings(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": "team", "AWS_SECRET_ACCESS_KEY": self.s3_key, "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }  # fmt: skip
