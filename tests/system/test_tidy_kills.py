"""Kills of tidy at named points: the next tidy goes on, and what is left equals what a tidy without a kill leaves."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import ROOT

pytestmark = pytest.mark.slow


def test_killed_tidies_leave_what_a_tidy_without_a_kill_leaves(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "tools" / "tidy_faults.py"), "--made-up=30", "--kills=5", "--only-made-up"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"a tidy removes (\d+) in .*\n(?:.*\n)*5 kills in \d+ tidies; 0 files", done.stdout)
    assert found, done.stdout
    assert int(found[1]) > 5
