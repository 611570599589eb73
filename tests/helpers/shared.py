"""Fixtures that are made once for all workers of a test run: each takes seconds."""

import fcntl
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def make_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Any]) -> Any:
    """Return what ``make`` returns for a folder of its own; the first worker to ask calls it, the others wait."""
    base = factory.getbasetemp()
    folder = base.parent if base.name.startswith("popen-") else base  # workers have folders of theirs below that
    result = folder / f"{name}.pickle"
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not result.exists():
            place = folder / name
            place.mkdir(exist_ok=True)
            result.write_bytes(pickle.dumps(make(place)))
    return pickle.loads(result.read_bytes())
