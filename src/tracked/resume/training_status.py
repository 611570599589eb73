"""The status of an unfinished training: its run folder, the process that holds it, whether it can be resumed."""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tracked.analysis.early_stopping import COMPLETED, NOT_A_NUMBER, OTHER_HISTORY, PRUNED
from tracked.analysis.rate_range import NO_RATE
from tracked.console.lines import one_line
from tracked.experiment import Experiment, owns_untagged
from tracked.runs import queries
from tracked.runs.connection import tracking_uri
from tracked.runs.queries import MlflowRun, is_made_for, is_own, owner_of
from tracked.runs.run_parameters import read_evaluate, read_launch, read_parameters
from tracked.runs.schema import (
    CLOSED,
    CONFIRMS,
    ENTRY_POINT,
    ERROR,
    PARENT_RUN_ID,
    REGISTERED,
    STOP_REASON,
    TRIAL,
    VERB,
    name_experiment,
)
from tracked.training import run_folder
from tracked.training.holder import Holder
from tracked.training.snapshots import Snapshots


@dataclass(frozen=True)
class ResumableRun:
    """An unfinished training: its last snapshot's epoch, its holder, the obstacle to a resume or an empty text."""

    run: MlflowRun
    last_epoch: int
    holder: Holder | None
    obstacle: str
    is_readable: bool = True
    is_elsewhere: bool = False  # may be alive on another host

    @property
    def id(self) -> str:
        """The run's id."""
        return str(self.run.info.run_id)

    @property
    def is_dead(self) -> bool:
        """True if known that no process works on it; before the verb's tag, ``mlflow run`` may be preparing one."""
        is_known = self.is_readable and VERB in self.run.data.tags
        return self.holder is None and is_known and not self.is_elsewhere

    @property
    def reason(self) -> str:
        """The tag with the reason of its end; ``mlflow run`` overwrites the status."""
        return str(self.run.data.tags.get(STOP_REASON, "unknown"))

    @property
    def lines(self) -> list[str]:
        """Lines for people: the run, its progress and holder, how to resume."""
        started = datetime.fromtimestamp(self.run.info.start_time / 1000, UTC).isoformat(" ", "seconds")
        life = f"alive: {self.holder}" if self.holder else f"dead, stop_reason {self.reason}"
        if not self.holder and not self.is_dead:
            life = "unknown here whether alive"
        advice = f"not resumable: the run {self.obstacle}" if self.obstacle else f"resume with: --resume {self.id}"
        if self.reason == OTHER_HISTORY:
            advice += ", with the code, the packages and the machine that its epochs were trained with"
        return [
            f"{self.id}  {self.run.info.run_name}",
            f"    started {started}, last epoch {self.last_epoch}, status {self.run.info.status}; {life}",
            *([] if self.holder else [f"    {advice}"]),
        ]


def find_unfinished(
    owner: Experiment, experiment_id: str, runs: Sequence[MlflowRun] | None = None
) -> list[ResumableRun]:
    """Find the unfinished trainings in an MLflow experiment, the newest first, whatever their status is.

    Args:
        owner: the trainings' experiment.
        runs: all of the MLflow experiment, if they have been read.
    """
    runs = queries.search("reading the runs", [experiment_id]) if runs is None else runs
    complete = {run.info.run_id for run in runs if REGISTERED in run.data.tags and run.info.status == "FINISHED"}
    return [
        inspect_run(owner, run)
        for run in runs
        if is_training_of(owner, run)
        and run.info.run_id not in complete
        and not (CLOSED in run.data.tags and run.info.status == "KILLED")
        and not (is_of_search(run) and run.info.status == "FINISHED")
        and not (run.data.tags.get(PARENT_RUN_ID) in complete and run.info.status == "FAILED")  # of a search that ended
    ]


def inspect_run(owner: Experiment, run: MlflowRun) -> ResumableRun:
    """Find out a training's present status."""
    try:
        folder = find_folder(owner, run)
        last, holder = Snapshots(folder).last_epoch, run_folder.find_holder(folder) or find_starting_process(owner, run)
        return ResumableRun(run, last, holder, find_obstacle(owner, run), is_elsewhere=is_elsewhere(owner, run))
    except OSError as error:
        return ResumableRun(run, 0, None, f"has an unreadable run folder ({one_line(error)})", is_readable=False)


def find_starting_process(owner: Experiment, run: MlflowRun) -> Holder | None:
    """Find another live process that works on a training without a run folder.

    It is before its first lock or at its end, or evaluates the version.
    """
    holder = _launched_by(run)
    may_evaluate = REGISTERED in run.data.tags and read_evaluate(run)
    if not (_may_live(run) or may_evaluate) or find_folder(owner, run).exists():
        return None
    return holder if holder.is_here and holder.pid != os.getpid() and not holder.is_dead else None


def has_ended_here(owner: Experiment, run: MlflowRun) -> bool:
    """Whether a finished training's process, which may evaluate its version, is known to do no more."""
    holder = _launched_by(run)
    return (holder.is_here or holder.is_dead) and find_starting_process(owner, run) is None


def is_dead(run: MlflowRun) -> bool:
    """Whether the process of a run's last attempt is known to be dead."""
    return _launched_by(run).is_dead


def _launched_by(run: MlflowRun) -> Holder:
    """The process of the last attempt. If the run names none, it counts as a dead process of this host."""
    launch = read_launch(run)
    return Holder(
        launch.get("pid", 0),
        launch.get("host", socket.gethostname()),
        launch.get("since", ""),
        launch.get("start", ""),
        launch.get("system", ""),
    )


def _may_live(run: MlflowRun) -> bool:
    """True unless a tag records that the process ended. ``mlflow run`` overwrites the status.

    A training that completed its epochs may still be storing and registering its model.
    """
    tags = run.data.tags
    ended = REGISTERED in tags or ERROR in tags or tags.get(STOP_REASON, COMPLETED[0]) not in (*COMPLETED, PRUNED)
    return VERB in tags and not ended


def is_of_search(run: MlflowRun) -> bool:
    """Whether a run is a training of a search, which alone resumes it."""
    return TRIAL in run.data.tags or CONFIRMS in run.data.tags


def is_training_of(owner: Experiment, run: MlflowRun) -> bool:
    """Whether a run is a training of an experiment: started, or made by ``mlflow run``."""
    if VERB in run.data.tags:
        return run.data.tags[VERB] == "train" and is_own(owner, run)
    # Without an experiment's tag: of two experiments with the same parameters, the model's name decides.
    is_for_owner = is_made_for(owner, run) and (
        owns_untagged(owner) or read_parameters(run)["model_name"] == owner.name
    )
    return run.data.tags.get(ENTRY_POINT) == "main" and is_for_owner


def find_folder(owner: Experiment, run: MlflowRun) -> Path:
    """Find a training's run folder: below the present root, or where the last attempt had it.

    The launch tag may name any folder; the run's own folder has the tag's token.
    """
    present, launch = run_folder.find_root(owner.name, tracking_uri()) / run.info.run_id, read_launch(run)
    recorded = Path(launch.get("snapshots") or present.parent) / run.info.run_id
    # The present folder first: in a store that was copied with its folders, the tag names the original's.
    folders = (present, recorded)
    return next((folder for folder in folders if launch.get("token") in run_folder.read_attempts(folder)), present)


def find_obstacle(owner: Experiment, run: MlflowRun) -> str:
    """Find the reason why a training cannot be resumed, to follow "run ID"; empty if it can."""
    tags = run.data.tags
    if tags.get(VERB, "train") != "train":
        return f"is not a training (tag {VERB}={tags[VERB]})"
    if VERB in tags and not is_own(owner, run):
        return f"is of {name_experiment(owner_of(owner, run))}"
    if REGISTERED in tags and run.info.status == "FINISHED":
        return f"has finished (version {tags[REGISTERED]} is registered)"
    if is_of_search(run):
        search = tags.get(PARENT_RUN_ID)
        return f"is a training of search {search}: resume that, with search --resume {search}"
    if tags.get(STOP_REASON) == NOT_A_NUMBER:
        return "ended on a loss that is not a finite number; start a new training"
    if tags.get(STOP_REASON) == NO_RATE:
        return "found no learning rate to suggest; start a new training with a number as learning_rate"
    if is_elsewhere(owner, run):
        host, folder = _launched_by(run).host, read_launch(run).get("snapshots")
        container = " in another container" if host == socket.gethostname() else ""
        return (
            f"runs or died on host {host}{container}: resume it there (snapshots in {folder}); "
            "if that host is gone, close the run here, then resume it from epoch 1"
        )
    return ""


def is_elsewhere(owner: Experiment, run: MlflowRun) -> bool:
    """Whether a training may be alive on another host, with a run folder that this host does not see.

    A folder here may be an earlier attempt's; the last attempt's has its token.
    """
    holder = _launched_by(run)
    if holder.is_here or holder.is_dead or not _may_live(run):
        return False
    return read_launch(run).get("token") not in run_folder.read_attempts(find_folder(owner, run))
