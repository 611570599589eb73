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

HOLD = (
    "import sys, time; sys.path.insert(0, sys.argv[1]); from tracked.console import locks\n"
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
        [sys.executable, "-c", HOLD, str(SRC)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, umask=umask
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
def test_lock_file_with_any_umask_is_private(state: Path, umask: int) -> None:
    former = os.umask(umask)
    try:
        with locks.lock("an-experiment", "x", "another promotion of m"):
            (path,) = state.rglob("*.lock")
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


def test_lock_without_a_writable_home_uses_a_private_folder_or_fails(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.touch()  # no folder can be made below
    with locks.lock("an-experiment", "x", "another promotion of m"):
        (folder,) = (tmp_path / "shared").iterdir()
        assert folder.name == f"an-experiment-locks-{os.getuid()}"
        assert folder.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    folder.rename(folder.with_name("an-experiment-locks-12345"))  # as if made by another user
    with (
        pytest.raises(PermissionError, match="belongs to another user; remove it"),
        locks.lock("an-experiment", "x", "it"),
    ):
        pass
