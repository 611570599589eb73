"""Trainings that did not come to their end: how each stands, and how one that nobody goes on with is closed."""

import io
import math
import shutil
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tracked.analysis.early_stopping import Rule
from tracked.console.errors import RunFailed, UserError
from tracked.console.lines import one_line
from tracked.console.parameters import refusal
from tracked.console.train_parameters import TrainParameters
from tracked.experiment import Experiment
from tracked.resume import resume_parameters, training_status
from tracked.resume.training_status import ResumableRun
from tracked.runs import run_calls, run_start
from tracked.runs.queries import MlflowRun
from tracked.runs.schema import CHECKPOINT_FOLDER, CLOSED, REGISTERED, STOP_REASON
from tracked.training import journal
from tracked.training.files import BEST, CHECKPOINT, JOURNAL, checkpoint_name
from tracked.training.journal import Entry
from tracked.training.run_folder import ASIDE_FOLDER
from tracked.training.run_folder_lock import HeldError, RunFolderLock
from tracked.training.snapshots import Snapshots


def select(found: Sequence[ResumableRun], close: str) -> list[ResumableRun]:
    """The ones to close: none for no, those known to be dead for dead, else the one with that run id.

    Raises:
        UserError: if that one is not unfinished, or a process works on it.
    """
    if close in ("no", "dead"):
        return [one for one in found if one.is_dead and close == "dead"]
    one = next((one for one in found if one.id == close), None)
    if one is None:
        raise refusal("close", close, "no, dead, or the run id of an unfinished training of the experiment")
    if one.holder:
        raise refusal("close", close, f"a training that no process works on: {one.holder} does")
    return [one]


def close_run(owner: Experiment, found: ResumableRun) -> str:
    """End a training's run for good; returns a line that says so, or why not.

    What its folder holds goes to the run first: epochs that the store lacks, the tables, the best checkpoint. Then the
    folder is removed; it stays where nothing tells which of its checkpoints the run should have. One whose version is
    registered is FINISHED, any other KILLED.

    Raises:
        RunFailed: if the store keeps failing, or the folder cannot be read; it stays then.
    """
    folder = training_status.find_folder(owner, found.run)
    with RunFolderLock(owner.file_patterns) as folder_lock:
        try:
            folder_lock.take(folder)
        except HeldError as held:
            return f"{found.id} is not closed: {held} works on it by now"
        except OSError as error:
            raise RunFailed(f"{folder} cannot be held ({one_line(error)})") from error
        run = run_calls.get(found.id)
        if run.info.status == "FINISHED" and REGISTERED in run.data.tags:
            return f"{found.id} is not closed: it has finished by now"
        status, unclear = "FINISHED" if REGISTERED in run.data.tags else "KILLED", ""
        if status == "KILLED":
            try:
                unclear = _log_folder(owner, run, folder)
            except OSError as error:
                raise RunFailed(f"{folder} cannot be read ({one_line(error)})") from error
            tags = {CLOSED: "true", STOP_REASON: run.data.tags.get(STOP_REASON, "killed")}
            run_calls.set_tags("saying that it is closed", found.id, tags)
        run_calls.end(found.id, status)
        if not unclear:
            folder_lock.remove()
    closed = f"closed {found.id} as {status}, after epoch {found.last_epoch}"
    return f"{closed}; {folder} stays, since {unclear}" if unclear else closed


def _log_folder(owner: Experiment, run: MlflowRun, folder: Path) -> str:
    """Store at its run what a training's folder has of it; returns why the folder must stay, empty if it need not."""
    known = run_calls.logged_epochs(run, journal.list_logged_metrics(owner))
    entries = journal.read(folder / JOURNAL)
    for entry in entries:
        if new := journal.missing_metrics(entry, known):
            run_calls.log_epoch(run.info.run_id, entry, new)
    own: TrainParameters | None = None
    files: list[tuple[Path, str | None]] = []
    with suppress(UserError, ValueError):  # recorded by somebody else, so that no rule is known
        own = resume_parameters.recorded_parameters(owner, run)
        if entries and len(entries) >= max(known, default=0):  # else the run has better tables already
            rule = Rule(own.direction, own.patience, own.min_delta)
            files += [(path, None) for path in journal.write_tables(entries, rule, own.monitor, folder)]
    checkpoint, unclear = _choose_checkpoint(run, folder, own, known, {entry.epoch: entry for entry in entries})
    if checkpoint:
        (folder / BEST).unlink(missing_ok=True)  # perhaps another name of the same file
        files.append((Path(shutil.copyfile(checkpoint, folder / BEST)), CHECKPOINT_FOLDER))
    for path, place in files:
        run_calls.upload(run.info.run_id, path, place)
    return unclear


def _choose_checkpoint(
    run: MlflowRun, folder: Path, own: TrainParameters | None, known: Mapping[int, Entry], written: Mapping[int, Entry]
) -> tuple[Path | None, str]:
    """The checkpoint in a training's folder that its run should get, and why that cannot be told, if it cannot.

    Args:
        own: the training's parameters, None where they are not known.
        known: what the run has of each epoch.
        written: what the journal has of each epoch.
    """
    there = {int(match[1]): path for path in _list_files(folder) if (match := CHECKPOINT.fullmatch(path.name))}
    if not there:
        return None, ""
    whole = {epoch: path for epoch, path in there.items() if _is_whole(path)}
    reached, told = max([*written, Snapshots(folder).last_epoch]), max(known, default=0)
    is_as_far = reached >= told  # it may have begun anew, and stopped again before it was where it had been
    best = _find_best_epoch({**known, **written} if is_as_far else {**written, **known}, max(reached, told), own)
    if best in whole:
        return whole[best], ""
    stored = run_calls.list_files(run.info.run_id, CHECKPOINT_FOLDER)
    if whole and (not stored or (reached and is_as_far and not best)):
        return whole[max(whole)], ""  # each is better than those before it
    if stored and reached and not is_as_far:
        return None, ""  # the run's is of all that it has
    if not whole:
        return None, "no checkpoint in it is whole"
    if not best:
        return None, "nothing tells how far its checkpoints came"
    return None, f"{checkpoint_name(best)} {'in it is not whole' if best in there else 'is not in it'}"


def _list_files(folder: Path) -> list[Path]:
    """The files in a training's folder and in what was set aside in it; of one name the last one counts."""
    aside = [path for path in sorted(folder.glob(ASIDE_FOLDER.format(number="*"))) if not path.is_symlink()]
    found = [path for place in [*aside, folder] for path in place.glob("*")]
    return [path for path in found if path.is_file() and not path.is_symlink()]


def _is_whole(path: Path) -> bool:
    """Whether a checkpoint, which is a zip file, has all of its content, by the content's checksums."""
    content = io.BytesIO(path.read_bytes())  # of which a place before its start is a ValueError, of a file an OSError
    try:
        with zipfile.ZipFile(content) as file:
            return file.testzip() is None
    except (ValueError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error):
        return False


def _find_best_epoch(history: Mapping[int, Entry], epochs: int, own: TrainParameters | None) -> int:
    """The epoch whose checkpoint is the best of so many, by the rule of the checkpoint; 0 if that cannot be told."""
    if own is None:
        return 0
    rule, best = Rule(own.direction, patience=0), 0
    for epoch in range(1, epochs + 1):
        if epoch not in history or own.monitor not in history[epoch].values:
            return 0
        value = history[epoch].values[own.monitor]
        if math.isfinite(value) and rule.improves(value, history[best].values[own.monitor] if best else None):
            best = epoch
    return best


def format_table(found: Sequence[ResumableRun]) -> str:
    """All of them, for a terminal."""
    return "\n".join(line for one in found for line in one.lines)


def name_own_run(owner: Experiment) -> None:
    """Where ``mlflow run`` has made a run for this verb, say at it what it is: else it would look like a training.

    Raises:
        UserError: if MLFLOW_RUN_ID names a run that is not this verb's.
        RunFailed: if the store keeps failing.
    """
    if made := run_start.require_own_run(owner, "unfinished"):
        run_start.name_run(owner, made, "unfinished")
