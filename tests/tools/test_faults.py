"""The kill harness's own checks, and a few real kills; `make faults` makes more."""

import importlib
import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest

import faults
from fault_points import PHASES
from faults import Landed, Outcome, Results, compare
from helpers import ROOT, warm
from helpers.subjects import SUBJECTS

TOOLS = ROOT / "tools"


def fingerprint() -> dict[str, object]:
    """The fingerprint of a training of two epochs."""
    return {
        "steps": {"loss": Counter({1: 1, 2: 1})},
        "values": {"loss at 1": "0x1p-1", "loss at 2": "0x1p-2"},
        "predictions": b"1", "weights": [b"2"], "checkpoint": [b"2"], "history.csv": [], "early_stopping.csv": [],
        "versions": 1, "models": ["READY"], "candidate": [True, True], "version's tags": {},
        "in order": True, "status": "FINISHED", "stop_reason": "epochs", "parameters": {}, "tags": [], "datasets": 1,
        "folder left": False, "artifacts": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({}, ""),
        ({"steps": {"loss": Counter({1: 1})}}, "lost"),
        ({"steps": {"loss": Counter({1: 1, 2: 2})}}, "doubled"),
        ({"steps": {"loss": Counter({1: 1, 2: 1, 3: 1})}}, "other"),
        ({"values": {"loss at 1": "0x1p-1", "loss at 2": "0x1.0000000000001p-2"}}, "bits"),
        ({"predictions": b"0"}, "bits"),
        ({"weights": [b"3"]}, "bits"),
        ({"versions": 2}, "versions"),
        ({"versions": 0}, "versions"),
        ({"candidate": "no alias"}, "versions"),
        ({"models": ["READY", "PENDING"]}, "versions"),
        ({"status": "RUNNING"}, "other"),
        ({"folder left": True}, "other"),
        ({"in order": False}, "other"),
    ],
)
def test_compare_with_a_change_reports_its_kind(change: dict[str, object], kind: str) -> None:
    outcome = compare(fingerprint() | change, fingerprint())
    assert bool(outcome.all) == bool(kind)
    for name in ("lost", "doubled", "bits", "versions", "other"):
        assert bool(getattr(outcome, name)) == (name == kind)


def test_tabulate_of_two_experiments_has_a_column_each() -> None:
    kills = Landed("random", "epoch", "all epochs"), Landed("a model is uploaded", "flushes", "all epochs")
    results = {
        "first": Results([kills[0]], [("run a", Outcome())], 3, 3),
        "second": Results(list(kills), [("run b", Outcome(bits=["weights"])), ("run c", Outcome())], 4, 5),
    }
    assert [result.bad for result in results.values()] == [False, True]
    assert faults.tabulate(results, "1", 60).splitlines()[2:] == [
        "| killed at | first | second |",
        "| --- | ---: | ---: |",
        "| a model is uploaded | 0 | 1 |",
        "| random | 1 | 1 |",
        "",
        "| killed at random in the phase | first | second |",
        "| --- | ---: | ---: |",
        "| epoch | 1 | 1 |",
        "",
        "| difference | first | second |",
        "| --- | ---: | ---: |",
        "| epochs lost | 0 | 0 |",
        "| epochs logged twice | 0 | 0 |",
        "| differing bits | 0 | 1 |",
        "| versions missing or doubled | 0 | 0 |",
        "| anything else | 0 | 1 |",
        "second: 5 runs for 4 trainings",
        "second, run b",
        "    weights",
    ]


def test_shares_of_a_number_are_equal_to_one() -> None:
    assert [faults.share(60, 2, index) for index in range(2)] == [30, 30]
    assert [faults.share(7, 2, index) for index in range(2)] == [3, 4]
    assert faults.share(7, 1, 0) == 7


def test_parts_of_the_points_are_all_points() -> None:
    names = list(faults.points())
    assert faults.choose_points(names, "1/1") == names
    assert sorted(faults.choose_points(names, "1/2") + faults.choose_points(names, "2/2")) == sorted(names)


@pytest.mark.parametrize("experiment", SUBJECTS)
def test_every_phase_of_a_training_is_a_function(experiment: str) -> None:
    """A function that has moved would end each training before its first line."""
    subject = SUBJECTS[experiment]
    for phase, module, function in subject.phases:
        assert phase in PHASES
        assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.slow
@pytest.mark.parametrize(("experiment", "random", "points"), [("diabetes", 10, "1/2"), ("imdb-conv1d", 3, "2/2")])
def test_training_killed_anywhere_and_resumed_is_the_same_run(
    tmp_path: Path, experiment: str, random: int, points: str
) -> None:
    """Each named point once in one of the experiments, and some random moments."""
    command = [warm.python(), str(TOOLS / "faults.py"), f"--experiment={experiment}", f"--random={random}", "--each=1"]
    command += [f"--points={points}", "--scenarios=2", "--most=9", f"--json={tmp_path}/results"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=580)
    assert process.returncode == 0, process.stdout[-4000:] + process.stderr[-2000:]
    ((name, results),) = json.loads((tmp_path / "results").read_text()).items()
    assert name == experiment
    assert results["landed"]["random"] == random
    landed = {name for name, count in results["landed"].items() if count == 1}
    assert landed == set(faults.choose_points(list(faults.points()), points))
    assert set(results["counts"].values()) == {0}
