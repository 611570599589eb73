"""``make team`` and ``make team-stop``: what they start, tell, restart and remove, whatever is killed."""

import os
import random
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import ROOT, detached
from helpers.auth_server import SERVER
from helpers.team_stack import S3

pytestmark = [pytest.mark.slow, pytest.mark.needs("Team")]


def call(folder: Path, verb: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, ROOT / "tools/team.py", verb, f"--folder={folder}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=180)


def databases(folder: Path) -> list[Path]:
    """The folders of PostgreSQL that a stack has written down, if they are still there."""
    state = folder / "stack.json"
    known = state.read_text() if state.exists() else ""
    return [path for path in Path("/tmp").glob("team-postgresql-*") if str(path) in known]


def command_lines() -> str:
    return "\n".join(
        path.read_bytes().decode(errors="replace") for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()
    )


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "team"
    call(tmp_path / "team", "stop")


def test_a_stack_tells_its_users_survives_dead_servers_and_ends(folder: Path) -> None:
    started = call(folder, "start")
    assert started.returncode == 0, started.stderr
    for user in ("admin", "ann", "bob", "eve"):
        path = folder / f"{user}.env"
        assert f"/{user}.env" in started.stdout
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        password = path.read_text().partition("PASSWORD=")[2].split()[0]
        assert password not in started.stdout + command_lines()
        assert not [log for log in folder.glob("*.log") if password in log.read_text()]
    (database,) = databases(folder)
    again = call(folder, "start")
    assert (again.returncode, again.stdout.splitlines()[0]) == (0, "it runs already")
    detached.send(folder, SERVER, signal.SIGKILL)
    again = call(folder, "start")
    assert (again.returncode, again.stdout.splitlines()[0]) == (0, "the MLflow server has died, and is started again")
    detached.send(folder, S3, signal.SIGKILL)
    again = call(folder, "start")
    assert again.returncode == 1
    assert again.stderr.startswith("error: the S3 server has died, and with it all artifacts: make team-stop")
    ended = call(folder, "stop")
    assert ended.returncode == 0
    assert f"removed: {folder} and {database}" in ended.stdout
    assert (detached.find(folder), database.exists(), os.listdir(folder)) == ([], False, ["lock"])
    assert call(folder, "stop").stdout == "no stack runs here\n"


@pytest.mark.parametrize("seconds", [0.4, 1.5, 4.0, 10.0])
def test_a_start_that_is_killed_leaves_nothing_after_a_stop(folder: Path, seconds: float) -> None:
    command = [sys.executable, ROOT / "tools/team.py", "start", f"--folder={folder}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        time.sleep(seconds * random.uniform(0.7, 1.3))
        process.kill()
    known = databases(folder)
    assert call(folder, "stop").returncode == 0
    assert (detached.find(folder), os.listdir(folder)) == ([], ["lock"])
    assert not [path for path in known if path.exists()]


def test_two_commands_at_once_do_not_meet(folder: Path) -> None:
    command = [sys.executable, ROOT / "tools/team.py", "start", f"--folder={folder}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while not (folder / "stack.json").exists():
            time.sleep(0.01)
        second = call(folder, "stop")
        process.kill()
    assert (second.returncode, second.stderr) == (1, "error: another make team or make team-stop is at work\n")


def test_a_missing_postgresql_is_one_line(folder: Path) -> None:
    """The tool finds no program: neither on the path nor in Debian's folder."""
    code = (
        "import sys; sys.argv = ['team.py', 'start', '--folder=' + sys.argv[1]]; import team; "
        "team.postgresql.programs = lambda: None; sys.exit(team.main())"
    )
    done = subprocess.run([sys.executable, "-c", code, folder], cwd=ROOT / "tools", capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        "error: PostgreSQL is missing: install its server (Debian, Ubuntu: apt-get install postgresql)\n"
    )
    assert os.listdir(folder) == ["lock"]
