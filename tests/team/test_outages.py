"""Faults of a team's servers while four trainings run; `make team-faults` has longer ones, and kills."""

import json
import subprocess
from pathlib import Path

import pytest

from helpers import ROOT, warm

pytestmark = [pytest.mark.slow, pytest.mark.needs("Team")]


def test_servers_that_go_and_come_back_lose_and_double_nothing(tmp_path: Path) -> None:
    command = [warm.python(), str(ROOT / "tools/team_faults.py"), "--epochs=60", "--seconds=15"]
    done = subprocess.run([*command, f"--json={tmp_path}/counts"], capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    counts = json.loads((tmp_path / "counts").read_text())
    assert (counts["trainings"], len(counts["faults"])) == (4, 5)
    assert not any(counts[name] for name in ("epochs lost", "epochs logged twice", "differing bits", "differences"))
