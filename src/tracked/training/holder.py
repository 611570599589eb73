"""The process that holds a run folder, and whether it is dead."""

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
    """A process that holds a run folder.

    ``start`` distinguishes the process from a later one with its PID, ``system`` its host from others of its name. Each
    is empty where unknown; records of earlier versions of this project have no ``system``.
    """

    pid: int
    host: str
    since: str
    start: str = ""
    system: str = ""

    @classmethod
    def this_process(cls) -> Self:
        """Describe this process."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(os.getpid(), socket.gethostname(), now, _start(os.getpid()), identify_system())

    def __str__(self) -> str:
        return f"process {self.pid} on host {self.host}, since {self.since}"

    @property
    def is_here(self) -> bool:
        """Whether the PID is of this host, boot and container, as far as both systems are known."""
        system = identify_system()
        # The boot and the PID namespace: images may have machine ids of their own.
        is_same = self.system.split()[1:] == system.split()[1:] or not (self.system and system)
        return self.host == socket.gethostname() and is_same

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
            pass  # another user's process
        start = _start(self.pid)
        return bool(self.start and start) and self.start != start

    @property
    def _was_rebooted(self) -> bool:
        """True if the process ran in an earlier boot of this machine, outside a container, which may have a twin."""
        current, former = identify_system().split(), self.system.split()
        if self.host != socket.gethostname() or len(current) != 3 or len(former) != 3:
            return False
        is_same_machine = current[0] == former[0] != UNKNOWN and current[2] == former[2] == HOST
        return is_same_machine and current[1] != former[1]


def identify_system() -> str:
    """Identify this system among others of its host name: its machine, boot and container, three words.

    The machine's id is private, so its digest is used. Empty without /proc (macOS).
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
    """A process's start time in the kernel's clock ticks; empty where the system has no /proc."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
