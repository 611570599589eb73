"""The folder of a prediction's answers: found, locked, begun, resumed or begun anew."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from tracked.console.errors import RunFailed, UserError
from tracked.console.lines import one_line, warn
from tracked.console.parameters import refusal
from tracked.console.predict_parameters import FOLDER
from tracked.predict import facts, part_files
from tracked.predict.manifest import JOURNAL, MANIFEST, Journal, State, read_manifest
from tracked.predict.tasks import Part
from tracked.training.files import PARTIAL, sha256_of
from tracked.training.run_folder_lock import HeldError, RunFolderLock
from tracked.workers.lifetime import STOP, WORKERS
from tracked.workers.processes import LOGS

WORK, MODEL = "work", "model"  # a folder in the output, there until it is complete, and one in that
FILES = (WORKERS, STOP, LOGS, re.escape(JOURNAL))  # of the folder work
OWN = re.compile(rf"({PARTIAL}-)?(part-\d{{5,}}\.(parquet|csv)|{re.escape(MANIFEST)})")


def find(text: str, source: str, clone: str) -> Path:
    """Find the output, as an absolute path.

    Args:
        source: the user's ``data``.
        clone: where ``mlflow run`` got this working folder from, if it was cloned; else empty.

    Raises:
        UserError: if it cannot be an output.
    """
    try:
        given = Path(text).expanduser()
        path = given.absolute()
        is_foreign = path.exists() and not path.is_dir()
    except (OSError, RuntimeError, ValueError) as error:
        raise refusal("output", text[:200], f"a valid path ({one_line(error)})") from None
    if is_foreign:
        raise refusal("output", text, FOLDER)
    if clone and not given.is_absolute() and path.is_relative_to(tempfile.gettempdir()):
        raise refusal("output", text, f"an absolute path, as mlflow run has cloned {clone} to a temporary folder")
    data = Path(source).expanduser().absolute()
    if data.is_dir() and path.is_relative_to(data):
        raise refusal("output", text, "a folder outside of data, where answers would be taken for rows")
    return path


@contextmanager
def hold(output: Path, lock: RunFolderLock) -> Iterator[Path]:
    """Hold an output within the block; yields its folder ``work``. An output without anything in it is removed after.

    Raises:
        UserError: if another process holds it, it cannot be written, or it holds something else.
    """
    is_ours = (output / MANIFEST).is_file() or (output / WORK).is_dir()
    try:
        if not is_ours and output.is_dir() and any(output.iterdir()):
            raise refusal("output", str(output), FOLDER)
        is_new = not output.exists()
        work = lock.take(output / WORK)
    except HeldError as held:
        raise UserError(f"output: {output} is held by {held}; wait for its end, or end that process") from None
    except OSError as error:
        raise UserError(f"output: {output} cannot be written ({error.strerror or one_line(error)})") from None
    try:
        yield work
    finally:
        with suppress(OSError):
            shutil.rmtree(work / MODEL, ignore_errors=True)
            if {path.name for path in work.iterdir()} <= {"lock", WORKERS}:  # nothing was begun
                lock.remove()
            if is_new:
                output.rmdir()  # if it is empty


def remove_work(lock: RunFolderLock) -> None:
    """Remove the folder ``work`` of a complete output, and let go of it."""
    if lock.folder:
        shutil.rmtree(lock.folder / MODEL, ignore_errors=True)
    lock.remove()


def open_state(output: Path, now: Mapping[str, Any], fresh: bool) -> State:
    """Begin a prediction, or read what the former attempts have done and check it.

    Args:
        now: what the answers depend on.
        fresh: whether to begin anew.

    Raises:
        UserError: if it depends on something else than before.
        OSError: if the output cannot be read or written.
    """
    work, journal = output / WORK, Journal(output / WORK / JOURNAL)
    try:
        state = State() if fresh else read_manifest(output) or (journal.read() if journal.path.exists() else State())
    except ValueError as error:
        raise UserError(
            f"output: {output} cannot be resumed ({one_line(error)}); give another, or fresh=true"
        ) from None
    if not state.facts:
        # What says that parts are complete goes first: a kill in between leaves parts that no one counts on.
        (output / MANIFEST).unlink(missing_ok=True)
        journal.path.unlink(missing_ok=True)
        _remove_parts(output)
        state = State(now)
        journal.begin(state)
        return state
    facts.require_same(output, state.facts, now)
    lost = [part for part in state.ordered if not _is_whole(output, part)]
    for part in lost:
        warn(f"{part.file} is missing or was changed, and is made again")
        del state.parts[part.number]
    if lost or not state.is_complete:
        state = replace(state, is_complete=False)
        if lost or not (work / JOURNAL).exists():
            journal.begin(state)
        (output / MANIFEST).unlink(missing_ok=True)
    return state


def _is_whole(output: Path, part: Part) -> bool:
    """Check that a part's files are as they were noted."""
    try:
        whole = sha256_of(output / part.file) == part.sha256
        lost = part_files.find_rejected(output, part.number)
        return whole and (not part.rejected_sha256 or sha256_of(lost) == part.rejected_sha256)
    except OSError:
        return False


def _remove_parts(output: Path) -> None:
    """Remove the files of a former prediction, and nothing else."""
    for entry in list(os.scandir(output)):
        if OWN.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
            os.unlink(entry.path)
    folder = output / part_files.REJECTED
    if folder.is_dir() and not folder.is_symlink():
        for path in folder.iterdir():
            if OWN.fullmatch(path.name):
                path.unlink()
        with suppress(OSError):
            folder.rmdir()


def explain_lost(output: Path, error: OSError) -> RunFailed:
    """Make the error of an output that can no longer be written."""
    return RunFailed(f"output: {output} cannot be written ({error.strerror or one_line(error)})")
