"""An MLflow server with users, in an environment of its own, .venv-team."""

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from helpers import ROOT, detached
from helpers.servers import OURS, wait_until_healthy
from helpers.team_users import ADMIN, Users, make_password

PYTHON = ROOT / ".venv-team" / "bin" / "python"
SERVER = "mlflow-server"


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


def clean_environment() -> dict[str, str]:
    """This process's environment without settings of MLflow, AWS and PostgreSQL."""
    foreign = ("MLFLOW_", "AWS_", "PG", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
