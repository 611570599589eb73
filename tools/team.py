"""Start or end a team's servers on this machine: MLflow with users, PostgreSQL, S3.

make team
make team-stop

All that it makes is in .team and a folder in /tmp; the processes are found by a mark in their environment, so that
`stop` ends them whatever was killed before. Passwords are random, and stand in files that only their owner reads.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from helpers import ROOT, detached, postgresql
from helpers.auth_server import SERVER
from helpers.servers import free_port
from helpers.team_stack import DATABASE, S3, TeamStack
from helpers.team_users import ADMIN
from team_state import TeamError, locked, read_stack, write_settings, write_stack

FOLDER = ROOT / ".team"
WORKERS = ("ann", "bob")
USERS = {
    ADMIN: "administrate",
    "ann": "work in the experiment ann, and make others and models",
    "bob": "work in the experiment bob, and make others and models",
    "eve": "read: nothing is granted to her",
}
NAMES = {DATABASE: "PostgreSQL", S3: "the S3 server", SERVER: "the MLflow server"}


def start(folder: Path) -> None:
    """Start the stack, or what has died of it.

    Raises:
        TeamError: if this system lacks something, or a server does not start.
    """
    if not Path("/proc/self/environ").exists():
        raise TeamError("this system has no /proc, by which the servers are found again; use Linux")
    if not postgresql.programs():
        raise TeamError("PostgreSQL is missing: install its server (Debian, Ubuntu: apt-get install postgresql)")
    stack = read_stack(folder)
    if stack and not (folder / "ready").exists():
        print("a start that did not come to its end is cleaned up")
        remove(folder, stack)
        stack = None
    try:
        revive(stack) if stack else make(folder)
    except RuntimeError as error:
        lines = str(error).strip().splitlines()
        logs = "make team-stop cleans up" if stack else "all is cleaned up"
        raise TeamError(f"{lines[0]} {lines[-1] if len(lines) > 1 else ''}; {logs}") from None
    describe(folder)


def make(folder: Path) -> None:
    """Make a stack and its users; one that fails is removed."""
    print("starting PostgreSQL, an S3 server and MLflow with users: half a minute")
    stack = TeamStack(f"http://127.0.0.1:{free_port()}", folder=folder, workers=2)
    try:
        write_stack(folder, stack)
        stack.start_all()
        for user in USERS:
            write_settings(folder, user, make_user(stack, user))
        write_stack(folder, stack)
        (folder / "ready").touch()
    except BaseException:
        remove(folder, stack)
        raise


def make_user(stack: TeamStack, user: str) -> dict[str, str]:
    """Make a user and, for one who works, an experiment; return the user's settings."""
    settings = {}
    if user != ADMIN:
        stack.add_user(user)
    if user in WORKERS:
        stack.call("POST", "2.0/mlflow/experiments/create", {"name": user}, user)
        settings["MLFLOW_EXPERIMENT_NAME"] = user  # the default experiment is the administrator's
    return stack.environment(user) | settings


def revive(stack: TeamStack) -> None:
    """Start again what has died.

    Raises:
        TeamError: if it was the S3 server: what it held is lost.
    """
    dead = find_dead(stack)
    if S3 in dead:
        raise TeamError(
            f"{NAMES[S3]} has died, and with it all artifacts: make team-stop removes the rest, then make team"
        )
    if not dead:
        print("it runs already")
    for part in dead:
        print(f"{NAMES[part]} has died, and is started again")
        if part == DATABASE:
            stack.start_database()
        else:
            stack.restart_server()


def find_dead(stack: TeamStack) -> list[str]:
    """The parts that do not run, in the order in which they start."""
    runs = {
        DATABASE: stack.database.is_running,
        S3: bool(detached.find(stack.folder, S3)),
        SERVER: bool(detached.find(stack.folder, SERVER)),
    }
    return [part for part, is_running in runs.items() if not is_running]


def stop(folder: Path) -> None:
    """End all processes of the stack, and remove what it made."""
    stack = read_stack(folder)
    if not stack and not detached.find(folder):
        print("no stack runs here")
    else:
        print(remove(folder, stack))


def remove(folder: Path, stack: TeamStack | None) -> str:
    """End and remove a stack; say what that was."""
    number = len(detached.find(folder))
    removed = [folder, *([stack.database_folder] if stack and stack.database_folder.exists() else [])]
    if stack:
        stack.stop_all()
    else:
        detached.end(folder)
    for path in folder.iterdir():
        if path.name != "lock":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return f"ended: {number} processes; removed: {' and '.join(map(str, removed))} with runs, artifacts and passwords"


def describe(folder: Path) -> None:
    """Print the address, the users and their files."""
    stack = read_stack(folder)
    assert stack
    where = os.path.relpath(folder)
    print(f"\nMLflow and its UI: {stack.uri}")
    print("\nuser   settings         may")
    for user, right in USERS.items():
        print(f"{user:6} {where}/{user}.env{' ' * (6 - len(user))} {right}")
    print(f"\nwork as ann:  set -a; . {where}/ann.env; set +a")
    print("the UI asks for the user's name and password; everybody may read, until the owner or admin says otherwise")
    print("end and remove all:  make team-stop")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=["start", "stop"])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where it is; .team by default")
    options = parser.parse_args()
    try:
        with locked(options.folder):
            {"start": start, "stop": stop}[options.verb](options.folder.resolve())
    except TeamError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
