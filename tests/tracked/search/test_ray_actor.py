"""The process of a worker on Ray, without Ray."""

import fcntl
import os
import pickle
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from diabetes import Diabetes
from helpers import EXAMPLE, SRC
from tracked.console.errors import UserError
from tracked.console.signals import Signals
from tracked.search.processes import start_worker
from tracked.search.tasks import Setting, Task
from tracked.search.worker import Worker
from tracked.training.holder import Holder
from tracked.workers import ray_actor
from tracked.workers.lifetime import Lifetime

pytestmark = pytest.mark.unit

TASK = Task("trial 0", "", "trial 0", {}, None, {})


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    """A setting of a search that has ended: nothing holds its folder."""
    return Setting("0", str(tmp_path), Holder(1, "elsewhere", "now"), "digest", "source", threads=0)


def is_held(folder: Path) -> bool:
    """Whether a worker still belongs to the search."""
    with (folder / "workers").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_a_worker_lets_go_of_an_ended_search_once_its_task_has_ended(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lives = threading.Event()
    lives.set()
    monkeypatch.setattr(Lifetime, "_is_wanted", lambda self: lives.is_set())
    worker = Worker(Diabetes(), setting, Signals(), ends_process=False)
    with worker._lifetime.working:
        lives.clear()
        time.sleep(1.5)
        assert worker.signals.signum is not None
        assert is_held(tmp_path)
    end = time.monotonic() + 10
    while is_held(tmp_path):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert worker.run(TASK).status == "interrupted"


@pytest.mark.parametrize("name", ["folder", "working_folder"])
def test_a_folder_that_is_missing_is_named(setting: Setting, name: str) -> None:
    lacking = replace(setting, **{name: "/nowhere/at/all"})
    begin = partial(start_worker, Diabetes(), lacking, ends_process=False)
    start = ray_actor.Start.here(begin, [lacking.folder, lacking.working_folder], "")
    with pytest.raises(UserError, match=f"^/nowhere/at/all is not on machine {os.uname().nodename}; share it with "):
        ray_actor.start(pickle.dumps(start))


SCRIPT = """
import os, pickle, sys
from functools import partial
sys.path[:0] = {path!r}
from diabetes import Diabetes
from tracked.search.processes import start_worker
from tracked.search.tasks import Setting
from tracked.workers import ray_actor

class Mine(Diabetes):
    name = "mine"

if __name__ == "__main__":
    setting = Setting("0", os.getcwd(), None, "0123456789abcdef", "a table", 3, {{"COLOUR": "blue"}}, os.getcwd())
    begin = partial(start_worker, Mine(), setting, ends_process=False)
    start = pickle.dumps(ray_actor.Start.here(begin, [os.getcwd()], "log"))
    open("start", "wb").write(pickle.dumps((sys.path, start)))
"""
ACTOR = """
import os, pickle, sys
os.environ["OMP_NUM_THREADS"] = "1"  # as Ray sets it
path, start = pickle.load(open("start", "rb"))
sys.path[:0] = path
from tracked.search import processes
from tracked.search.tasks import Outcome, Task
from tracked.workers import ray_actor
def show(worker, task):
    names = "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "COLOUR"
    print(type(worker.experiment), worker.experiment.name, task.name, [os.environ.get(name) for name in names])
    return Outcome("interrupted")
processes.carry_out = show
run = ray_actor.start(start)
print(pickle.loads(run(pickle.dumps(Task("trial 0", "", "", {}, None, {})))), "tensorflow" in sys.modules)
"""


@pytest.mark.parametrize("threads", [None, "4"])
def test_the_process_gets_the_searchs_threads_and_an_experiment_of_a_script(
    tmp_path: Path, threads: str | None
) -> None:
    script = tmp_path / "mine.py"
    script.write_text(SCRIPT.format(path=[str(SRC), str(EXAMPLE)]))
    environ = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    if threads:
        environ["OMP_NUM_THREADS"] = threads
    subprocess.run([sys.executable, script], cwd=tmp_path, env=environ, check=True)
    done = subprocess.run([sys.executable, "-c", ACTOR], cwd=tmp_path)
    lines = (tmp_path / "log").read_text().splitlines()
    assert done.returncode == 0, lines
    assert lines == [
        f"<class '__mp_main__.Mine'> mine trial 0 [{threads!r}, '3', 'blue']",
        "(Outcome(status='interrupted', run_id='', error='', version=''), False) False",
    ]
