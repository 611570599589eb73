"""A prediction on Ray: the bytes of one by processes, whatever is killed."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from helpers import ROOT, SRC, predicting, ray_actors
from helpers.answering import Doubler
from tracked.console.errors import RunFailed
from tracked.console.signals import Signals
from tracked.predict import tracked_prediction
from tracked.verbs import predict

pytestmark = [pytest.mark.slow, pytest.mark.needs("Ray")]


@pytest.fixture(autouse=True)
def _no_model(store: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("registry", "loader", "prediction_run"):
        monkeypatch.setattr(tracked_prediction, name, getattr(tracked_prediction, name))
    predicting.replace_model(tracked_prediction)
    predicting.replace_run(tracked_prediction)
    predicting.make_input(tmp_path / "rows.csv", 100, [3, 25])


def run(executor: str, output: str, seconds: float = 0.0) -> None:
    words = ["--data=rows.csv", f"--output={output}", f"--executor={executor}", "--part_rows=10"]
    predict.main(Doubler(seconds=seconds), words, Signals())


def wait_until(done: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_killed_actor_is_replaced_and_the_bytes_are_those_by_processes(capsys: pytest.CaptureFixture[str]) -> None:
    def kill() -> None:
        wait_until(lambda: Path("ray/part-00002.parquet").exists())
        os.kill(ray_actors.find_actors(os.getpid())[0], signal.SIGKILL)

    run("processes", "processes")
    killer = threading.Thread(target=kill)
    killer.start()
    run("ray", "ray", seconds=0.3)
    killer.join()
    said = capsys.readouterr().err
    assert re.search(r"the worker of part-0000\d died \(Ray says: SYSTEM_ERROR\); another takes it over", said)
    assert predicting.read_output(Path("ray")) == predicting.read_output(Path("processes"))
    assert not ray_actors.find_actors(os.getpid())


SCRIPT = f"""
import sys
sys.path[:0] = [{str(SRC)!r}, {str(ROOT / "tests")!r}]
from pathlib import Path
from helpers import predicting
from helpers.answering import Doubler
pid = predicting.fork(Doubler(seconds=0.3), sys.argv[1:], Path("log"), True)
print(pid, flush=True)
print(predicting.wait(pid))
"""


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_prediction_that_ends_on_ray_is_resumed_by_processes(signum: signal.Signals, status: int) -> None:
    words = ["--data=rows.csv", "--output=out", "--executor=ray", "--part_rows=10"]
    with subprocess.Popen([sys.executable, "-c", SCRIPT, *words], stdout=subprocess.PIPE, text=True) as begun:
        assert begun.stdout
        pid = int(begun.stdout.readline())
        wait_until(lambda: Path("out/part-00002.parquet").exists())
        os.kill(pid, signum)
        assert int(begun.stdout.readline()) == status, Path("log").read_text()
    run("processes", "out")
    run("processes", "processes")
    assert predicting.read_output(Path("out")) == predicting.read_output(Path("processes"))


def test_machine_that_does_not_see_the_folder_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    make = tracked_prediction._Prediction._make_setting
    elsewhere = {"working_folder": "/nowhere/at/all"}
    monkeypatch.setattr(tracked_prediction._Prediction, "_make_setting", lambda self: replace(make(self), **elsewhere))
    with pytest.raises(RunFailed, match=r"^part-00000: its worker did not start: .*/nowhere/at/all is not on machine"):
        run("ray", "out")
