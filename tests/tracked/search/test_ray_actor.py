"""The process of a worker on Ray, without Ray."""

import fcntl
import os
import pickle
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from diabetes import Diabetes
from helpers import EXAMPLE, SRC
from tracked.console.errors import UserError
from tracked.console.signals import Signals
from tracked.search import ray_actor
from tracked.search import worker as worker_module
from tracked.search.tasks import Setting, Task
from tracked.search.worker import Worker
from tracked.training.holder import Holder

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
    monkeypatch.setattr(worker_module, "is_alive", lambda setting: lives.is_set())
    worker = Worker(Diabetes(), setting, Signals(), ends_process=False)
    with worker._working:
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
    start = ray_actor.Start.here(Diabetes(), lacking, "")
    with pytest.raises(UserError, match=f"^/nowhere/at/all is not on machine {os.uname().nodename}; share it with "):
        ray_actor.start(pickle.dumps(start))


SCRIPT = """
import os, pickle, sys
sys.path[:0] = {path!r}
from diabetes import Diabetes
from tracked.search import ray_actor
from tracked.search import worker as worker_module
from tracked.search.tasks import Setting

class Mine(Diabetes):
    name = "mine"

if __name__ == "__main__":
    setting = Setting("0", os.getcwd(), None, "0123456789abcdef", "a table", 3, {{"COLOUR": "blue"}}, os.getcwd())
    start = pickle.dumps(ray_actor.Start.here(Mine(), setting, "log"))
    open("start", "wb").write(pickle.dumps((sys.path, start)))
"""
ACTOR = """
import os, pickle, sys
os.environ["OMP_NUM_THREADS"] = "1"  # as Ray sets it
path, start = pickle.load(open("start", "rb"))
sys.path[:0] = path
from tracked.search import ray_actor
from tracked.search import worker as worker_module
from tracked.search.tasks import Task
def show(worker, task):
    names = "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "COLOUR"
    print(type(worker.experiment), worker.experiment.name, task.name, [os.environ.get(name) for name in names])
    return "outcome"
ray_actor.carry_out = show
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
    assert lines == [f"<class '__mp_main__.Mine'> mine trial 0 [{threads!r}, '3', 'blue']", "outcome False"]
