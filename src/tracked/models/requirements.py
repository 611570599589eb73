"""Compare the packages that a model was stored with with those that are installed."""

import importlib.metadata
import platform
import re
from pathlib import Path

PIN = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;*]+)")  # a line of a model's requirements


def find_other_packages(path: Path, python: str) -> list[str]:
    """Find the packages that a model pins and that have another version here or none, each as ``keras 3.1 (here 3.2)``.

    MLflow's own check maps all packages to their modules for this, a quarter of a second at each loading.

    Args:
        path: a downloaded model, whose ``requirements.txt`` is read, if there is one.
        python: the Python version that it names; the first two numbers count. May be empty.
    """
    file, others = path / "requirements.txt", []
    if python and python.split(".")[:2] != platform.python_version().split(".")[:2]:
        others.append(f"Python {python} (here {platform.python_version()})")
    for line in file.read_text().splitlines() if file.is_file() else []:
        if pinned := PIN.fullmatch(line.strip()):
            try:
                version = importlib.metadata.version(pinned[1])
            except importlib.metadata.PackageNotFoundError:
                version = "none"
            if version != pinned[2]:
                others.append(f"{pinned[1]} {pinned[2]} (here {version})")
    return others
