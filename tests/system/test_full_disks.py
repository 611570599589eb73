"""Full and read-only disks, as real mounts in the namespace of one process and its children."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import mlflow
import pytest

from helpers import ROOT, warm
from helpers.resuming import ARGUMENTS
from helpers.runs import last_run
from helpers.trainings import Trainings
from tracked.training import run_folder

HERE = ROOT / "tests" / "helpers"
pytestmark = pytest.mark.slow


def can_mount() -> bool:
    """Check whether this user may mount in a private namespace: root on Linux."""
    if os.getuid() or not shutil.which("unshare"):
        return False
    return (
        subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode == 0
    )


def breaks_off_and_goes_on(trainings: Trainings, before: str, between: str, after: str) -> tuple[str, str]:
    """Train, run a command, and resume, all in one private mount namespace; return both outputs."""
    command = [warm.python(), str(HERE / "two_attempts.py"), before, between, after, trainings.name]
    done = subprocess.run(
        [*command, "--", *trainings.flags, *ARGUMENTS], capture_output=True, text=True, timeout=300, cwd=Path.cwd()
    )
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = Path("first.log").read_text(), Path("second.log").read_text()
    assert json.loads(done.stdout) == [1, 0], first + second
    assert first.splitlines()[-1].startswith("to resume: "), first
    return first, second


@pytest.fixture(autouse=True)
def _mounts() -> None:
    if not can_mount():
        pytest.skip("mounts need root on Linux, and unshare")


@pytest.mark.parametrize(
    ("trainings", "kilobytes", "what"),
    [("imdb", 140, "a checkpoint"), ("diabetes", 168, "a snapshot")],
    indirect=["trainings"],
)
def test_train_with_a_full_disk_under_the_snapshots_warns_and_recovers(
    store: str, trainings: Trainings, kilobytes: int, what: str
) -> None:
    Path("snapshots").mkdir()
    first, _ = breaks_off_and_goes_on(
        trainings,
        f"mount -t tmpfs -o size={kilobytes}k none snapshots",
        "ls -l snapshots/* > listing && mount -o remount,size=20m snapshots",
        "ls snapshots > left",
    )
    *_, error, go_on = first.splitlines()
    assert "No space left on device" in error, first
    assert "Traceback" not in first
    best_of_2, listed = "best-2.keras", Path("listing").read_text()
    assert (best_of_2 in listed) == (what == "a snapshot"), listed
    assert error.startswith("error: epoch 2 cannot be written to"), first
    assert go_on.endswith(f"--resume {last_run().info.run_id}")
    assert Path("left").read_text() == ""
    trainings.assert_same_run(last_run())


@pytest.mark.parametrize(
    ("trainings", "fault"), [("diabetes", "is full"), ("imdb", "cannot be written")], indirect=["trainings"]
)
def test_train_completes_if_the_artifact_folder(
    store: str, trainings: Trainings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
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
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "elsewhere")
    first, _ = breaks_off_and_goes_on(trainings, fill, make_room, "cp -r 'artifacts here' kept")
    assert "not everything could be logged; missing in run" in first
    assert "best.keras" in first.splitlines()[-2]
    shutil.rmtree(place)
    Path("kept").rename(place)
    trainings.assert_same_run(last_run())


def test_train_with_another_users_snapshot_folder_is_refused(tmp_path: Path) -> None:
    """Mode bits do not stop root, so a child process of another user runs the check."""
    here = tmp_path / "mine"
    here.mkdir(mode=0o700)
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        try:
            run_folder.require_writable(here)
        except PermissionError:
            os._exit(7)
        os._exit(8)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7
    run_folder.require_writable(here)
    assert list(here.iterdir()) == []
