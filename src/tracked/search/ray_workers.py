"""Workers that are actors of Ray: on this machine, or on a cluster whose address is given.

Ray is imported in this module alone, and when a search asks for it: it is no package of ``requirements.txt``.
"""

import importlib.util
import os
import pickle
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tracked.console.errors import RunFailed
from tracked.console.lines import one_line, warn
from tracked.console.parameters import refusal
from tracked.experiment import Experiment
from tracked.search.processes import LOG
from tracked.search.ray_actor import Start
from tracked.search.tasks import GRACE, Event, Outcome, Setting, Task
from tracked.search.worker import STOP

AUTO = "auto"
CONNECT_SECONDS = 5.0  # in which a port answers
PROBE_SECONDS = 45.0  # in which a cluster answers; by itself, Ray waits for two minutes and more
OBJECT_STORE = 80_000_000  # bytes of shared memory, Ray's least: only tasks and outcomes go through it
PORT = 6379  # Ray's own, of a cluster
PORT_OF_CLIENT = 10001  # Ray's own, of ray://
QUIET = {"log_to_driver": False, "logging_level": "ERROR"}
# Connects as the search will, in a process that can be ended: Ray's own attempt can neither be shortened nor stopped.
PROBE = f"import sys, ray; ray.init(address=sys.argv[1], **{QUIET!r}); ray.shutdown()"


@dataclass
class _Slot:
    """A place for a worker: its actor, once made, its task and what its outcome will be taken from."""

    number: int
    actor: Any = None
    task: Task | None = None
    result: Any = None


def require_ray(address: str) -> None:
    """Check that Ray is installed and its cluster answers.

    Raises:
        UserError: if it is not, or does not.
    """
    if importlib.util.find_spec("ray") is None:
        raise refusal("executor", "ray", "processes, or ray after pip install -r requirements-ray.txt")
    _keep_private()
    if address == AUTO:
        return
    host, port = _split(address)
    try:
        socket.create_connection((host, port), CONNECT_SECONDS).close()
    except OSError as error:
        raise refusal("address", address, f"a Ray cluster that answers ({one_line(error)})") from None
    try:
        subprocess.run([sys.executable, "-c", PROBE, address], check=True, capture_output=True, timeout=PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        raise refusal("address", address, f"a Ray cluster that answers (none within {PROBE_SECONDS:.0f} s)") from None
    except subprocess.CalledProcessError as error:
        why = _explain_refusal(error.stderr.decode(errors="replace"))
        raise refusal("address", address, f"a Ray cluster that admits this machine ({why})") from None


def _explain_refusal(said: str) -> str:
    """Find the one line of Ray's traceback that says why a cluster does not admit this process."""
    if "AuthenticationError" in said:  # since Ray 2.60 or so, a cluster has a token unless its owner turns that off
        return "set RAY_AUTH_MODE=token, and put the cluster's token into ~/.ray/auth_token"
    return ([line.strip() for line in said.splitlines() if line.strip()] or ["no reason"])[-1]


def _split(address: str) -> tuple[str, int]:
    """Split an address into its host and its port.

    Raises:
        UserError: if it is none.
    """
    found = re.fullmatch(r"(ray://)?(\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+)(?::(\d{1,5}))?", address)
    if not found or not (found[1] or found[3]) or not 0 < int(found[3] or 1) < 2**16:
        raise refusal("address", address, f"auto, host:{PORT} or ray://host:{PORT_OF_CLIENT}")
    return found[2].strip("[]"), int(found[3] or PORT_OF_CLIENT)


def _keep_private() -> None:
    """Let Ray report nothing to its makers; what it starts inherits it."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"


class RayWorkers:
    """Workers as actors of Ray (:class:`tracked.search.tasks.Workers`); each writes what it prints to a log.

    A local cluster ends with the search, however that ends; on a cluster of its own, Ray ends the actors of a search
    that has died. In both, a worker itself sees that the search's run folder is not held any longer.

    Args:
        count: of workers.
        address: of a cluster; auto for one of this machine alone, which is started here.
    """

    def __init__(self, experiment: Experiment, setting: Setting, count: int, address: str = AUTO) -> None:
        self._experiment, self._setting, self._address = experiment, setting, address
        self._slots = [_Slot(number) for number in range(count)]
        self._folder = ""  # of Ray's own logs and sockets
        self._ray: Any = None

    def __enter__(self) -> Self:
        import ray

        _keep_private()
        # Ray takes over SIGTERM, and a search ends in order on it.
        handlers = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
        try:
            if self._address == AUTO:
                # Sockets there: a path may have 107 bytes at most, which a folder for temporary files may exceed.
                self._folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
                # Not any cluster that RAY_ADDRESS or a file in /tmp names.
                ray.init(
                    "local", num_cpus=len(self._slots), include_dashboard=False, object_store_memory=OBJECT_STORE,
                    _temp_dir=self._folder, **QUIET,
                )  # fmt: skip
            else:
                ray.init(self._address, **QUIET)
        except (Exception, SystemExit) as error:
            self._close(ray)
            raise RunFailed(f"Ray did not start: {one_line(error)}") from error
        except BaseException:
            self._close(ray)
            raise
        finally:
            for signum, handler in handlers.items():
                signal.signal(signum, handler)
        _silence_raylet()
        self._ray = ray
        self._tell_places()
        return self

    def _tell_places(self) -> None:
        cpus = self._ray.cluster_resources().get("CPU", 0)
        if cpus < len(self._slots) * self._cpus:
            few = f"the cluster has {cpus:.0f} CPUs, and {len(self._slots)} workers take {self._cpus} each"
            warn(f"{few}: some wait for a place")

    @property
    def _cpus(self) -> int:
        """Of an actor: by them, Ray decides which machine has a place for it, and nothing else."""
        return 1 if self._address == AUTO else max(1, self._setting.threads)

    def __exit__(self, *_: object) -> None:
        busy = [slot.result for slot in self._slots if slot.task]
        try:
            if busy:
                with suppress(OSError):  # the folder's disk is gone; Ray ends the actors
                    (Path(self._setting.folder) / STOP).touch()
                _, left = self._ray.wait(busy, num_returns=len(busy), timeout=GRACE)
                if left:
                    warn(
                        f"{len(left)} workers did not end within {GRACE:.0f} s and are killed; "
                        "their trainings can be resumed"
                    )
        finally:
            for slot in self._slots:
                self._drop(slot)
            self._close(self._ray)

    def _close(self, ray: Any) -> None:
        ray.shutdown()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def idle(self) -> int:
        """The number of workers without a task."""
        return sum(slot.task is None for slot in self._slots)

    def submit(self, task: Task) -> None:
        """Hand a task to an idle worker, whose actor is made if there is none."""
        slot = next(slot for slot in self._slots if slot.task is None)
        slot.task = task
        if slot.actor is None:
            log = str(Path(self._setting.folder) / LOG.format(number=slot.number))
            start = pickle.dumps(Start.here(self._experiment, self._setting, log))
            made = self._ray.remote(_define_actor()).options(num_cpus=self._cpus, max_restarts=0, max_task_retries=0)
            slot.actor = made.remote(sys.path, start)
        slot.result = slot.actor.run.remote(pickle.dumps(task))

    def wait(self, seconds: float) -> list[Event]:
        """Wait until a worker has left its task, for some time at most."""
        busy = [slot for slot in self._slots if slot.task]
        if not busy:
            time.sleep(seconds)
            return []
        try:
            self._ray.wait([slot.result for slot in busy], num_returns=1, timeout=seconds)
        except KeyboardInterrupt:  # Ray makes it of whatever a signal's handler raises; the search looks at its signals
            return []
        ready, _ = self._ray.wait([slot.result for slot in busy], num_returns=len(busy), timeout=0)
        return [self._receive(slot) for slot in busy if slot.result in ready]

    def _receive(self, slot: _Slot) -> Event:
        task, slot.task = slot.task, None
        assert task
        try:
            outcome: Outcome = pickle.loads(self._ray.get(slot.result))
        except self._ray.exceptions.RayError as error:
            self._drop(slot)  # also one that Ray cannot reach: another takes its place
            if getattr(error, "actor_init_failed", False):
                return Event(task, Outcome("failed", task.run_id, f"its worker did not start: {_find_reason(error)}"))
            return Event(task, None, f"died ({_find_reason(error)})")
        if outcome.status == "interrupted" or task.register:  # its signals are used up
            self._drop(slot)
        return Event(task, outcome)

    def _drop(self, slot: _Slot) -> None:
        """End a worker's process; the next task makes another."""
        if slot.actor is not None:
            with suppress(self._ray.exceptions.RayError):
                self._ray.kill(slot.actor, no_restart=True)
        slot.actor, slot.result = None, None


def _find_reason(error: Exception) -> str:
    """Find the one line of Ray's long message that says why."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    found = re.search(r"Worker exit type: (\w+)", str(error))
    if found and not getattr(error, "actor_init_failed", False):
        return f"Ray says: {found[1]}"
    return lines[-1] if lines else type(error).__name__


def _silence_raylet() -> None:
    """Keep Ray from printing eleven lines on a worker's death beside the one that the search prints.

    Ray has no setting for it; if a later Ray names the function otherwise, the lines appear.
    """
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *_, **__: None


def _define_actor() -> type:
    """Define the actor's class within a function, so that Ray sends the class itself: its process cannot import yet."""

    class SearchWorker:
        def __init__(self, path: list[str], start: bytes) -> None:
            import sys

            sys.path[:0] = [folder for folder in path if folder not in sys.path]
            from tracked.search import ray_actor

            self._run: Callable[[bytes], bytes] = ray_actor.start(start)

        def run(self, task: bytes) -> bytes:
            return self._run(task)

    return SearchWorker
