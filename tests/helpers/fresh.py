"""Code in a fresh process of Python, where what a process does once has not been done."""

import subprocess
import sys
from collections.abc import Mapping

from helpers import SRC


def run(code: str, env: Mapping[str, str] | None = None) -> str:
    """Run code that imports this project's packages; returns what it prints.

    Raises:
        subprocess.CalledProcessError: if it fails.
    """
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=env, cwd=SRC, capture_output=True, text=True, check=True).stdout
