"""Full and read-only disks, as real mounts in the namespace of one process and its children."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

from helpers import ROOT, predicting, warm
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


PREDICT = """
import json, subprocess, sys
from pathlib import Path
from helpers import predicting
from helpers.answering import Doubler

def predict(output):
    words = ["--data=rows.csv", f"--output={output}", "--part_rows=1000", "--workers=2"]
    return predicting.wait(predicting.fork(Doubler(), words, Path(f"{len(statuses)}.log")))

predicting.import_all()
statuses = []
statuses.append(predict("straight"))
for change in sys.argv[1:]:
    subprocess.run(change, shell=True, check=True)
    statuses.append(predict("out"))
subprocess.run("cp -r out kept", shell=True, check=True)
print(json.dumps(statuses))
"""


def predict_twice(before: str, between: str) -> tuple[list[int], str]:
    """Predict without and, in a private namespace, on a mount; then change the mount and predict again.

    Returns:
        the exit statuses of both on the mount, and what the first of them printed.
    """
    paths = [ROOT / "tests", ROOT / "src", ROOT / "examples" / "diabetes"]
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    command = ["unshare", "-m", sys.executable, "-c", PREDICT, before, between]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=variables)
    assert done.returncode == 0, done.stdout + done.stderr
    straight, *statuses = json.loads(done.stdout)
    assert straight == 0, Path("0.log").read_text()
    return statuses, Path("1.log").read_text()


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    predicting.make_input(Path("rows.csv"), 20_000, [3, 12_000])
    Path("out").mkdir()


def test_predict_on_a_full_disk_keeps_what_was_done_and_completes_it_to_the_same_bytes(rows: None) -> None:
    statuses, first = predict_twice("mount -t tmpfs -o size=160k none out", "mount -o remount,size=20m out")
    assert statuses == [1, 0], first
    error, kept = first.splitlines()[-2:]
    where = rf"(part-000\d\d|output: {Path('out').absolute()})"
    assert re.fullmatch(rf"error: {where} cannot be written \(No space left on device\)", error), first
    assert kept == "what was done is kept: the same command resumes it"
    assert "Traceback" not in first
    assert predicting.read_output(Path("kept")) == predicting.read_output(Path("straight"))


def test_predict_to_a_disk_that_cannot_be_written_is_refused_before_any_work(rows: None) -> None:
    statuses, first = predict_twice("mount -t tmpfs none out && mount -o remount,ro out", "mount -o remount,rw out")
    assert statuses == [2, 0], first
    assert (
        first.splitlines()[-1] == f"error: output: {Path('out').absolute()} cannot be written (Read-only file system)"
    )
    assert predicting.read_output(Path("kept")) == predicting.read_output(Path("straight"))


KEEP = """
import shutil, subprocess
import numpy as np
from tracked.training.derived_cache import DerivedCache

def keep(name):
    cache.keep({"name": name}, name, {"numbers": np.arange(40_000)})

def find(name):
    found = cache.find({"name": name}, name)
    return found is not None and bool(np.array_equal(found["numbers"], np.arange(40_000)))

cache = DerivedCache("squares")
cache.folder.mkdir(parents=True)
subprocess.run(f"mount -t tmpfs -o size=944k none {cache.folder}", shell=True, check=True)
keep("first")
keep("second")
keep("no more than half")
shutil.disk_usage = lambda folder: type("Usage", (), {"free": 1e9})
keep("more than all")
print(find("first"), find("second"), len(list(cache.folder.iterdir())))
subprocess.run(f"mount -o remount,ro {cache.folder}", shell=True, check=True)
keep("third")
print(find("first"), find("third"))
"""


def test_cache_on_a_full_or_read_only_disk_tells_a_line_and_finds_what_it_has(tmp_path: Path) -> None:
    own = {"XDG_CACHE_HOME": str(tmp_path), "SQUARES_CACHE_GB": "1", "PYTHONPATH": str(ROOT / "src")}
    command = ["unshare", "-m", sys.executable, "-c", KEEP]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ | own)
    assert done.stdout.splitlines() == ["True True 2", "True False"], done.stderr
    half, full, unwritable = done.stderr.splitlines()
    assert half.startswith("no more than half: not kept for later trainings (0.00 GB are more than half of the 0.00 GB")
    assert full == "more than all: not kept for later trainings ([Errno 28] No space left on device)"
    assert unwritable.startswith("third: not kept for later trainings ([Errno 30] Read-only file system")


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
