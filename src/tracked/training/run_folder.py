"""Where trainings keep what they need to go on, and what of a folder is theirs.

Each has a folder by its run's id, held by one process at a time. The hold is a lock on an open file, which dies with
its process. The folder is beside a local tracking store, else in the user's state folder; a setting by the experiment's
name, such as ``DIABETES_SNAPSHOTS``, names another place.
"""

import fcntl
import json
import os
import re
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tracked.console.lines import one_line
from tracked.training.files import BEST, CHECKPOINT, CURVES, EARLY_STOPPING, ENVIRONMENT, HISTORY, JOURNAL, ROWS
from tracked.training.holder import Holder

LOCK, ATTEMPTS = "lock", "attempts"
# All that a training leaves in its folder beside the lock, and in the folders in it where something is set aside; an
# experiment's network may leave more.
OWN_FILES = (
    *map(re.escape, (ATTEMPTS, JOURNAL, BEST, ROWS, HISTORY, EARLY_STOPPING, CURVES, ENVIRONMENT)),
    r"epoch-\d+-[0-9a-f]{64}\.npz", CHECKPOINT.pattern,
)  # fmt: skip
KERAS_TEMPORARY = r"tmp[a-z0-9_]{8}"  # from within a checkpoint's writing, where Keras finds little memory
ASIDE = re.compile(r"aside-\d+")


def setting_name(experiment: str) -> str:
    """Name the environment variable that says where an experiment's trainings are kept."""
    return f"{experiment.upper().replace('-', '_')}_SNAPSHOTS"


def find_root(experiment: str, tracking_uri: str) -> Path:
    """Give the folder of the folders of an experiment's trainings.

    Args:
        experiment: its name.
    """
    if given := os.environ.get(setting_name(experiment)):
        return Path(given).expanduser().absolute()
    scheme = urlsplit(tracking_uri).scheme
    if scheme.startswith("sqlite"):
        database = tracking_uri.partition(":///")[2].partition("?")[0]
        return Path(database).absolute().parent / "snapshots"
    if scheme in ("", "file"):
        return Path(unquote(urlsplit(tracking_uri).path)).absolute().parent / "snapshots"
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / experiment / "snapshots"


def empty_folder(folder: Path, ours: re.Pattern[str]) -> list[str]:
    """Remove a training's files from a folder, but its lock and its tokens; the names of what else stays."""
    left = []
    try:
        found = sorted(path for path in folder.iterdir() if path.name not in (LOCK, ATTEMPTS))
    except OSError as error:
        return [one_line(error)]
    for path in found:
        try:
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode) and ASIDE.fullmatch(path.name):
                left += [f"{path.name}/{name}" for name in empty_folder(path, ours)]
                with suppress(OSError):
                    path.rmdir()
            elif stat.S_ISREG(mode) and ours.fullmatch(path.name):
                path.unlink()
            else:
                left.append(path.name)
        except OSError as error:
            left.append(one_line(error))
    return left


def find_holder(folder: Path) -> Holder | None:
    """Who holds a folder; None if nobody does, or there is none.

    Raises:
        OSError: if that cannot be found out.
    """
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return last_holder(folder) or Holder(0, "unknown", "a moment ago")
    finally:
        os.close(descriptor)
    return None


def read_attempts(folder: Path) -> list[str]:
    """The tokens of all attempts that a folder was used for; none if it is no folder of a training's."""
    try:
        return (folder / ATTEMPTS).read_text().split()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # a ValueError: no text, or no path at all
        return []


def last_holder(folder: Path) -> Holder | None:
    """Who held a folder last; None if that is not known."""
    try:
        return Holder(**json.loads((folder / LOCK).read_text()))
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def require_writable(root: Path) -> None:
    """Make sure that trainings can be kept there: that files can be written, and locks be held.

    Raises:
        OSError: if not.
    """
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=root) as file:
        file.write(bytes(4096))
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
