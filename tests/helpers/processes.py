"""Run commands as users type them, in separate processes."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PYTHON = Path(sys.executable)


def environment(server: str, python: Path = PYTHON) -> dict[str, str]:
    """The environment of a command on a tracking server, whose ``python`` is the one given."""
    # MLflow asks uv for this very Python, which may be on no other path; nothing is downloaded.
    path = f"{python.parent}:{PYTHON.parent}:{Path(sys.base_prefix) / 'bin'}:{os.environ['PATH']}"
    return {**os.environ, "MLFLOW_TRACKING_URI": server, "PATH": path, "PYTHONUNBUFFERED": "1"}


def wait_until(condition: Callable[[], object], process: "subprocess.Popen[str]", seconds: float = 120) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if found := condition():
            return found
        time.sleep(0.005)
    raise AssertionError(f"it did not come:\n{process.communicate()}")
