"""What several tests of the texts' experiment begin with."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imdb_conv1d import ids, ngram_fit, ngram_values


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


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the functions that have made something, in order."""
    calls: list[str] = []

    def record(module: Any, function: str) -> None:
        make = getattr(module, function)
        monkeypatch.setattr(module, function, lambda *given: calls.append(function) or make(*given))  # type: ignore[func-returns-value]

    record(ids, "encode_parts")
    record(ngram_fit, "fit")
    record(ngram_values, "number_in_file")
    return calls
