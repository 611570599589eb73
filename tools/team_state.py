"""What `make team` writes down of its servers, for its owner's eyes alone."""

import fcntl
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from helpers.team_stack import TeamStack

STATE = "stack.json"
KEPT = ("uri", "passwords", "workers", "database_port", "database_password", "database_folder", "s3_port", "s3_key")


class TeamError(Exception):
    """What keeps the stack from starting, in one line."""


def read_stack(folder: Path) -> TeamStack | None:
    """The stack that a folder describes; None if there is none."""
    try:
        kept = json.loads((folder / STATE).read_text())
    except FileNotFoundError:
        return None
    return TeamStack(**kept | {"database_folder": Path(kept["database_folder"])}, folder=folder)


def write_stack(folder: Path, stack: TeamStack) -> None:
    """Write down all that ends and restarts a stack, before anything of it is there."""
    kept = {name: getattr(stack, name) for name in KEPT}
    write_private(folder / STATE, json.dumps(kept, default=str))


def write_settings(folder: Path, user: str, settings: Mapping[str, str]) -> None:
    write_private(folder / f"{user}.env", "".join(f"{name}={value}\n" for name, value in settings.items()))


def write_private(path: Path, content: str) -> None:
    """Write a file that only its owner reads, at once or not at all."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    new.touch(0o600)
    new.write_text(content)
    new.replace(path)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder, so that two commands do not meet.

    Raises:
        TeamError: if another one holds it.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TeamError("another make team or make team-stop is at work") from None
        yield
