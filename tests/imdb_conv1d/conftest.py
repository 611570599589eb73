"""What several tests of the texts' experiment begin with."""

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Path]:
    """New run folders."""

    def make() -> Iterator[Path]:
        number = 0
        while number := number + 1:
            folder = tmp_path / f"run-{number}"
            folder.mkdir()
            yield folder

    return make()
