"""A run's parameters: one form of each number, whoever stored it, and one reader."""

import json
from typing import Any

import mlflow
import pytest
from mlflow.entities import Run

from diabetes import Diabetes
from helpers import SRC
from helpers.recording import record
from helpers.runs import last_run, table
from helpers.verbs import replay
from tracked.console.signals import Signals
from tracked.reports.comparison_table import differing_parameters
from tracked.resume.resume_parameters import recorded_parameters
from tracked.runs import metric_history, run_parameters

VALUES = [0.5, 0.4, 0.45, 0.46, 0.47]
MADE = {"mlflow.project.entryPoint": "main"}  # by mlflow run, which stores a number as it was typed


def run(patience: str, **tags: Any) -> Run:
    parameters = {"patience": patience, "min_delta": "1e-4", "monitor": "val_loss", "mode": "min"}
    return mlflow.get_run(record(VALUES, parameters, MADE | tags))


@pytest.mark.parametrize("tags", [{}, {"launch": json.dumps({"parameters": {"patience": "3", "min_delta": "0.0001"}})}])
def test_parameters_of_a_run_with_3_0_equal_those_with_3(store: str, tags: dict[str, str]) -> None:
    found = run_parameters.read_parameters(run("3.0", **tags))
    assert found == run_parameters.read_parameters(run("3"))
    assert (found["patience"], found["min_delta"]) == ("3", "0.0001")


def test_replay_of_a_run_with_3_0_equals_that_with_3(store: str) -> None:
    tables = []
    for patience in ("3.0", "3"):
        replay.main([f"--run={run(patience).info.run_id}"], Signals())
        tables.append(table(last_run(), "replay.csv").drop(columns="run_id"))
    assert sorted(set(tables[0]["patience"])) == [1, 2, 3]
    assert tables[0].equals(tables[1])


def test_compare_of_runs_with_3_0_and_3_shows_no_difference(store: str) -> None:
    assert differing_parameters([run("3.0"), run("3")]) == {}
    assert differing_parameters([run("3.0"), run("4")]) == {"patience": ["3", "4"]}


def test_resume_of_a_run_with_3_0_takes_3(store: str) -> None:
    found = [recorded_parameters(Diabetes(), run(patience)) for patience in ("3.0", "3")]
    assert found[0] == found[1]
    assert found[0].patience == 3


@pytest.mark.parametrize("patience", ["3.5", "many", "1e400", "nan"])
def test_patience_that_is_no_whole_number_is_none(store: str, patience: str) -> None:
    assert run_parameters.read_parameters(run(patience))["patience"] == patience
    assert metric_history.read(run(patience)).patience is None


@pytest.mark.parametrize(
    ("tag", "extended"),
    [
        ('{"patience": 5, "epochs": 60}', {"patience": 5, "epochs": 60}),
        ("patience to 5 after epoch 3; epochs to 60 after epoch 12", {"patience": 5, "epochs": 60}),
        ("patience to 5 after epoch 0", {"patience": 5}),
        ("patience to 4 after epoch 1; patience to 5 after epoch 3", {"patience": 5}),
        ('{"patience": "many", "epochs": 60}', {"epochs": 60}),
        ("[5]", {}),
        ("", {}),
    ],
)
def test_extended_values_are_read_in_both_forms(store: str, tag: str, extended: dict[str, int]) -> None:
    found = run("3", raised=tag)
    assert run_parameters.read_extended(found) == extended
    assert run_parameters.read_parameters(found)["patience"] == str(extended.get("patience", 3))
    assert recorded_parameters(Diabetes(), found).patience == extended.get("patience", 3)


def test_setting_of_the_run_id_is_in_one_file() -> None:
    assert [path.name for path in SRC.rglob("*.py") if "MLFLOW_RUN_ID" in path.read_text()] == ["connection.py"]
