"""A verb's parameters are those of the last release: one that comes or goes is named in CHANGELOG."""

import re

import pytest

from diabetes import Diabetes
from helpers import ROOT
from imdb_conv1d.experiment import EXPERIMENT
from make_docs import parameter_classes

pytestmark = pytest.mark.unit

RELEASE = "0.14.0"  # of the lists in tests/parameters, which are written anew for each release
FROZEN = {file.stem: file.read_text().split() for file in sorted((ROOT / "tests" / "parameters").glob("*.txt"))}


def list_parameters(verb: str) -> set[str]:
    entry_point = {"train": "main"}.get(verb, verb)
    classes = (parameter_classes(experiment).get(entry_point) for experiment in (EXPERIMENT, Diabetes()))
    return {name for cls in classes if cls for name in cls.model_fields}


def test_every_verb_has_a_list() -> None:
    verbs = {{"main": "train"}.get(name, name) for name in parameter_classes(EXPERIMENT)}
    assert verbs == set(FROZEN)


@pytest.mark.parametrize("verb", FROZEN)
def test_parameter_that_comes_or_goes_is_named_in_the_changelog(verb: str) -> None:
    news = (ROOT / "CHANGELOG.md").read_text().partition(f"## [{RELEASE}]")[0]
    changed = list_parameters(verb) ^ set(FROZEN[verb])
    assert [name for name in sorted(changed) if not re.search(rf"`{name}[`=]", news)] == [], (
        f"say it in CHANGELOG.md: {verb}"
    )
