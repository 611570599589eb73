"""Start processes that outlive this one, and find them again by a mark in their environment.

No file holds their ids, so none is lost or out of date: whatever was killed in the middle, :func:`find` sees what runs.
"""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

MARK = "TEAM_PART"
END_SECONDS = 10.0


def start(folder: Path, name: str, command: Sequence[str], environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Start a marked process in a session of its own, which logs to ``NAME.log`` in the folder."""
    with open(os.open(folder / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as output:
        return subprocess.Popen(
            command,
            cwd=folder,
            env={**environment, MARK: make_mark(folder, name)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def find(folder: Path, name: str = "") -> list[int]:
    """Find the running processes of a folder, or of one of its parts; their children are marked, too."""
    mark = make_mark(folder, name).encode()

    def belongs(found: bytes) -> bool:
        return found == mark if name else found.startswith(mark)

    return [pid for pid in _all_processes() if belongs(_read_mark(pid))]


def send(folder: Path, name: str, number: int) -> None:
    """Send a signal to all processes of a part, and to no other that got one of their ids."""
    for pid in find(folder, name):
        with suppress(ProcessLookupError):
            handle = os.pidfd_open(pid)
            try:
                if pid in find(folder, name):
                    signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)


def end(folder: Path, name: str = "") -> int:
    """End all processes of a folder, or of one of its parts, by force after ``END_SECONDS``; return how many."""
    there = find(folder, name)
    send(folder, name, signal.SIGCONT)  # a stopped one would not end
    send(folder, name, signal.SIGTERM)
    until = time.monotonic() + END_SECONDS
    while find(folder, name):
        if time.monotonic() > until:
            send(folder, name, signal.SIGKILL)
        time.sleep(0.05)
    return len(there)


def make_mark(folder: Path, name: str) -> str:
    """The value of the setting ``MARK`` in the processes of a part."""
    return f"{folder.resolve()}//{name}"


def _all_processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _read_mark(pid: int) -> bytes:
    """A process's mark; empty for none, a process of another user, and one that has ended."""
    try:
        settings = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return b""
    start = f"{MARK}=".encode()
    return next((entry.removeprefix(start) for entry in settings if entry.startswith(start)), b"")
