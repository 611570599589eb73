"""Unit tests: they import neither TensorFlow nor MLflow, so that all of them run before each commit."""

import re
import sys
from functools import cache
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

LARGE = ("keras", "mlflow", "tensorflow")
MARK = re.compile(r"^pytestmark = .*\bpytest\.mark\.unit\b", re.MULTILINE)


class Forbidden(AssertionError):
    """An import that a unit test may not make."""


@cache
def is_unit(file: Path) -> bool:
    """Whether a file of tests has the mark ``unit``; it is not imported."""
    return MARK.search(file.read_text()) is not None


class Guard(MetaPathFinder):
    """Refuses the large packages.

    Attributes:
        is_on: while a unit test runs, and always where unit tests alone are run.
    """

    def __init__(self) -> None:
        self.is_on = False
        sys.meta_path.insert(0, self)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Refuse a package.

        Raises:
            Forbidden: if it is large.
        """
        if self.is_on and name.partition(".")[0] in LARGE:
            raise Forbidden(f"a unit test imports {name}; without the mark unit of its file it may")
