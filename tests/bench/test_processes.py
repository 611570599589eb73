"""Processes that are measured and killed on their way."""

import os
import sys
from pathlib import Path

import pytest

import processes

WORKER = "import time; _ = 'spawn_main'; block = b'x' * 60_000_000; time.sleep(60)"
# Writes a part every 50 ms where the former attempt ended; its worker does nothing.
PREDICTION = f"""
import subprocess, sys, time
from pathlib import Path
Path("out").mkdir(exist_ok=True)
with open("attempts", "a") as file:
    file.write("x")
with subprocess.Popen([sys.executable, "-c", {WORKER!r}]) as worker:
    for number in range(12):
        part = Path(f"out/part-{{number}}")
        while not part.exists():
            time.sleep(0.3)
            part.touch()
    worker.kill()
"""


@pytest.mark.slow
def test_measured_memory_is_that_of_the_largest_worker_and_of_the_others(tmp_path: Path) -> None:
    worker = WORKER.replace("sleep(60)", "sleep(3)")
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {worker!r}])"
    measured = processes.measure([sys.executable, "-c", script], tmp_path, os.environ)
    assert measured.seconds > 3
    assert 60 < measured.peak_of_worker < 120
    assert 0 < measured.peak < measured.peak_of_worker


def test_process_that_fails_raises_its_output(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"exit 3: no such data"):
        processes.measure([sys.executable, "-c", "print('no such data'); raise SystemExit(3)"], tmp_path, os.environ)


@pytest.mark.slow
def test_prediction_is_killed_so_often_on_its_way_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LAUNCH", 0.1)
    monkeypatch.setattr(processes.random.Random, "uniform", lambda *_: 0.05)
    measured = processes.kill_on_the_way(
        [sys.executable, "-c", PREDICTION], tmp_path, os.environ, tmp_path / "out", parts=12, kills=3
    )
    assert measured.kills == 3
    assert len(list((tmp_path / "out").iterdir())) == 12
    assert len((tmp_path / "attempts").read_text()) == 3  # the third kill is the worker's
