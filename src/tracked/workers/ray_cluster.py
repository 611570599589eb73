"""A connection to Ray: a cluster of this machine that is started and ended here, or one whose address is given."""

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tracked.console.errors import Interrupted, RunFailed
from tracked.console.lines import one_line
from tracked.console.parameters import refusal

AUTO = "auto"
CONNECT_SECONDS = 5.0  # in which a port answers
PROBE_SECONDS = 45.0  # in which a cluster answers; by itself, Ray waits for two minutes and more
OBJECT_STORE = 80_000_000  # bytes of shared memory, Ray's least: only tasks and outcomes go through it
PORT = 6379  # Ray's own, of a cluster
PORT_OF_CLIENT = 10001  # Ray's own, of ray://
QUIET = {"log_to_driver": False, "logging_level": "CRITICAL"}
# Connects as the holder will, in a process that can be ended: Ray's own attempt can neither be shortened nor stopped.
PROBE = f"import sys, ray; ray.init(address=sys.argv[1], **{QUIET!r}); ray.shutdown()"
STARTS = 3  # of a local cluster: on a busy machine, parts of it miss the 30 seconds that Ray gives them
PARTS = ("gcs_server", "raylet")  # processes of a cluster of this machine without which it is none
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is reported to its makers
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "300",
    "RAY_gcs_server_port_wait_time_s": "300",
}


def require_ray(address: str) -> None:
    """Check that Ray is installed and its cluster answers.

    Raises:
        UserError: if it is not, or does not.
    """
    if importlib.util.find_spec("ray") is None:
        raise refusal("executor", "ray", "processes, or ray after pip install -r requirements-ray.txt")
    os.environ.update(SETTINGS)
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


@contextmanager
def connected(address: str, cpus: int) -> Iterator[Any]:
    """Connect to a cluster within the block, or start one of this machine alone, which ends with the block.

    Args:
        cpus: of a cluster that is started: Ray's own measure of how many workers it has a place for.

    Raises:
        RunFailed: if Ray does not start.
        Interrupted: if a signal came.
    """
    os.environ.update(SETTINGS)
    import ray

    # Ray takes over SIGTERM, and a verb ends in order on it.
    handlers = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    # Sockets there: a path may have 107 bytes at most, which a folder for temporary files may exceed.
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp") if address == AUTO else ""
    try:
        try:
            _connect(ray, address, cpus, folder)
        finally:
            for signum, handler in handlers.items():
                signal.signal(signum, handler)
        _silence_raylet()
        yield ray
    finally:
        ray.shutdown()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def _connect(ray: Any, address: str, cpus: int, folder: str) -> None:
    for attempt in range(STARTS):
        try:
            if address != AUTO:
                ray.init(address, **QUIET)
            else:  # by this word not a cluster that RAY_ADDRESS or a file in /tmp names
                local = {"num_cpus": cpus, "object_store_memory": OBJECT_STORE, "include_dashboard": False}
                ray.init("local", _temp_dir=folder, **local, **QUIET)
            return
        except Interrupted:
            raise
        except (KeyboardInterrupt, SystemExit) as error:  # what Ray makes of signals
            came = signal.SIGTERM if isinstance(error, SystemExit) else signal.SIGINT
            raise Interrupted(came) from error
        except Exception as error:
            ray.shutdown()
            if address != AUTO or attempt + 1 == STARTS:
                raise RunFailed(f"Ray does not start: {one_line(error)}") from error


def has_ended(ray: Any, address: str) -> bool:
    """Check whether the cluster has ended: Ray's own calls would wait for it for ever."""
    if address != AUTO:
        try:
            socket.create_connection(_split(address), CONNECT_SECONDS).close()
        except OSError:
            return True
        return False
    node = ray._private.worker._global_node  # of the cluster that `connected` started
    return node is None or any(kind in PARTS for kind, _ in node.dead_processes())


def _silence_raylet() -> None:
    """Keep Ray from printing eleven lines on a worker's death beside the one that the verb prints.

    Ray has no setting for it; if a later Ray names the function otherwise, the lines appear.
    """
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *_, **__: None
