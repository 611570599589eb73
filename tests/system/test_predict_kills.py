"""Kills of predictions, as ``make predict-faults`` makes more of them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import ROOT

pytestmark = pytest.mark.slow


def test_predictions_killed_at_each_point_and_at_random_have_the_same_bytes(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "tools" / "predict_faults.py", "--times=1", "--kills=12"]
    done = subprocess.run([*command, f"--json={tmp_path}/found"], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "found").read_text())
    assert (found["lost"], found["doubled"], found["differing"], found["problems"]) == (0, 0, 0, [])
    assert sum(found["killed"].values()) >= 24
