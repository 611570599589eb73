"""Disks that are full or cannot be written, as real mounts that one process and its children see."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

from conftest import TINY
from resuming import ARGUMENTS, assert_same_run
from test_train import last_run
from tracked.training import run_folder

SRC = Path(__file__).parent.parent / "src"
pytestmark = pytest.mark.slow


def can_mount() -> bool:
    """Whether this user may mount something for itself alone: root on Linux."""
    if os.getuid() or not shutil.which("unshare"):
        return False
    return (
        subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode == 0
    )


# Gives up after seconds instead of a minute, and is src/train.py otherwise.
IMPATIENT = f"""
import sys
sys.path.insert(0, {str(SRC)!r})
from tracked.console import entry
from tracked.runs import context, writer
writer.Run.settle.__defaults__ = (3.0,)
context.PATIENCE_AFTER_ERROR = 2.0
from verbs import train
sys.argv[0] = {str(SRC / "train.py")!r}
entry.run(train.main)
"""


def in_namespace(*lines: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script whose mounts nobody else sees."""
    return subprocess.run(
        ["unshare", "-m", "sh", "-uc", "\n".join(lines)], capture_output=True, text=True, timeout=300, cwd=Path.cwd()
    )


def trains(noisy: Path, *arguments: str) -> str:
    return shlex.join([sys.executable, "-c", IMPATIENT, *(arguments or [f"--data={noisy}", *TINY, *ARGUMENTS])])


def breaks_off_and_goes_on(noisy: Path, before: list[str], between: list[str], after: str) -> tuple[str, str]:
    """Train, change something, and resume, all in one namespace; what both have printed."""
    done = in_namespace(
        *before,
        f"{trains(noisy)} > first.log 2>&1",
        "echo $? > first.rc",
        *between,
        f"{trains(noisy, '--resume=latest')} > second.log 2>&1",
        "echo $? > second.rc",
        after,
    )
    assert done.returncode == 0, done.stderr
    first, second = Path("first.log").read_text(), Path("second.log").read_text()
    assert Path("first.rc").read_text() == "1\n", first
    assert first.splitlines()[-1].startswith("to go on: "), first
    assert Path("second.rc").read_text() == "0\n", second
    return first, second


@pytest.fixture(autouse=True)
def _mounts() -> None:
    if not can_mount():
        pytest.skip("mounts need root on Linux, and unshare")


@pytest.mark.parametrize(
    ("kilobytes", "what"),
    [(128, "a checkpoint"), (176, "a snapshot")],
)
def test_a_full_disk_under_the_snapshots_is_said_and_made_good(
    store: str, noisy: Path, straight: dict[str, dict[int, float]], kilobytes: int, what: str
) -> None:
    Path("snapshots").mkdir()
    first, _ = breaks_off_and_goes_on(
        noisy,
        [f"mount -t tmpfs -o size={kilobytes}k none snapshots"],
        ["ls -l snapshots/* > listing", "mount -o remount,size=20m snapshots"],
        "ls snapshots > left",
    )
    *_, error, go_on = first.splitlines()
    assert "No space left on device" in error, first
    assert "Traceback" not in first
    best_of_2, listed = "best-2.keras", Path("listing").read_text()
    assert (best_of_2 in listed) == (what == "a snapshot"), listed
    assert error.startswith("error: epoch 2 cannot be kept in"), first
    assert go_on.endswith(f"--resume {last_run().info.run_id}")
    assert Path("left").read_text() == ""
    assert_same_run(last_run(), straight)


@pytest.mark.parametrize("fault", ["is full", "cannot be written"])
def test_an_artifact_folder_that(
    store: str, noisy: Path, straight: dict[str, dict[int, float]], tmp_path: Path, fault: str
) -> None:
    place = tmp_path / "artifacts here"
    place.mkdir()
    mlflow.create_experiment("elsewhere", artifact_location=str(place))
    fill, make_room = {
        "is full": ("mount -t tmpfs -o size=48k none 'artifacts here'", "mount -o remount,size=50m 'artifacts here'"),
        "cannot be written": (
            "mount -t tmpfs none 'artifacts here' && mount -o remount,ro 'artifacts here'",
            "mount -o remount,rw 'artifacts here'",
        ),
    }[fault]
    first, _ = breaks_off_and_goes_on(
        noisy, ["export MLFLOW_EXPERIMENT_NAME=elsewhere", fill], [make_room], "cp -r 'artifacts here' kept"
    )
    assert "MLflow could not be told everything; missing in run" in first
    assert "best.keras" in first.splitlines()[-2]
    shutil.rmtree(place)
    Path("kept").rename(place)
    assert_same_run(last_run(), straight)


def test_a_place_of_another_user_is_refused(tmp_path: Path) -> None:
    """Mode bits do not stop root, so a child becomes another user and asks."""
    here = tmp_path / "mine"
    here.mkdir(mode=0o700)
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        try:
            run_folder.require(here)
        except PermissionError:
            os._exit(7)
        os._exit(8)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7
    run_folder.require(here)
    assert list(here.iterdir()) == []
