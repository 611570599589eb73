"""Run a command and all processes below it: its seconds, the peaks of their memory, kills on its way."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

POLL = 0.2  # seconds between two looks
OF_WORKERS = ("spawn_main", "ray::TrackedWorker", "pyspark.daemon")  # in a worker's command
LAUNCH = 8.0  # seconds in which a random kill comes before the first part


@dataclass(frozen=True)
class Measured:
    """Seconds from start to end; MB of the largest process that is no worker, and of the largest worker."""

    seconds: float
    peak: float
    peak_of_worker: float
    kills: int = 0


class Peaks:
    """The peaks of processes' memory: of the processes below one, workers apart."""

    def __init__(self) -> None:
        self.main = self.worker = 0.0

    def look(self, root: int) -> list[int]:
        """Note the peaks so far; returns the PIDs of the workers."""
        workers = []
        for pid in find_tree(root):
            with suppress(OSError, StopIteration):
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                peak = int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
                if pid != root and any(word in command for word in OF_WORKERS):
                    workers.append(pid)
                    self.worker = max(self.worker, peak)
                else:
                    self.main = max(self.main, peak)
        return workers


def find_tree(root: int) -> list[int]:
    """Find a process and all below it."""
    found = [root]
    for pid in found:
        with suppress(OSError):
            for thread in os.listdir(f"/proc/{pid}/task"):
                found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
    return found


def _begin(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)


def _require_success(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    if process.returncode:
        raise RuntimeError(f"exit {process.returncode}: {(folder / 'log.txt').read_text(errors='replace')[-3000:]}")


def measure(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Measured:
    """Run a command to its end.

    Raises:
        RuntimeError: with the end of its output, if it fails.
    """
    peaks, start = Peaks(), time.perf_counter()
    process = _begin(command, folder, environment)
    while process.poll() is None:
        peaks.look(process.pid)
        time.sleep(POLL)
    _require_success(process, folder)
    return Measured(time.perf_counter() - start, peaks.main, peaks.worker)


def kill_on_the_way(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], output: Path, parts: int, kills: int
) -> Measured:
    """Run a prediction and kill it at random moments, each some parts after the former; begin it again each time.

    SIGKILL goes in turn to the prediction, to all of its processes and to a worker, which it replaces by itself.

    Raises:
        RuntimeError: with the end of its output, if it fails by itself.
    """
    chance, peaks, killed, start = random.Random(1), Peaks(), 0, time.perf_counter()
    process = _begin(command, folder, environment)
    while True:
        wanted, delay = parts * killed // kills, chance.uniform(0, 2)
        workers: list[int] = []
        while process.poll() is None and (killed == kills or len(list(output.glob("part-*"))) < wanted or not workers):
            workers = peaks.look(process.pid)
            time.sleep(POLL)
        if process.poll() is None:
            time.sleep(delay if wanted else LAUNCH * delay / 2)
        if process.poll() is not None:
            _require_success(process, folder)
            return Measured(time.perf_counter() - start, peaks.main, peaks.worker, killed)
        chosen = ([process.pid], [process.pid, *workers], workers[:1])[killed % 3]
        for pid in chosen:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed += 1
        if process.pid in chosen:
            process.wait()
            process = _begin(command, folder, environment)
