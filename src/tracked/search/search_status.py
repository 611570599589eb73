"""The status of unfinished searches: whether one is held, what it has done, how it is resumed or closed."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tracked.console.errors import RunFailed, UserError
from tracked.console.lines import one_line
from tracked.experiment import Experiment
from tracked.resume import close as close_runs
from tracked.resume import training_status
from tracked.runs import queries, run_calls, trials
from tracked.runs.queries import MlflowRun
from tracked.runs.run_parameters import read_given
from tracked.runs.schema import (
    CLOSED,
    PARENT_RUN_ID,
    REGISTERED,
    SEARCH_PAGE,
    SEARCH_PICTURE,
    STOP_REASON,
    TRIAL,
    TRIALS_TABLE,
    VERB,
)
from tracked.search import trial_folders
from tracked.training import run_folder
from tracked.training.holder import Holder
from tracked.training.run_folder_lock import HeldError, RunFolderLock
from tracked.workers.lifetime import STOP, WORKERS
from tracked.workers.processes import LOGS

REPORT = tuple(map(re.escape, (TRIALS_TABLE, SEARCH_PAGE, SEARCH_PICTURE)))
FILES = (WORKERS, STOP, LOGS, *REPORT)  # of a search's run folder, beside the lock


@dataclass(frozen=True)
class UnfinishedSearch:
    """A search without an end: its run, the process that holds it, the number of trials that have begun."""

    run: MlflowRun
    holder: Holder | None
    trials: int
    is_elsewhere: bool = False  # may be alive on another host, or with a folder that cannot be read

    @property
    def id(self) -> str:
        """The run's id."""
        return str(self.run.info.run_id)

    @property
    def is_dead(self) -> bool:
        """True if known that no process works on it."""
        return self.holder is None and not self.is_elsewhere

    @property
    def lines(self) -> list[str]:
        """Lines for people: the run, its progress and holder, how to resume."""
        started = datetime.fromtimestamp(self.run.info.start_time / 1000, UTC).isoformat(" ", "seconds")
        tags, most = self.run.data.tags, read_given(self.run).get("trials", "?")
        life = f"alive: {self.holder}" if self.holder else f"dead, stop_reason {tags.get(STOP_REASON, 'unknown')}"
        if self.is_elsewhere and not self.holder:
            life = "unknown here whether alive"
        return [
            f"{self.id}  {self.run.info.run_name}",
            f"    search, started {started}, {self.trials} of {most} trials have begun; {life}",
            *([f"    resume with: search --resume {self.id}"] if self.is_dead else []),
        ]


def find_unfinished(
    owner: Experiment, experiment_id: str, runs: Sequence[MlflowRun] | None = None
) -> list[UnfinishedSearch]:
    """Find the unfinished searches in an MLflow experiment, the newest first; of a complete one, the end is missing.

    Args:
        runs: all of the MLflow experiment, if they have been read.
    """
    runs = queries.search("reading the runs", [experiment_id]) if runs is None else runs
    found = []
    for run in runs:
        tags = run.data.tags
        has_ended = CLOSED in tags or (REGISTERED in tags and run.info.status == "FINISHED")
        if tags.get(VERB) == "search" and queries.is_own(owner, run) and not has_ended:
            holder, is_elsewhere = _find_life(owner, run)
            begun = sum(TRIAL in one.data.tags and one.data.tags.get(PARENT_RUN_ID) == run.info.run_id for one in runs)
            found.append(UnfinishedSearch(run, holder, begun, is_elsewhere))
    return found


def _find_life(owner: Experiment, run: MlflowRun) -> tuple[Holder | None, bool]:
    """Find the process that holds a search, and whether one that this host does not see may be working on it."""
    try:
        return run_folder.find_holder(find_folder(owner, run)), training_status.is_elsewhere(owner, run)
    except OSError:  # a folder that cannot be read tells nothing
        return None, True


def find_latest(owner: Experiment) -> MlflowRun:
    """Find the newest unfinished search that no process holds, in the MLflow experiment of MLflow's settings.

    Raises:
        UserError: if there is none.
    """
    experiment = queries.find_experiment("auto")
    for search in find_unfinished(owner, experiment.experiment_id):
        if search.is_dead:
            return search.run
    raise UserError(f"resume: no resumable search in experiment {experiment.name}; start one without --resume")


def find_folder(owner: Experiment, run: MlflowRun) -> Path:
    """Find a search's run folder: below the present root, or where the last attempt had it."""
    return training_status.find_folder(owner, run)


def select(searches: Sequence[UnfinishedSearch], close: str) -> list[UnfinishedSearch]:
    """Select the searches to close: none for "no", all dead ones for "dead", else the one with this run id, if any.

    Raises:
        UserError: if a process holds that one.
    """
    if close in ("no", "dead"):
        return [search for search in searches if search.is_dead and close == "dead"]
    chosen = [search for search in searches if search.id == close]
    if chosen and chosen[0].holder:
        raise UserError(f"close: search {close} is held by {chosen[0].holder}; end that process first")
    return chosen


def find_live(
    searches: Sequence[UnfinishedSearch], trainings: Sequence[training_status.ResumableRun], close: str
) -> set[str]:
    """Find the trainings of searches that may be alive, by run id: one that no worker holds now waits for one.

    Raises:
        UserError: if ``close`` is one of them.
    """
    found = set[str]()
    for search in searches:
        own = {one.id for one in trainings if not search.is_dead and belongs_to(one.run, search)}
        if close in own:
            if search.holder is None:
                doubt = f"run {close} is of search {search.id}, of which it is unknown here whether it is alive"
                raise UserError(f"close: {doubt}; close the search itself if it is not")
            raise UserError(
                f"close: run {close} is of search {search.id}, which {search.holder} holds; end that process first"
            )
        found |= own
    return found


def belongs_to(run: MlflowRun, search: UnfinishedSearch) -> bool:
    """Whether a run is a training of a search."""
    return training_status.is_of_search(run) and run.data.tags.get(PARENT_RUN_ID) == search.id


def close(
    owner: Experiment, search: UnfinishedSearch, trainings: Sequence[training_status.ResumableRun]
) -> Iterator[str]:
    """Close a search's unfinished trainings and then its run, while no process can resume it; yields lines to tell.

    The checkpoints that the search still had of finished trainings are logged at their runs, and the run folders are
    removed. With a registered version the run's status is FINISHED, else KILLED.

    Args:
        trainings: the search's unfinished ones.

    Raises:
        RunFailed: if the store keeps failing, or the run folder cannot be locked.
    """
    folder = find_folder(owner, search.run)
    with RunFolderLock(FILES) as folder_lock:
        try:
            folder_lock.take(folder)
        except HeldError as held:
            yield f"{search.id} was not closed: {held} holds it"
            return
        except OSError as error:
            raise RunFailed(f"{folder} cannot be locked ({one_line(error)})") from error
        present = run_calls.get(search.id)  # another process may have finished it before the lock
        if REGISTERED in present.data.tags and present.info.status == "FINISHED":
            folder_lock.remove()
            yield f"{search.id} was not closed: it has finished meanwhile"
            return
        for training in trainings:
            yield close_runs.close_run(owner, training)
        status = "FINISHED" if REGISTERED in present.data.tags else "KILLED"
        for run in trials.list_runs(search.id, present.info.experiment_id):
            if training_status.is_of_search(run) and run.info.status == "FINISHED":
                trial_folders.keep_checkpoint(folder.parent, run.info.run_id)
                trial_folders.remove(owner, folder.parent, run.info.run_id)
        if status == "KILLED":
            reason = present.data.tags.get(STOP_REASON, "killed")
            run_calls.set_tags("tagging the run as closed", search.id, {CLOSED: "true", STOP_REASON: reason})
        run_calls.end(search.id, status)
        folder_lock.remove()
    yield f"closed {search.id} as {status}, after {search.trials} trials"
