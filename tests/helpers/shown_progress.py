"""What the progress of some work would show."""

import itertools
from types import ModuleType

import pytest

from tracked.console import progress


def record_progress(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> list[str]:
    """Record what a module's progress would show, were each step to take a minute."""
    minutes, described = itertools.count(0, 60), list[str]()

    class Recorded(progress.Progress):
        def _show(self, now: float) -> None:
            described.append(f"{self.description}: {self._describe(now)}")

    def track(description: str, total: int | None, unit: str, *, summary: bool = True) -> progress.Progress:
        return Recorded(description, total, unit, summary, lambda: next(minutes))

    monkeypatch.setattr(module, "track", track)
    return described
