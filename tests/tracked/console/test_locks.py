import errno
import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers import SRC
from tracked.console import locks
from tracked.console.errors import RunFailed

pytestmark = pytest.mark.unit

HOLD = (
    "import pathlib, sys; sys.path.insert(0, sys.argv[1]); from tracked.console import locks\n"
    "locks.SHARED = pathlib.Path(sys.argv[2])\n"
    "with locks.lock('an-experiment', 'x', 'another promotion of m'):\n"
    "    print('held', flush=True)\n"
    "    sys.stdin.readline()\n"
)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(locks, "SHARED", tmp_path / "shared")
    return tmp_path / "state"


def holding(umask: int = 0) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(SRC), str(locks.SHARED)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        umask=umask,
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_lock_of_a_killed_process_is_free(capsys: pytest.CaptureFixture[str]) -> None:
    with holding() as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with locks.lock("an-experiment", "x", "another promotion of m"):
        pass
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_lock_file_with_any_umask_is_private(tmp_path: Path, umask: int) -> None:
    former = os.umask(umask)
    try:
        with locks.lock("an-experiment", "x", "another promotion of m"):
            (path,) = tmp_path.rglob("*.lock")
            assert path.stat().st_mode & 0o077 == path.parent.stat().st_mode & 0o077 == 0
    finally:
        os.umask(former)


def test_lock_held_past_the_wait_fails_and_names_the_holder(capsys: pytest.CaptureFixture[str]) -> None:
    with holding() as process:
        holder = rf"process {process.pid}, since 20[0-9-]+T[0-9:]+\+00:00"
        message = rf"^another promotion of m has not ended within 0\.3 seconds: {holder}; try again later$"
        with (
            pytest.raises(RunFailed, match=message),
            locks.lock("an-experiment", "x", "another promotion of m", seconds=0.3),
        ):
            pass
        assert re.fullmatch(rf"waiting for another promotion of m to end: {holder}\n", capsys.readouterr().out)
        with locks.lock("an-experiment", "y", "another promotion of n", seconds=0):  # another model's lock
            pass
        process.communicate("\n")
    with locks.lock("an-experiment", "x", "another promotion of m", seconds=0):
        pass


def test_lock_released_during_the_wait_is_taken() -> None:
    with holding() as process:
        subprocess.Popen(["sh", "-c", f"sleep 0.5; kill {process.pid}"])
        start = time.monotonic()
        with locks.lock("an-experiment", "x", "another promotion of m", seconds=60):
            assert time.monotonic() < start + 30


def test_lock_without_a_usable_shared_folder_is_in_the_state_folder_or_fails(tmp_path: Path, state: Path) -> None:
    (tmp_path / "shared").touch()  # no folder can be made below
    with locks.lock("an-experiment", "x", "another promotion of m"):
        (path,) = state.rglob("*.lock")
        assert path.parent == state / "an-experiment" / "locks"
    path.unlink()
    path.parent.rmdir()
    path.parent.touch()
    with (
        pytest.raises(RunFailed, match=r"^another promotion of m cannot be kept out: no folder can hold a lock \("),
        locks.lock("an-experiment", "x", "another promotion of m"),
    ):
        pass


def test_lock_folder_of_another_user_is_not_used(tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with locks.lock("an-experiment", "x", "another promotion of m"):
        (folder,) = (tmp_path / "shared").iterdir()
        assert folder.name == f"an-experiment-locks-{os.getuid()}"
        assert folder.stat().st_mode & 0o777 == 0o700
        assert list(folder.iterdir())
        assert not state.exists()
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    folder.rename(folder.with_name("an-experiment-locks-12345"))  # as if made by another user
    with (
        pytest.raises(RunFailed, match=r"belongs to another user; remove it"),
        locks.lock("an-experiment", "x", "it"),
    ):
        pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK])
def test_lock_on_a_file_system_without_locks_uses_the_other_folder(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    flock = fcntl.flock

    def refuse(descriptor: int, operation: int) -> None:
        if str(tmp_path / "shared") in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(number, "no locks here")
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locks.lock("an-experiment", "x", "another promotion of m"):
        assert list(state.rglob("*.lock"))
