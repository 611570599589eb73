"""Run folders: where a training's snapshots, journal and checkpoints are, who holds one, which files belong to it.

A run folder is named by the run's id and held by one process at a time. The lock is a flock, which ends with its
process. Run folders are beside a local tracking store, else in the user's state folder, or in the folder that the
experiment's setting names, such as ``DIABETES_SNAPSHOTS``.
"""

import fcntl
import json
import os
import re
import stat
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tracked.console.lines import one_line
from tracked.console.locks import find_state_folder
from tracked.training.files import (
    BEST,
    CHECKPOINT,
    CURVES,
    EARLY_STOPPING,
    ENVIRONMENT,
    HISTORY,
    JOURNAL,
    RANGE_PICTURE,
    RANGE_TABLE,
    ROWS,
)
from tracked.training.holder import Holder

LOCK, ATTEMPTS = "lock", "attempts"
# Files of a training in its run folder and in its aside-N folders; an experiment's file_patterns add to them.
OWN_FILES = (
    *map(re.escape, (ATTEMPTS, JOURNAL, BEST, ROWS, HISTORY, EARLY_STOPPING, CURVES, ENVIRONMENT)),
    *map(re.escape, (RANGE_TABLE, RANGE_PICTURE)),
    r"epoch-\d+-[0-9a-f]{64}\.npz", CHECKPOINT.pattern,
)  # fmt: skip
KERAS_TEMPORARY = r"tmp[a-z0-9_]{8}"  # Keras's, while it writes a checkpoint with little memory
ASIDE_FOLDER = "aside-{number}"
ASIDE = re.compile(r"aside-\d+")


def setting_name(experiment: str) -> str:
    """The environment variable that names the root of an experiment's run folders."""
    return f"{experiment.upper().replace('-', '_')}_SNAPSHOTS"


def find_root(experiment: str, tracking_uri: str) -> Path:
    """Find the root of an experiment's run folders.

    Args:
        experiment: the experiment's name.
    """
    if setting := os.environ.get(setting_name(experiment)):
        return Path(setting).expanduser().absolute()
    scheme = urlsplit(tracking_uri).scheme
    if scheme.startswith("sqlite"):
        database = tracking_uri.partition(":///")[2].partition("?")[0]
        return Path(database).absolute().parent / "snapshots"
    if scheme in ("", "file"):
        return Path(unquote(urlsplit(tracking_uri).path)).absolute().parent / "snapshots"
    return find_state_folder(experiment) / "snapshots"


def compile_own_files(files: Sequence[str]) -> re.Pattern[str]:
    """Compile the pattern of all names of a training's files.

    Args:
        files: patterns of the names of the experiment's files, beside ``OWN_FILES``.
    """
    return re.compile(rf"(partial-)?({'|'.join((*OWN_FILES, *files))})|{KERAS_TEMPORARY}")


def list_foreign(folder: Path, ours: re.Pattern[str]) -> list[str]:
    """List what :func:`empty_folder` would leave, by name.

    Raises:
        OSError: if the folder cannot be read.
    """
    left = []
    for path in sorted(folder.iterdir()):
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode) and ASIDE.fullmatch(path.name):
            left += [f"{path.name}/{name}" for name in list_foreign(path, ours)]
        elif path.name not in (LOCK, ATTEMPTS) and not (stat.S_ISREG(mode) and ours.fullmatch(path.name)):
            left.append(path.name)
    return left


def empty_folder(folder: Path, ours: re.Pattern[str]) -> list[str]:
    """Remove a training's files, except the lock and the tokens, from a folder; returns the names of other files."""
    left = []
    try:
        paths = sorted(path for path in folder.iterdir() if path.name not in (LOCK, ATTEMPTS))
    except OSError as error:
        return [one_line(error)]
    for path in paths:
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
    """Find the process that holds a folder; None if no process does, or the folder does not exist.

    Raises:
        OSError: if the lock cannot be read.
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
    """Read the tokens of all attempts that used a folder; empty if it is not a run folder."""
    try:
        return (folder / ATTEMPTS).read_text().split()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # a ValueError: not a text, or an impossible path
        return []


def last_holder(folder: Path) -> Holder | None:
    """The process that held a folder last; None if unknown."""
    try:
        return Holder(**json.loads((folder / LOCK).read_text()))
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def require_writable(root: Path) -> None:
    """Check that files can be written and locked in the root of run folders, which is made if missing.

    Raises:
        OSError: if they cannot.
    """
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=root) as file:
        file.write(bytes(4096))
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
