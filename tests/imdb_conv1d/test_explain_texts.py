"""The true label of a mistake, in each form in which evaluations log it."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest
from mlflow.entities import Run, RunData, RunInfo, RunTag

from imdb_conv1d import explain_texts
from imdb_conv1d.experiment import EXPERIMENT
from imdb_conv1d.labels import Classes
from imdb_conv1d.parameters import ExplainParameters
from tracked.models.loader import DownloadedModel
from tracked.runs import evaluations, worst_rows
from tracked.runs.registry import StoredModel

STORED = StoredModel("models:/m/1", "m", "1", "m-1", "r-1")
REVIEWS, THREE = Classes(("negative", "positive")), Classes(("10", "2", "30"))


def find(monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, object]], classes: Classes, count: int = 5) -> list[str]:
    """Find the labels of the mistakes of an evaluation with these rows."""
    info = RunInfo("e-1", "0", "user", "FINISHED", 0, 0, "active")
    run = Run(info, RunData(tags=[RunTag("data_digest", "d"), RunTag("data_source", "shop.csv")]))
    monkeypatch.setattr(evaluations, "find_for_model", lambda owner, stored: run)
    monkeypatch.setattr(evaluations, "are_private", lambda owner, digest: False)
    table = pd.DataFrame(rows, dtype=object)
    monkeypatch.setattr(worst_rows, "read_worst", lambda run, folder: table)
    parameters, model = ExplainParameters(count=count), DownloadedModel(Path(), None)
    found = explain_texts.find_texts(EXPERIMENT, STORED, model, classes, parameters, Path())
    assert found.evaluation == "e-1"
    number = f"{len(found.rows)} of the worst mistakes" if len(found.rows) < len(rows) else f"{len(rows)} mistake"
    assert found.title.startswith(number)
    assert found.title.endswith(" of evaluation e-1 on shop.csv")
    return [row.label for row in found.rows]


@pytest.mark.parametrize(
    ("row", "classes", "label"),
    [
        ({"label": 0}, REVIEWS, "negative"),
        ({"label": 1}, REVIEWS, "positive"),
        ({"label": 7}, REVIEWS, "7"),
        ({"label": "positive"}, REVIEWS, "positive"),
        ({"label": "2"}, THREE, "2"),  # a name, not a code
        ({"label": 2, "class": "30"}, THREE, "30"),
        ({}, THREE, ""),
    ],
)
def test_label_of_a_mistake_is_its_name(
    monkeypatch: pytest.MonkeyPatch, row: Mapping[str, object], classes: Classes, label: str
) -> None:
    assert find(monkeypatch, [{"text": "a film", **row}], classes) == [label]


def test_first_mistakes_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[dict[str, object]] = [{"text": f"film {number}", "label": number % 2} for number in range(4)]
    assert find(monkeypatch, rows, REVIEWS, count=3) == ["negative", "positive", "negative"]
    assert find(monkeypatch, rows, REVIEWS) == ["negative", "positive", "negative", "positive"]
