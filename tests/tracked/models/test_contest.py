"""Which contests are refused before anything is read or evaluated."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from diabetes import Diabetes
from tracked.console.errors import UserError
from tracked.console.verb_parameters import PromoteParameters
from tracked.models import champions, contest, evaluation, loader
from tracked.runs import evaluations, registry
from tracked.runs.registry import StoredModel

REASON = "they predict other things"


class Particular(Diabetes):
    """An experiment that compares models of one kind only."""

    def explain_incomparable(self, metadata: Mapping[str, Any], others: Mapping[str, Any]) -> str:
        assert not {"data_source", "experiment"} & {*metadata, *others}  # the machinery's own names
        return REASON if metadata.get("kind") != others.get("kind") else ""


def stored(version: str, kind: str) -> StoredModel:
    metadata = {"kind": kind, "data_source": "d", "data_digest": version, "experiment": "diabetes"}
    return StoredModel(f"models:/m/{version}", "m", version, "", "", metadata=metadata)


@pytest.fixture
def champion(monkeypatch: pytest.MonkeyPatch) -> StoredModel:
    """Version 1 is the champion; nothing else may be read."""
    champion = stored("1", "old")
    monkeypatch.setattr(champions, "find_champions", lambda name: ("1", ["1"]))
    monkeypatch.setattr(registry, "find", lambda uri: champion)
    for module, name in (
        (evaluations, "find_for_model"), (loader, "download"), (evaluation, "find_subject"), (evaluation, "evaluate"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, lambda *_, name=name: pytest.fail(f"{name} was called"))
    return champion


@pytest.mark.parametrize("data", ["auto", "others.csv"])
def test_contest_of_models_that_cannot_be_compared_is_refused_before_anything_is_read(
    data: str, champion: StoredModel, tmp_path: Path
) -> None:
    parameters = PromoteParameters.model_construct(data=data)
    with pytest.raises(UserError) as refused:
        contest.set_up_contest(Particular(), stored("2", "new"), parameters, tmp_path)
    assert str(refused.value) == f"model: m version 2 cannot be compared with version 1, the champion: {REASON}"


def test_contest_without_a_champion_compares_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(champions, "find_champions", lambda name: ("", []))
    found = contest.set_up_contest(Particular(), stored("2", "new"), PromoteParameters.model_construct(), tmp_path)
    assert found.champion is None


def test_comparable_models_are_not_refused(champion: StoredModel) -> None:
    contest.require_comparable(Particular(), stored("2", "old"), champion)
    contest.require_comparable(Diabetes(), stored("2", "new"), champion)  # says nothing: all can be compared
