"""The run folders of a search's trainings: how far one has come, which checkpoint stays, when it goes."""

from pathlib import Path

from tracked.console.lines import warn
from tracked.experiment import Experiment
from tracked.runs import run_calls
from tracked.runs.schema import CHECKPOINT_FOLDER
from tracked.training.files import BEST
from tracked.training.run_folder_lock import HeldError, RunFolderLock
from tracked.training.snapshots import Snapshots


def count_epochs(root: Path, run_id: str) -> int:
    """Count the epochs of a training's newest snapshot; 0 without one, or on a disk that does not answer."""
    try:
        return Snapshots(root / run_id).last_epoch
    except OSError:
        return 0


def keep_checkpoint(root: Path, run_id: str) -> None:
    """Log the best checkpoint of a training that has ended at its run, if its run folder is there.

    Raises:
        RunFailed: if the store keeps failing.
    """
    if (root / run_id / BEST).is_file():
        run_calls.upload(run_id, root / run_id / BEST, CHECKPOINT_FOLDER)


def remove(experiment: Experiment, root: Path, run_id: str) -> None:
    """Remove the run folder of a training that has ended; one that a process holds stays, with a warning."""
    folder = root / run_id
    if not run_id or not folder.is_dir():
        return
    try:
        with RunFolderLock(experiment.file_patterns) as folder_lock:
            folder_lock.take(folder)
            folder_lock.remove()
    except (HeldError, OSError) as error:
        warn(f"{folder} was not removed: {error}")
