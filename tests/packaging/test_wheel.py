"""The package that is built from src/tracked: what it holds, what it declares, and an experiment on it."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import tracked
from helpers import EXAMPLE, ROOT, SRC

pytestmark = pytest.mark.unit

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DECLARED = [Requirement(text) for text in PYPROJECT["project"]["dependencies"]]
PINNED = dict(re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: setuptools leaves files beside what it builds."""
    folder = tmp_path_factory.mktemp("a clone")
    shutil.copytree(SRC, folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", ".*"))
    shutil.copytree(ROOT / "docs", folder / "docs")
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", "dist", "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = (folder / "dist").iterdir()
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel holds, as an installation lays it out."""
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.mark.slow
def test_the_wheel_holds_tracked_and_nothing_else(installed: Path) -> None:
    assert {path.name for path in installed.iterdir()} == {
        "tracked",
        f"tracked_training-{tracked.__version__}.dist-info",
    }
    held = {path.relative_to(installed) for path in (installed / "tracked").rglob("*") if path.is_file()}
    kept = {path.relative_to(SRC) for path in (SRC / "tracked").rglob("*") if path.is_file()}
    assert held == {path for path in kept if "__pycache__" not in path.parts}


@pytest.mark.slow
def test_the_wheels_metadata_are_the_projects(installed: Path) -> None:
    (info,) = installed.glob("*.dist-info")
    metadata = Parser().parsestr((info / "METADATA").read_text())
    assert (metadata["Name"], metadata["Version"]) == ("tracked-training", tracked.__version__)
    assert (metadata["License-Expression"], metadata["Requires-Python"]) == ("Apache-2.0", "<3.14,>=3.11")
    assert {str(Requirement(text)) for text in metadata.get_all("Requires-Dist")} == {str(one) for one in DECLARED}


def find_imported(folder: Path) -> Iterator[str]:
    """Name the packages that the files of a folder import, without Python's own."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, path
                names = [node.module or ""]
            else:
                continue
            yield from {name.split(".")[0] for name in names} - sys.stdlib_module_names


def test_the_dependencies_are_what_tracked_imports() -> None:
    by_choice = {"ray"}  # a list of its own has it; without it, one line says what to install
    assert {one.name.replace("-", "_") for one in DECLARED} == set(find_imported(SRC / "tracked")) - {
        "tracked"
    } - by_choice


@pytest.mark.parametrize("dependency", DECLARED, ids=lambda one: one.name)
def test_a_dependency_is_a_range_around_the_pinned_version(dependency: Requirement) -> None:
    assert sorted(one.operator for one in dependency.specifier) == ["<", ">="]
    assert PINNED[dependency.name] in dependency.specifier


def test_the_build_is_pinned_to_the_environments_setuptools() -> None:
    assert PYPROJECT["build-system"]["requires"] == [f"setuptools=={PINNED['setuptools']}"]


def test_the_changelog_begins_with_this_version() -> None:
    versions = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert next(version for version in versions if version != "Unreleased") == tracked.__version__
    assert len(set(versions)) == len(versions)


def which_tracked(script: Path, *search: Path) -> Path:
    """Find the package that a script of an experiment imports, where Python searches these folders."""
    code = f"import sys; sys.path[:0] = {[str(script.parent), *map(str, search)]}; import {script.stem}, tracked"
    command = [sys.executable, "-P", "-c", f"{code}; print(tracked.__file__)"]
    done = subprocess.run(command, cwd=script.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip()).parent


@pytest.mark.slow
def test_an_experiment_in_a_folder_of_its_own_takes_the_installed_package(installed: Path, tmp_path: Path) -> None:
    script = shutil.copy(EXAMPLE / "diabetes.py", tmp_path)
    assert which_tracked(Path(script), installed) == installed / "tracked"


@pytest.mark.slow
def test_an_experiment_in_a_clone_takes_the_clones_package(installed: Path) -> None:
    assert which_tracked(EXAMPLE / "diabetes.py", installed) == SRC / "tracked"
