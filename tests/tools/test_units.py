"""A test in a file with the mark ``unit`` imports nothing large."""

import importlib
from pathlib import Path

import pytest

from helpers import ROOT, units

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("name", units.LARGE)
def test_import_of_a_large_package_fails(name: str) -> None:
    with pytest.raises(units.Forbidden, match=f"a unit test imports {name}"):
        importlib.import_module(f"{name}.nothing")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(f"{name}_of_another_name")


def test_mark_is_read_from_a_files_text(tmp_path: Path) -> None:
    for number, (line, expected) in enumerate(
        {
            "pytestmark = pytest.mark.unit": True,
            'pytestmark = [pytest.mark.unit, pytest.mark.needs("Chromium")]': True,
            "# pytestmark = pytest.mark.unit": False,
            "pytestmark = pytest.mark.slow": False,
        }.items()
    ):
        file = tmp_path / f"test_{number}.py"
        file.write_text(f"import pytest\n\n{line}\n")
        assert units.is_unit(file) == expected, line
    assert units.is_unit(Path(__file__))
    assert not units.is_unit(ROOT / "tests/tracked/resume/test_resume.py")
