"""Versions of the made-up experiment, and a registry that tests move."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from helpers.adding import COLUMNS, EXAMPLE, Adder
from tracked.console.errors import UserError
from tracked.runs import connection, registry
from tracked.runs.registry import StoredModel
from tracked.serve import version as versions
from tracked.serve.frames import Setting
from tracked.serve.version import Version


def make_version(
    number: str = "1", folder: Path = Path("unused"), owner: Any = None, columns: tuple[str, ...] = COLUMNS,
    **metadata: Any,
) -> Version:  # fmt: skip
    """Make a version whose metadata tell the made-up experiment what is wrong with it."""
    stored = StoredModel(f"models:/adder/{number}", "adder", number, "", "run", "data")
    given = {"number": number, "columns": columns, **metadata}
    setting = Setting(owner, str(folder), {}, given, columns, given.pop("example", EXAMPLE))
    return Version(stored, f"digest of {number}", folder, setting)


@dataclass
class MadeRegistry:
    """A registry with one alias. ``versions`` have the metadata of each; ``fault`` is what it answers instead.

    ``broken`` is what the next download fails with; ``downloads`` are the numbers of those that were begun.
    """

    owner: Adder
    versions: dict[str, Mapping[str, Any]] = field(default_factory=lambda: {"1": {}})
    alias: str = "1"
    fault: Exception | None = None
    broken: Exception | None = None
    downloads: list[str] = field(default_factory=list)
    looks: int = 0

    def find(self, uri: str) -> StoredModel:
        """Find what the alias points at."""
        self.looks += 1
        if self.fault:
            raise self.fault
        if self.alias not in self.versions:
            raise UserError(f"model: {uri!r} cannot be found; allowed: one that exists")
        return make_version(self.alias).stored

    def fetch(self, owner: Any, stored: StoredModel, parameters: Any, folder: Path) -> Version:
        """Write a file where a model would be."""
        self.downloads.append(stored.version)
        folder.mkdir()
        (folder / "model").write_text(stored.version)
        if self.broken:
            raise self.broken
        made = make_version(stored.version, folder, owner, **self.versions[stored.version])
        return replace(made, setting=replace(made.setting, given=parameters.model_dump()))

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Put it in the place of MLflow's."""
        patch.setattr(registry, "find", self.find)
        patch.setattr(versions, "fetch", self.fetch)
        patch.setattr(connection, "require_answers", lambda: None)
