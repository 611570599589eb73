"""Real kills, a few: `make faults` has more. What the harness itself can see is shown first."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import faults
from faults import compare

HERE = Path(__file__).parent


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


@pytest.mark.slow
def test_a_training_that_is_killed_anywhere_goes_on_as_the_same_run(tmp_path: Path) -> None:
    """Each named point once, and ten random moments."""
    command = [sys.executable, str(HERE / "faults.py"), "--random=10", "--each=1", "--scenarios=2", "--most=9"]
    done = subprocess.run([*command, f"--json={tmp_path}/found"], capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    found = json.loads((tmp_path / "found").read_text())
    assert found["landed"]["random"] == 10
    assert {name for name, count in found["landed"].items() if count == 1} == set(faults.points())
    assert set(found["counts"].values()) == {0}
