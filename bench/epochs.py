"""Run a training as a process and time each epoch by the lines that it prints.

The measured code is unchanged: an epoch lasts from the line before it to its own, with all work in between. Each peer
prints one line with ``val_loss`` at the end of an epoch.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

HERE = Path(__file__).parent
OUT = HERE / "out"
SRC = HERE.parent / "src"
PYTHON = sys.executable


@dataclass(frozen=True)
class Epochs:
    """``first``: seconds from the process's start to the end of epoch 1; ``seconds``: of each later epoch."""

    first: float
    seconds: list[float]
    val_loss: list[float]


def run(command: Sequence[str], cores: int | None = None) -> Epochs:
    """Run a Python script to its end, in an empty folder with a new MLflow store.

    Args:
        cores: number of processor cores for the script; all if None.

    Raises:
        RuntimeError: with the script's output, if it fails.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        return _run(command, Path(folder), cores)


def _run(command: Sequence[str], folder: Path, cores: int | None) -> Epochs:
    environment = os.environ | {
        "PYTHONUNBUFFERED": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "IMDB_CONV1D_CACHE_GB": "0",  # each training derives all that it needs
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
    }
    ends, losses, printed = [], [], []
    start = time.perf_counter()
    with subprocess.Popen(
        [PYTHON, *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=partial(_limit_cores, cores) if cores else None,
    ) as process:
        for line in process.stdout or ():
            printed.append(line)
            match = re.search(r"^(?!best).*\bval_loss:? ([^\s,]+)", line)
            if match:
                ends.append(time.perf_counter())
                losses.append(float(match[1]))
    if process.returncode or not ends:
        raise RuntimeError(f"{' '.join(command)}: exit {process.returncode}\n{''.join(printed[-20:])}")
    return Epochs(ends[0] - start, [end - before for before, end in pairwise(ends)], losses)


def _limit_cores(cores: int) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])  # Linux only


def table(head: Sequence[str], rows: Sequence[Sequence[object]], digits: int = 3) -> str:
    """Format a Markdown table; numbers are right-aligned, with ``digits`` significant digits."""

    def cell(value: object) -> str:
        return f"{value:#.{digits}g}".rstrip(".") if isinstance(value, float) else str(value)

    lines = [head, ["---", *["---:"] * (len(head) - 1)], *([cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write(name: str, text: str) -> None:
    """Print a result and write it to bench/out."""
    print(f"\n{text}\n", flush=True)
    OUT.mkdir(exist_ok=True)
    (OUT / name).write_text(text + "\n")
