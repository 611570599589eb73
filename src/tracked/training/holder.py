"""The process that holds a training, and whether it is dead."""

import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class Holder:
    """A process that holds a training; ``start`` tells it from a later one with its number, where that is known."""

    pid: int
    host: str
    since: str
    start: str = ""

    @classmethod
    def this_process(cls) -> Self:
        """This process."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(os.getpid(), socket.gethostname(), now, _start(os.getpid()))

    def __str__(self) -> str:
        return f"process {self.pid} on host {self.host}, since {self.since}"

    @property
    def is_here(self) -> bool:
        """Whether it is of this host."""
        return self.host == socket.gethostname()

    @property
    def is_dead(self) -> bool:
        """Whether it is known to be dead: a process of this host that does not exist, or is another one by now."""
        if not self.is_here:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # another user's
        now = _start(self.pid)
        return bool(self.start and now) and self.start != now


def _start(pid: int) -> str:
    """When a process was started, in the kernel's clock ticks; empty where the system does not tell."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
