"""The wheel in a fresh environment: the second experiment's script alone in an empty folder runs every verb.

It takes minutes and downloads TensorFlow where no cache has it, so that it runs with EXTRAS=wheel alone.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import EXAMPLE, ROOT
from helpers.processes import wait_until

pytestmark = pytest.mark.slow

UV = Path(sys.executable).parent / "uv"


def call(*command: object) -> str:
    """Run a command of the set-up; what it prints."""
    done = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment in which the wheel is installed, and what it needs."""
    folder = tmp_path_factory.mktemp("installed")
    call(UV, "build", "-q", "--wheel", "--out-dir", folder)
    call(UV, "venv", "-q", "--python", sys.executable, folder / "venv")
    python = folder / "venv" / "bin" / "python"
    call(UV, "pip", "install", "-q", "--python", python, *folder.glob("*.whl"))
    return python


@pytest.fixture
def environment() -> dict[str, str]:
    """The environment of a user who has set nothing: MLflow's store is in the working directory."""
    ours = re.compile("MLFLOW_|PYTHON|DIABETES_")
    kept = {name: value for name, value in os.environ.items() if not ours.match(name)}
    return kept | {"MLFLOW_DISABLE_TELEMETRY": "true"}


@pytest.mark.timeout(1200)
def test_every_verb_runs_from_an_empty_folder(python: Path, environment: dict[str, str], tmp_path: Path) -> None:
    shutil.copy(EXAMPLE / "diabetes.py", tmp_path)
    script = [str(python), "diabetes.py"]

    def run(*arguments: str, status: int = 0) -> str:
        done = subprocess.run([*script, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    command = [*script, "train", "--patience=20"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        (kept,) = wait_until(lambda: [*tmp_path.glob("snapshots/*/epoch-5-*.npz")], process, 600)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    assert kept.parent.name in run("unfinished")
    assert "registered diabetes version 1" in run("train", "--resume=latest")
    assert kept.parent.name not in run("unfinished")
    assert "on 147 patients" in run("evaluate")
    assert f"val_loss of run {kept.parent.name}" in run("replay")
    assert "is the first champion" in run("promote")
    run("train", "--epochs=1", "--learning_rate=1e-9")
    assert re.search("^2 trainings of Default, by val_loss", run("compare"), re.MULTILINE)
    assert "Kept: " in run("promote", status=3)
    assert "Promoted: " in run("promote", "--margin=150")
    assert "version 1 is the champion again" in run("rollback")
