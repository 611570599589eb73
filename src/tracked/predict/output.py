"""The folder of a prediction's answers: found, locked, let go of."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tracked.console.errors import RunFailed, UserError
from tracked.console.lines import one_line
from tracked.console.parameters import refusal
from tracked.console.predict_parameters import FOLDER
from tracked.predict.journal import JOURNAL
from tracked.predict.manifest import MANIFEST, is_manifest
from tracked.tables.files import covers
from tracked.training.run_folder import LOCK, last_holder
from tracked.training.run_folder_lock import HeldError, RunFolderLock
from tracked.workers.lifetime import STOP, WORKERS
from tracked.workers.processes import LOGS

WORK, MODEL = "work", "model"  # a folder in the output, there until it is complete, and one in that
FILES = (WORKERS, STOP, LOGS, re.escape(JOURNAL))  # of the folder work


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
    if covers(source, path):
        raise refusal("output", text, "a folder that neither holds data nor is in it")
    return path


@contextmanager
def hold(output: Path, lock: RunFolderLock) -> Iterator[Path]:
    """Hold an output within the block; yields its folder ``work``. An output without anything in it is removed after.

    Raises:
        UserError: if another process holds it, it cannot be written, or it holds something else.
    """
    try:
        _require_own(output)
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


def _require_own(output: Path) -> None:
    """Require that an output is new, is empty or is a prediction's: its files are written over and removed.

    Raises:
        UserError: if it is not.
        OSError: if it cannot be read.
    """
    if not output.is_dir() or not any(output.iterdir()):
        return
    work, manifest = output / WORK, output / MANIFEST
    # A kill may come before the lock is signed, and before the journal begins: nothing else is there then.
    is_bare = work.is_dir() and {path.name for path in work.iterdir()} <= {LOCK}
    is_begun = is_bare and (is_manifest(manifest) or {path.name for path in output.iterdir()} == {WORK})
    is_work = work.is_dir() and (last_holder(work) is not None or (work / JOURNAL).is_file() or is_begun)
    is_foreign = (work.exists() and not is_work) or (manifest.exists() and not is_manifest(manifest))
    if is_foreign or not (is_work or manifest.exists()):
        raise refusal("output", str(output), FOLDER)


def remove_work(lock: RunFolderLock) -> None:
    """Remove the folder ``work`` of a complete output, and let go of it."""
    if lock.folder:
        shutil.rmtree(lock.folder / MODEL, ignore_errors=True)
    lock.remove()


def explain_lost(output: Path, error: OSError) -> RunFailed:
    """Make the error of an output that can no longer be written."""
    return RunFailed(f"output: {output} cannot be written ({error.strerror or one_line(error)})")
