"""The process that holds a training, and whether it is dead."""

import hashlib
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

UNKNOWN, HOST = "-", "host"
HOST_NAMESPACE = 0xEFFFFFFC  # the kernel's number of the PID namespace that no container has


@dataclass(frozen=True)
class Holder:
    """A process that holds a training.

    ``start`` tells the process from a later one with its PID, ``system`` its host from others of that name. Each is
    empty where unknown; records of earlier versions of this project have no ``system``.
    """

    pid: int
    host: str
    since: str
    start: str = ""
    system: str = ""

    @classmethod
    def this_process(cls) -> Self:
        """This process."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(os.getpid(), socket.gethostname(), now, _start(os.getpid()), identify_system())

    def __str__(self) -> str:
        return f"process {self.pid} on host {self.host}, since {self.since}"

    @property
    def is_here(self) -> bool:
        """Whether its PID can be looked up: the same host, boot and container, as far as both systems are known."""
        system = identify_system()
        same = self.system == system or not (self.system and system)
        return self.host == socket.gethostname() and same

    @property
    def is_dead(self) -> bool:
        """True if known to be dead: no process has the PID, it was reused, or the machine was rebooted since."""
        if not self.is_here:
            return self._was_rebooted
        if not 0 < self.pid < 2**31:  # a number that no process can have
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # another user's
        now = _start(self.pid)
        return bool(self.start and now) and self.start != now

    @property
    def _was_rebooted(self) -> bool:
        """True for an earlier boot of this very machine. A container may come back beside its former self."""
        here, there = identify_system().split(), self.system.split()
        if self.host != socket.gethostname() or len(here) != 3 or len(there) != 3:
            return False
        known = here[0] == there[0] != UNKNOWN and here[2] == there[2] == HOST
        return known and here[1] != there[1]


def identify_system() -> str:
    """Tell this system from others of its host name: its machine, its boot and its container, three words.

    A digest stands for the machine's id, which is not for others to see. Empty where the system has none (macOS).
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return ""
    try:
        machine_id = Path("/etc/machine-id").read_bytes().strip()  # empty in many images
    except OSError:
        machine_id = b""
    machine = hashlib.sha256(b"tracked:" + machine_id).hexdigest()[:16] if machine_id else UNKNOWN
    return f"{machine} {boot} {HOST if namespace == HOST_NAMESPACE else namespace}"


def _start(pid: int) -> str:
    """When a process was started, in the kernel's clock ticks; empty where the system does not tell."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
