"""Real kills, a few: `make faults` has more. What the harness itself can see is shown first."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import faults
from faults import Found, Landed, Outcome, compare
from helpers import ROOT

HERE = ROOT / "tools"


def fingerprint() -> dict[str, object]:
    """What a training of two epochs leaves."""
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
def test_the_harness_sees(change: dict[str, object], kind: str) -> None:
    outcome = compare(fingerprint() | change, fingerprint())
    assert bool(outcome.all) == bool(kind)
    for name in ("lost", "doubled", "bits", "versions", "other"):
        assert bool(getattr(outcome, name)) == (name == kind)


def test_the_table_says_what_was_found_of_each_experiment() -> None:
    killed = Landed("random", "an epoch", "all epochs"), Landed("a model is uploaded", "settles", "all epochs")
    found = {
        "first": Found([killed[0]], [("run a", Outcome())], 3, 3),
        "second": Found(list(killed), [("run b", Outcome(bits=["weights"])), ("run c", Outcome())], 4, 5),
    }
    assert [one.bad for one in found.values()] == [False, True]
    assert faults.tabulate(found, "1", 60).splitlines()[2:] == [
        "| killed at | first | second |",
        "| --- | ---: | ---: |",
        "| a model is uploaded | 0 | 1 |",
        "| random | 1 | 1 |",
        "",
        "| a random moment fell where it | first | second |",
        "| --- | ---: | ---: |",
        "| an epoch | 1 | 1 |",
        "",
        "| found | first | second |",
        "| --- | ---: | ---: |",
        "| epochs lost | 0 | 0 |",
        "| epochs logged twice | 0 | 0 |",
        "| differing bits | 0 | 1 |",
        "| versions missing or doubled | 0 | 0 |",
        "| anything else | 0 | 1 |",
        "second: there are 5 runs, for 4 trainings",
        "second, run b",
        "    weights",
    ]


def test_the_kills_are_shared_by_the_experiments() -> None:
    assert [faults.share(60, 2, place) for place in range(2)] == [30, 30]
    assert [faults.share(7, 2, place) for place in range(2)] == [3, 4]
    assert faults.share(7, 1, 0) == 7


@pytest.mark.slow
@pytest.mark.parametrize(("experiment", "random"), [("diabetes", 10), ("imdb-conv1d", 3)])
def test_a_training_that_is_killed_anywhere_goes_on_as_the_same_run(
    tmp_path: Path, experiment: str, random: int
) -> None:
    """Each named point once, and some random moments."""
    command = [sys.executable, str(HERE / "faults.py"), f"--experiment={experiment}", f"--random={random}", "--each=1"]
    command += ["--scenarios=2", "--most=9", f"--json={tmp_path}/found"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    ((name, found),) = json.loads((tmp_path / "found").read_text()).items()
    assert name == experiment
    assert found["landed"]["random"] == random
    assert {name for name, count in found["landed"].items() if count == 1} == set(faults.points())
    assert set(found["counts"].values()) == {0}
