"""Python's collector of cycles rests while a command imports, and no longer."""

import pytest

from helpers import SRC, fresh
from tracked.verbs.command import VERBS


def test_collector_goes_on_without_what_was_made_while_it_rested() -> None:
    code = (
        "import gc; from tracked.console import collector; before = gc.get_freeze_count();"
        "collector.go_on(); print(gc.isenabled(), gc.get_freeze_count() == before);"  # it did not rest
        "collector.pause(); print(gc.isenabled());"
        "kept = [[number] for number in range(100_000)]; collector.go_on();"
        "print(gc.isenabled(), gc.get_freeze_count() > before + len(kept))"
    )
    assert fresh.run(code).splitlines() == ["True True", "False", "True True"]


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_lets_the_collector_go_on_before_its_work(verb: str) -> None:
    """Else a long work would never give back the memory of cycles."""
    code = (SRC / "tracked" / "verbs" / f"{verb}.py").read_text()
    assert "connection.require_answers(" in code or "collector.go_on(" in code


@pytest.mark.slow
def test_collector_works_once_tensorflow_is_imported() -> None:
    code = (
        "import gc; from tracked.console import collector, entry; from tracked.training import reproducibility;"
        "entry.is_command = True; collector.pause(); reproducibility.import_tensorflow();"
        "print(gc.isenabled(), gc.get_freeze_count() > 100_000)"
    )
    assert fresh.run(code) == "True True\n"
