"""Start a separate PostgreSQL server."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from helpers.servers import free_port

USER = "mlflow"


def programs() -> Path | None:
    """Find the folder of initdb and pg_ctl; None without a PostgreSQL server."""
    found = shutil.which("initdb")
    there = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return Path(found).resolve().parent if found else there[-1].parent if there else None


@dataclass(frozen=True)
class PostgreSQL:
    """A server whose data are in a folder, on loopback; root starts it as the user postgres, who must reach the folder.

    Args:
        password: what a client must give, in the setting PGPASSWORD; empty lets everybody of this machine in.
        settings: more environment variables of the server.
    """

    folder: Path
    port: int
    password: str = field(default="", repr=False)
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def is_running(self) -> bool:
        """Whether the server runs, as its own tool sees it."""
        return (
            programs() is not None
            and self.data.exists()
            and self._run("pg_ctl", "status", "-D", str(self.data), check=False) == 0
        )

    def uri(self, database: str) -> str:
        """The address of a database, without the password."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def create(self, *databases: str) -> None:
        """Make the data folder, start the server and make databases.

        Raises:
            RuntimeError: with what its tools print, if one of them fails.
        """
        if self._user:
            shutil.chown(self.folder, self._user)
        access = ["-A", "trust"]
        if self.password:
            secret = self.folder / "password"
            secret.touch(0o600)
            secret.write_text(self.password)
            if self._user:
                shutil.chown(secret, self._user)
            access = ["-A", "scram-sha-256", f"--pwfile={secret}"]
        self._run("initdb", "-D", str(self.data), "-U", USER, "--no-sync", *access)
        (self.folder / "password").unlink(missing_ok=True)
        self.start()
        for database in databases:
            where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", USER]
            self._run("createdb", *where, database, environment={"PGPASSWORD": self.password})

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        options = f"-c port={self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder}"
        self._control("start", "-l", str(self.folder / "log"), "-o", options)

    def stop(self, mode: str = "fast") -> None:
        """Stop the server; ``mode`` is pg_ctl's: fast breaks off connections, immediate is as a crash."""
        self._control("stop", "-m", mode)

    def _control(self, action: str, *more: str) -> None:
        self._run("pg_ctl", action, "-w", "-D", str(self.data), *more)

    @property
    def _user(self) -> str | None:
        return "postgres" if os.getuid() == 0 else None

    def _run(
        self, program: str, *arguments: str, check: bool = True, environment: Mapping[str, str] = MappingProxyType({})
    ) -> int:
        # The server keeps this output open as long as it runs: a file, as a pipe would wait for it.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                [f"{programs()}/{program}", *arguments],
                cwd=self.folder,
                user=self._user,
                env={**os.environ, **self.settings, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=120,
            )
            output.seek(0)
            if check and done.returncode:
                raise RuntimeError(f"{program} {' '.join(arguments)}: exit {done.returncode}\n{output.read()}")
        return done.returncode


@contextmanager
def postgresql() -> Iterator[str]:
    """Run a server with an empty database; yield its URI for MLflow."""
    server = PostgreSQL(Path(tempfile.mkdtemp(prefix="imdb-conv1d-pg-", dir="/tmp")), free_port())
    try:
        server.create("mlflow")
        yield server.uri("mlflow")
    finally:
        if server.is_running:
            server.stop("immediate")
        shutil.rmtree(server.folder, ignore_errors=True)
