"""Run commands one after the other, and note when each line of their output comes."""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from threading import Timer

import epochs

LIMIT = 3600.0  # seconds after which a command is killed, so that nobody waits for ever
EPOCH = re.compile(r"^(?!best).*\bval_loss:? ([^\s,]+)")
FIRST_STEP = re.compile(r"^(training a network|Epoch 1/)")
VARYING = re.compile(r"\b[0-9a-f]{12,}\b|-?\d[\d.,:]*(?:e[-+]\d+)?")  # what differs between two runs of a command


@dataclass(frozen=True)
class Timeline:
    """Seconds since the first command's start: of the last one's exit, and of each line.

    ``peak`` is the memory in MB of the largest process, ``cores`` the CPU seconds of all, as the system counts them.
    """

    seconds: float
    lines: list[tuple[float, str]]
    peak: float = 0.0
    cores: float = 0.0

    def when(self, pattern: str) -> float:
        """The seconds of the first line in which a regular expression is found; NaN without one."""
        return next((at for at, line in self.lines if re.search(pattern, line)), float("nan"))

    @property
    def epochs(self) -> list[float]:
        """The seconds of each epoch: from the line before it to its own."""
        ends = [at for at, line in self.lines if EPOCH.search(line)]
        starts = [at for at, line in self.lines if FIRST_STEP.search(line)]
        return [end - before for before, end in pairwise([*starts[:1], *ends])]


def run(
    commands: Sequence[Sequence[str]],
    folder: Path,
    environment: Mapping[str, str],
    statuses: Sequence[int] = (0,),
) -> Timeline:
    """Run Python scripts in a folder, one after the other.

    Raises:
        RuntimeError: with the end of the output, if one ends with another status.
    """
    lines, peak, cores, start = list[tuple[float, str]](), 0.0, 0.0, time.perf_counter()
    for command in commands:
        process = subprocess.Popen(
            [epochs.PYTHON, *command],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        assert process.stdout
        watchdog = Timer(LIMIT, process.kill)
        watchdog.start()
        try:
            with process.stdout:
                lines += [(time.perf_counter() - start, line.rstrip()) for line in process.stdout]
        except BaseException:  # such as Ctrl-C
            process.kill()
            raise
        finally:
            watchdog.cancel()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in statuses:
            said = "\n".join(line for _, line in lines[-20:])
            raise RuntimeError(f"{' '.join(command)}: exit {process.returncode}\n{said}")
        peak = max(peak, usage.ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024))
        cores += usage.ru_utime + usage.ru_stime
    return Timeline(time.perf_counter() - start, lines, peak, cores)


def make_environment(folder: Path, home: Path) -> dict[str, str]:
    """Make the environment of a measured command: a store in its folder, caches below ``home``."""
    places = {"HOME": home, "XDG_CACHE_HOME": home / ".cache", "XDG_STATE_HOME": home / ".state"}
    for place in places.values():
        place.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not re.match("MLFLOW_|IMDB_|DIABETES_", name)}
    return kept | {name: str(place) for name, place in places.items()} | {
        "PYTHONUNBUFFERED": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
    }  # fmt: skip


def make_store(folder: Path, home: Path) -> Path:
    """Write an empty store of MLflow's, with its tables, and return its file, which is of use in this folder alone."""
    code = "import mlflow; mlflow.MlflowClient().search_experiments()"
    run([["-c", code]], folder, make_environment(folder, home))
    return folder / "mlflow.db"


def describe(line: str) -> str:
    """Describe a line by what does not differ between two runs."""
    return "epoch" if EPOCH.search(line) else VARYING.sub("#", line)


def merge(timelines: Sequence[Timeline]) -> list[tuple[float, int, str]]:
    """Merge the lines of runs of one command: the median of the seconds, in how many runs it came, the first's text.

    Lines of two runs are the same if they differ in numbers and ids alone; the nth of one is the nth of the other.
    """
    found: dict[tuple[str, int], list[tuple[float, str]]] = {}
    for timeline in timelines:
        seen = Counter[str]()
        for at, line in timeline.lines:
            kind = describe(line)
            found.setdefault((kind, seen[kind]), []).append((at, line))
            seen[kind] += 1
    return sorted((median(at for at, _ in own), len(own), own[0][1]) for own in found.values())
