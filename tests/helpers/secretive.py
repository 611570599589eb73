"""A user of a server that asks for credentials; all that his commands leave is below one folder, and is searched."""

import base64
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from find_secrets import Search, Watch
from helpers import ROOT
from helpers.proxy import Fault, Request

USER = "ann"
SCRIPT = ROOT / "examples" / "diabetes" / "diabetes.py"
WAYS = ("environment", "address", "token", "file")


def make_secret(name: str) -> str:
    """Make a secret with characters that have a meaning in addresses and in quotes, and begins with a name."""
    return f"{name}&/{secrets.token_urlsafe(12)}'+="


def ask(passwords: Mapping[str, str], token: str) -> Callable[[Request], Fault | None]:
    """Make a proxy's fault: 401 for a request with neither a user's password nor the token."""
    pairs = (f"{user}:{password}".encode() for user, password in passwords.items())
    known = {f"Basic {base64.b64encode(pair).decode()}" for pair in pairs} | {f"Bearer {token}"}
    return lambda request: None if request.credentials in known else Fault(status=401)


@dataclass
class Secretive:
    """A user whose commands run in ``folder``/work, with a home and temporary files below ``folder``, too.

    Args:
        uri: the server's, without credentials.
        password, token: the user's.
        beside: more folders to search, such as the server's.
    """

    folder: Path
    uri: str
    password: str
    token: str
    beside: tuple[Path, ...] = ()
    storage_key: str = field(default_factory=lambda: make_secret("storage"))
    wrong: str = field(default_factory=lambda: make_secret("wrong"))
    search: Search = field(init=False)
    said: int = 0
    started: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("work", "home/.mlflow", "state", "temp", "said"):
            (self.folder / name).mkdir(parents=True)
        self.search = Search([self.password, self.token, self.storage_key, self.wrong])

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Search the list of processes all the time; no command outlives the block."""
        with Watch(self.search) as watch:
            try:
                yield
            finally:
                for process in self.started:
                    process.kill()
        assert watch.looks > 0  # a refusal takes a fifth of a second

    def environment(self, way: str, password: str = "") -> dict[str, str]:
        """The environment of a command that takes its credentials from one of ``WAYS``, or has none at all."""
        password = password or self.password
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "AWS_"))}
        settings = kept | {
            "HOME": str(self.folder / "home"), "XDG_STATE_HOME": str(self.folder / "state"),
            "TMPDIR": str(self.folder / "temp"), "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONUNBUFFERED": "1",
            "MLFLOW_TRACKING_URI": self.uri, "AWS_SECRET_ACCESS_KEY": self.storage_key,
        }  # fmt: skip
        credentials = self.folder / "home" / ".mlflow" / "credentials"
        credentials.unlink(missing_ok=True)
        if way == "environment":
            settings |= {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": password}
        elif way == "address":
            scheme, _, host = self.uri.partition("://")
            settings["MLFLOW_TRACKING_URI"] = f"{scheme}://{USER}:{quote(password, safe='')}@{host}"
        elif way == "token":
            settings["MLFLOW_TRACKING_TOKEN"] = password if password == self.wrong else self.token
        elif way == "file":
            lines = ["[mlflow]", f"mlflow_tracking_username = {USER}", f"mlflow_tracking_password = {password}"]
            credentials.write_text("\n".join(lines))
        return settings

    def start(self, way: str, *words: str, script: Path = SCRIPT, password: str = "") -> "subprocess.Popen[bytes]":
        """Start a command; what it says is written to a file below ``folder``/said."""
        self.said += 1
        with (self.folder / "said" / f"{self.said}").open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, str(script), *words], cwd=self.folder / "work", stdin=subprocess.DEVNULL,
                env=self.environment(way, password), stdout=said, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.started.append(process)
        return process

    def run(self, way: str, *words: str, script: Path = SCRIPT, password: str = "") -> tuple[int, str]:
        """Run a command; returns its exit status and what it said."""
        return self.start(way, *words, script=script, password=password).wait(240), self.read()

    def read(self) -> str:
        """Read what the last command has said so far."""
        return (self.folder / "said" / f"{self.said}").read_text()

    def wait_for(self, process: "subprocess.Popen[bytes]", condition: Callable[[], bool]) -> None:
        """Wait until a condition holds while a command runs."""
        end = time.monotonic() + 180
        while not condition():
            assert process.poll() is None, self.read()
            assert time.monotonic() < end, self.read()
            time.sleep(0.02)

    def kill(self, process: "subprocess.Popen[bytes]", signum: int = signal.SIGKILL) -> int:
        """Send a command a signal, and wait for its end; returns its exit status."""
        process.send_signal(signum)
        return process.wait(120)

    def find(self) -> list[str]:
        """Search all that the commands have left, but for the file of credentials itself; returns the places."""
        own = self.folder / "home" / ".mlflow" / "credentials"
        self.search.look_below(self.folder, *self.beside, without=[own])
        return sorted(set(self.search.found))
