"""Compare the packages that a model requires with those that are installed."""

import importlib.metadata
import platform
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement


def find_other_packages(path: Path, python: str) -> list[str]:
    """Find what a model requires and what is another version here or missing, each as ``keras==3.1 (here 3.2)``.

    MLflow's own check maps all packages to their modules for this, a quarter of a second at each loading.

    Args:
        path: a downloaded model, whose ``requirements.txt`` is read, if there is one. Lines that name no package, such
            as options and files, are passed over.
        python: the Python version that it names; the first two numbers count. May be empty.
    """
    file, others = path / "requirements.txt", list[str]()
    if python and python.split(".")[:2] != platform.python_version().split(".")[:2]:
        others.append(f"Python {python} (here {platform.python_version()})")
    for line in file.read_text(errors="replace").splitlines() if file.is_file() else []:
        try:
            required = Requirement(line.partition(" #")[0].strip())
        except InvalidRequirement:
            continue
        if required.marker and not required.marker.evaluate():
            continue
        try:
            version = importlib.metadata.version(required.name)
        except importlib.metadata.PackageNotFoundError:
            version = ""
        if not version or not required.specifier.contains(version, prereleases=True):
            others.append(f"{required.name}{required.specifier} (here {version or 'none'})")
    return others
