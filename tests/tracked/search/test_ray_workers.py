"""Workers on Ray: a local cluster that trains, loses a worker and ends with its search."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from diabetes import Diabetes
from helpers import EXAMPLE, ROOT, SRC, ray_actors
from helpers.search_workers import carry_out, made_setting, make_task, read_losses
from tracked.console.errors import Interrupted, RunFailed
from tracked.console.signals import Signals
from tracked.search.processes import ProcessWorkers
from tracked.search.ray_workers import RayWorkers
from tracked.search.tasks import Setting
from tracked.workers.lifetime import wait_for_workers

pytestmark = [pytest.mark.slow, pytest.mark.needs("Ray")]


@pytest.fixture
def setting(tmp_path: Path, store: str) -> Iterator[Setting]:
    with made_setting(tmp_path, store, Diabetes()) as made:
        yield made


def wait_until(done: Callable[[], object], seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


def find_actors() -> list[int]:
    return ray_actors.find_actors(os.getpid())


def log_of(setting: Setting, number: int) -> str:
    path = Path(setting.folder) / f"worker-{number}.log"
    return path.read_text() if path.exists() else ""


def test_ray_and_processes_give_equal_trials_to_the_bit_and_leave_nothing(setting: Setting, store: str) -> None:
    tasks = {0: make_task(0), 1: make_task(1, learning_rate=0.05, batch_size=16)}
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    with ProcessWorkers(Diabetes(), setting, 1) as processes:
        expected = {number: read_losses(event.outcome) for number, event in carry_out(processes, tasks).items()}
    with RayWorkers(Diabetes(), setting, 1) as workers:
        assert {signum: signal.getsignal(signum) for signum in before} == before
        folder = Path(workers._ray._private.worker._global_node.get_temp_dir_path())
        assert folder.is_dir()
        got = {number: read_losses(event.outcome) for number, event in carry_out(workers, tasks).items()}
        assert len(find_actors()) == 1  # one process for both
    assert got == expected
    assert all(len(losses) == 2 for losses in got.values())
    assert "trial 1: trial 1" in log_of(setting, 0)
    assert not folder.exists()
    wait_until(lambda: not find_actors())


def test_a_killed_actor_is_replaced_and_its_training_resumed(setting: Setting) -> None:
    long = make_task(0, epochs=4000, patience=3999)
    with RayWorkers(Diabetes(), setting, 2) as workers:
        workers.submit(long)
        wait_until(lambda: "trial 0" in log_of(setting, 0) and list(Path(setting.folder).parent.glob("*/epoch-*.npz")))
        (actor,) = find_actors()
        os.kill(actor, signal.SIGKILL)
        (event,) = workers.wait(60)
        assert event.task == long
        assert event.outcome is None
        assert event.death == "died (Ray says: SYSTEM_ERROR)"
        assert workers.idle == 2
        (folder,) = {path.parent for path in Path(setting.folder).parent.glob("*/epoch-*.npz")}
        again = make_task(0, run_id=folder.name, epochs=4000, patience=3999)
        workers.submit(again)
        wait_until(lambda: find_actors() not in ([], [actor]))
        wait_until(lambda: log_of(setting, 0).count("trial 0: ") == 2)
        with Signals().installed() as signals:
            threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()
            assert workers.wait(60) == []
            with pytest.raises(Interrupted):
                signals.check()
        began = time.monotonic()
    assert time.monotonic() - began < 55  # the end of the block asks the worker to end, which it does in order
    import mlflow

    run = mlflow.get_run(folder.name)
    assert run.data.tags["stop_reason"] == "interrupted"
    wait_for_workers(Path(setting.folder), Signals())


@pytest.mark.parametrize("part", ["gcs_server", "raylet"])
def test_a_cluster_that_ends_ends_the_search_in_one_line(setting: Setting, part: str) -> None:
    long = make_task(0, epochs=4000, patience=3999)

    def look() -> bool:
        for event in workers.wait(1):  # its worker may be told to have died first
            workers.submit(event.task)
        return False

    with RayWorkers(Diabetes(), setting, 1) as workers:
        workers.submit(long)
        wait_until(lambda: "trial 0" in log_of(setting, 0))
        node = workers._ray._private.worker._global_node
        (pid,) = [process.pid for kind, process in node.live_processes() if kind == part]
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(RunFailed, match=r"^Ray's cluster has ended[^\n]*$"):
            wait_until(look)
    wait_until(lambda: not find_actors())


def test_a_folder_that_a_machine_does_not_see_is_told_in_one_line(setting: Setting) -> None:
    from dataclasses import replace

    with RayWorkers(Diabetes(), replace(setting, working_folder="/nowhere/at/all"), 1) as workers:
        event = carry_out(workers, {0: make_task(0)})[0]
    assert event.outcome is not None
    assert event.outcome.status == "failed"
    assert "/nowhere/at/all is not on machine" in event.outcome.error
    assert "\n" not in event.outcome.error


SCRIPT = """
import os, sys
sys.path[:0] = {path!r}
from pathlib import Path
from diabetes import Diabetes
from helpers.search_workers import made_setting, make_task
from tracked.search.ray_workers import RayWorkers

class Mine(Diabetes):  # of __main__, as in an experiment's own script
    def load(self, parameters, source):
        print("loads", os.environ.get("OMP_NUM_THREADS"), os.environ["TF_NUM_INTRAOP_THREADS"], flush=True)
        return super().load(parameters, source)

if __name__ == "__main__":
    os.environ["TF_NUM_INTRAOP_THREADS"] = "0"
    with made_setting(Path.cwd(), os.environ["MLFLOW_TRACKING_URI"], Mine(), 2) as setting:
        with RayWorkers(Mine(), setting, 1) as workers:
            workers.submit(make_task(0, epochs=4000, patience=3999))
            print("submitted", flush=True)
            while not workers.wait(1):
                pass
"""


def test_a_killed_search_of_a_script_ends_its_workers(tmp_path: Path, store: str) -> None:
    script = tmp_path / "mine.py"
    script.write_text(SCRIPT.format(path=[str(SRC), str(EXAMPLE), str(ROOT / "tests")]))
    environ = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    search = subprocess.Popen([sys.executable, script], cwd=tmp_path, env=environ, start_new_session=True)
    folder = tmp_path / "snapshots" / ("5" * 32)
    log = folder / "worker-0.log"
    try:
        wait_until(lambda: log.exists() and "trial 0: " in log.read_text())
        wait_until(lambda: list(tmp_path.glob("snapshots/*/epoch-*.npz")))
    finally:
        os.kill(search.pid, signal.SIGKILL)
        search.wait()
    began = time.monotonic()
    wait_for_workers(folder, Signals())
    assert time.monotonic() - began < 120
    assert "loads None 2\n" in log.read_text()
    assert not re.search("Traceback", log.read_text())
