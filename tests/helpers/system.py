"""Programs of the system that some tests need: which are missing, and which tests are left out for it."""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from helpers import postgresql, team


@cache
def find_chromium() -> str:
    """The system's Chromium, else Playwright's own; empty if there is none that runs."""
    own = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache/ms-playwright")
    names = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    found = (*filter(None, names), *map(str, sorted(own.glob("chromium-*/chrome-linux*/chrome"))))
    return next(filter(_runs, found), "")


def _runs(command: str) -> bool:
    """Ubuntu has one that only asks for another package."""
    try:
        return subprocess.run([command, "--version"], capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


EXTRAS = {"Ray": "ray", "Spark": "spark", "Team": "team"}  # tests of these are asked for: they start clusters


def is_asked_for(name: str) -> bool:
    """Whether the tests of a program among ``EXTRAS`` are asked for."""
    return EXTRAS[name] in os.environ.get("EXTRAS", "").split()


def find_ray() -> bool:
    """Whether Ray is there."""
    return importlib.util.find_spec("ray") is not None


@cache
def find_spark() -> bool:
    """Whether Spark is there, and a Java that it runs on."""
    java = Path(os.environ["JAVA_HOME"], "bin/java") if os.environ.get("JAVA_HOME") else "java"
    try:
        said = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60).stderr
    except (OSError, subprocess.TimeoutExpired):
        return False
    version = re.search(r'version "(\d+)', said)
    return importlib.util.find_spec("pyspark") is not None and version is not None and int(version[1]) >= 17


def find_team() -> bool:
    """Whether a team's servers are there, and PostgreSQL."""
    return team.PYTHON.exists() and postgresql.programs() is not None


@cache
def find_missing() -> Mapping[str, str]:
    """What tests need and the system lacks, with the package to install."""
    packages = {
        "Chromium": "chromium or google-chrome",
        "PostgreSQL": "postgresql",
        "Ray": "requirements-ray.txt",
        "Spark": "requirements-spark.txt and default-jre-headless",
        "Team": "postgresql, and requirements-team.txt into .venv-team (make does the latter)",
    }
    found = {
        "Chromium": find_chromium(),
        "PostgreSQL": postgresql.programs(),
        "Ray": is_asked_for("Ray") and find_ray(),
        "Spark": is_asked_for("Spark") and find_spark(),
        "Team": is_asked_for("Team") and find_team(),
    }
    return {name: package for name, package in packages.items() if not found[name]}


def require_asked(missing: Mapping[str, str]) -> None:
    """Require what ``EXTRAS`` asks for: a test run that leaves out what it was made for is no success.

    Raises:
        pytest.UsageError: naming what is missing.
    """
    for name in EXTRAS:
        if name in missing and is_asked_for(name):
            raise pytest.UsageError(f"EXTRAS asks for {name}, which is missing: install {missing[name]}")


def describe_missing(missing: Mapping[str, str]) -> list[str]:
    """The lines at the head of a test run."""
    system = "or as root on Debian or Ubuntu: make test-all SYSTEM=install"
    return [
        f"left out: the tests marked needs({name!r}), which are not asked for: make test-all EXTRAS={EXTRAS[name]}"
        if name in EXTRAS and not is_asked_for(name)
        else f"left out: the tests marked needs({name!r}), as {name} is missing: install {package}, {system}"
        for name, package in missing.items()
    ]


def split(items: list[pytest.Item], missing: Mapping[str, str]) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """The tests that can run, and those that need what is missing."""
    lacking = [item for item in items if any(mark.args[0] in missing for mark in item.iter_markers("needs"))]
    return [item for item in items if item not in lacking], lacking
