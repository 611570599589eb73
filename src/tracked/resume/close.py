"""Close an unfinished training: log what its run folder has, end its run, remove the folder."""

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
from tracked.training import journal, plateau_rates
from tracked.training.files import BEST, CHECKPOINT, JOURNAL, checkpoint_name
from tracked.training.journal import Entry
from tracked.training.run_folder import ASIDE_FOLDER
from tracked.training.run_folder_lock import HeldError, RunFolderLock
from tracked.training.snapshots import Snapshots


def select(trainings: Sequence[ResumableRun], close: str) -> list[ResumableRun]:
    """Select the trainings to close: none for "no", all dead ones for "dead", else the training with this run id.

    Raises:
        UserError: if that training is not unfinished, or a process holds it.
    """
    if close in ("no", "dead"):
        return [training for training in trainings if training.is_dead and close == "dead"]
    training = next((training for training in trainings if training.id == close), None)
    if training is None:
        raise refusal("close", close, "no, dead, or the run id of an unfinished training of the experiment")
    if training.holder:
        raise UserError(f"close: run {close} is held by {training.holder}; end that process first")
    return [training]


def close_run(owner: Experiment, training: ResumableRun) -> str:
    """Close a training's run; returns a line with the result.

    First the run folder's epochs that the run lacks, the tables and the best checkpoint are logged; then the folder is
    removed. The folder stays if its best checkpoint is unknown. With a registered version the run's status is FINISHED,
    else KILLED.

    Raises:
        RunFailed: if the store keeps failing, or the folder cannot be read; the folder stays then.
    """
    folder = training_status.find_folder(owner, training.run)
    with RunFolderLock(owner.file_patterns) as folder_lock:
        try:
            folder_lock.take(folder)
        except HeldError as held:
            return f"{training.id} was not closed: {held} holds it"
        except OSError as error:
            raise RunFailed(f"{folder} cannot be locked ({one_line(error)})") from error
        run = run_calls.get(training.id)
        if run.info.status == "FINISHED" and (REGISTERED in run.data.tags or training_status.is_of_search(run)):
            return f"{training.id} was not closed: it has finished meanwhile"
        status, unclear = "FINISHED" if REGISTERED in run.data.tags else "KILLED", ""
        if status == "KILLED":
            try:
                unclear = _log_folder(owner, run, folder)
            except OSError as error:
                raise RunFailed(f"{folder} cannot be read ({one_line(error)})") from error
            tags = {CLOSED: "true", STOP_REASON: run.data.tags.get(STOP_REASON, "killed")}
            run_calls.set_tags("tagging the run as closed", training.id, tags)
        run_calls.end(training.id, status)
        if not unclear:
            folder_lock.remove()
    closed = f"closed {training.id} as {status}, after epoch {training.last_epoch}"
    return f"{closed}; {folder} was kept: {unclear}" if unclear else closed


def _log_folder(owner: Experiment, run: MlflowRun, folder: Path) -> str:
    """Log a run folder's epochs, tables and best checkpoint; returns why the folder must stay, else empty."""
    known = run_calls.logged_epochs(run, journal.list_logged_metrics(owner))
    entries = journal.read(folder / JOURNAL)
    for entry in entries:
        if new := journal.missing_metrics(entry, known):
            run_calls.log_epoch(run.info.run_id, entry, new)
    parameters: TrainParameters | None = None
    files: list[tuple[Path, str | None]] = []
    with suppress(UserError, ValueError):  # parameters of another project: the rule is unknown
        parameters = resume_parameters.recorded_parameters(owner, run)
        if entries and len(entries) >= max(known, default=0):  # else the run has better tables already
            rule = Rule(parameters.direction, parameters.patience, parameters.min_delta)
            rates = plateau_rates.list_next_rates(parameters, (entry.values for entry in entries))
            tables = journal.write_tables(entries, rule, parameters.monitor, folder, rates)
            files += [(path, None) for path in tables]
    written = {entry.epoch: entry for entry in entries}
    checkpoint, unclear = _choose_checkpoint(run, folder, parameters, known, written)
    if checkpoint:
        (folder / BEST).unlink(missing_ok=True)  # perhaps a hard link of the checkpoint
        files.append((Path(shutil.copyfile(checkpoint, folder / BEST)), CHECKPOINT_FOLDER))
    for path, artifact_folder in files:
        run_calls.upload(run.info.run_id, path, artifact_folder)
    return unclear


def _choose_checkpoint(
    run: MlflowRun,
    folder: Path,
    parameters: TrainParameters | None,
    known: Mapping[int, Entry],
    written: Mapping[int, Entry],
) -> tuple[Path | None, str]:
    """Choose the checkpoint of a run folder to log, or give the reason why the best is unknown.

    Args:
        parameters: the training's, None if unknown.
        known: the logged epochs.
        written: the journal's epochs.
    """
    paths = {int(match[1]): path for path in _list_files(folder) if (match := CHECKPOINT.fullmatch(path.name))}
    if not paths:
        return None, ""
    intact = {epoch: path for epoch, path in paths.items() if _is_intact(path)}
    last_written, last_logged = max([*written, Snapshots(folder).last_epoch]), max(known, default=0)
    is_as_far = last_written >= last_logged  # False if the training restarted and ended before its former last epoch
    history = {**known, **written} if is_as_far else {**written, **known}
    best = _find_best_epoch(history, max(last_written, last_logged), parameters)
    if best in intact:
        return intact[best], ""
    stored = run_calls.list_files(run.info.run_id, CHECKPOINT_FOLDER)
    if intact and (not stored or (last_written and is_as_far and not best)):
        return intact[max(intact)], ""  # each checkpoint is better than those before it
    if stored and last_written and not is_as_far:
        return None, ""  # the run's checkpoint is the best of all its epochs
    if not intact:
        return None, "no checkpoint in it is intact"
    if not best:
        return None, "the best epoch of its checkpoints is unknown"
    return None, f"{checkpoint_name(best)} is {'damaged' if best in paths else 'missing'}"


def _list_files(folder: Path) -> list[Path]:
    """List the files in the aside-N folders of a run folder, then its own."""
    aside = [path for path in sorted(folder.glob(ASIDE_FOLDER.format(number="*"))) if not path.is_symlink()]
    paths = [path for parent in [*aside, folder] for path in parent.glob("*")]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def _is_intact(path: Path) -> bool:
    """Whether a checkpoint, a zip file, has all of its content, by the content's checksums."""
    content = io.BytesIO(path.read_bytes())  # a bad offset is a ValueError here; in a file an OSError, as disk errors
    try:
        with zipfile.ZipFile(content) as file:
            return file.testzip() is None
    except (ValueError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error):
        return False


def _find_best_epoch(history: Mapping[int, Entry], epochs: int, parameters: TrainParameters | None) -> int:
    """Find the best of the first ``epochs`` epochs by the checkpoint's rule; 0 if parameters or epochs are missing."""
    if parameters is None:
        return 0
    rule, best, monitor = Rule(parameters.direction, patience=0), 0, parameters.monitor
    for epoch in range(1, epochs + 1):
        if epoch not in history or monitor not in history[epoch].values:
            return 0
        value = history[epoch].values[monitor]
        if math.isfinite(value) and rule.improves(value, history[best].values[monitor] if best else None):
            best = epoch
    return best


def name_own_run(owner: Experiment) -> None:
    """Name the run that ``mlflow run`` has made for this verb, if any: without a name it would look like a training.

    Raises:
        UserError: if ``mlflow run`` has made a run that is not this verb's.
        RunFailed: if the store keeps failing.
    """
    if own := run_start.require_own_run(owner, "unfinished"):
        run_start.name_run(owner, own, "unfinished")
