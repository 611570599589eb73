"""How a training stands that did not come to its end: where its folder is, who works on it, whether it can go on."""

import json
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tracked.analysis.early_stopping import COMPLETED, NOT_A_NUMBER, OTHER_HISTORY
from tracked.console.lines import one_line
from tracked.experiment import Experiment, owns_untagged
from tracked.runs import queries
from tracked.runs.connection import tracking_uri
from tracked.runs.queries import MlflowRun, is_made_for, is_own, owner_of
from tracked.runs.schema import CLOSED, ENTRY_POINT, ERROR, LAUNCH, REGISTERED, STOP_REASON, VERB, name_experiment
from tracked.training import run_folder
from tracked.training.holder import Holder
from tracked.training.snapshots import Snapshots


@dataclass(frozen=True)
class ResumableRun:
    """An unfinished training: its last epoch that is kept, who works on it, and why it cannot go on, if it cannot."""

    run: MlflowRun
    last_epoch: int
    holder: Holder | None
    obstacle: str
    is_readable: bool = True
    is_elsewhere: bool = False  # whether it may live on another host

    @property
    def id(self) -> str:
        """The run's id."""
        return str(self.run.info.run_id)

    @property
    def is_dead(self) -> bool:
        """Whether it is known that nobody works on it; ``mlflow run`` may still be making the environment for one."""
        known = self.is_readable and VERB in self.run.data.tags
        return self.holder is None and known and not self.is_elsewhere

    @property
    def reason(self) -> str:
        """Why it ended, by the tag: ``mlflow run`` writes over the status."""
        return str(self.run.data.tags.get(STOP_REASON, "unknown"))

    @property
    def lines(self) -> list[str]:
        """What there is to know of it, for people."""
        begun = datetime.fromtimestamp(self.run.info.start_time / 1000, UTC).isoformat(" ", "seconds")
        alive = f"alive: {self.holder}" if self.holder else f"dead, stop_reason {self.reason}"
        if not self.holder and not self.is_dead:
            alive = "not known here whether it lives"
        how = f"cannot go on: {self.obstacle}" if self.obstacle else f"goes on with: --resume {self.id}"
        if self.reason == OTHER_HISTORY:
            how += ", where it comes out as its run has it: on the machine and with the packages of before"
        return [
            f"{self.id}  {self.run.info.run_name}",
            f"    begun {begun}, last epoch {self.last_epoch}, status {self.run.info.status}; {alive}",
            *([] if self.holder else [f"    {how}"]),
        ]


def find_unfinished(owner: Experiment, experiment_id: str) -> list[ResumableRun]:
    """Trainings in an MLflow experiment that are not done to the end, the newest first, whatever their status says.

    Args:
        owner: the experiment that they are of.
    """
    return [
        inspect_run(owner, run)
        for run in queries.search("reading the runs", [experiment_id])
        if is_training_of(owner, run)
        and not (REGISTERED in run.data.tags and run.info.status == "FINISHED")
        and not (CLOSED in run.data.tags and run.info.status == "KILLED")
    ]


def inspect_run(owner: Experiment, run: MlflowRun) -> ResumableRun:
    """How a training stands now."""
    try:
        place = find_folder(owner, run)
        last, holder = Snapshots(place).last_epoch, run_folder.find_holder(place) or find_starting_process(owner, run)
        return ResumableRun(run, last, holder, find_obstacle(owner, run), is_elsewhere=is_elsewhere(owner, run))
    except OSError as error:
        return ResumableRun(run, 0, None, f"its snapshots cannot be looked at ({one_line(error)})", is_readable=False)


def find_starting_process(owner: Experiment, run: MlflowRun) -> Holder | None:
    """Another process that has begun a training, if it lives and the training has no folder yet, or none any more."""
    holder = _launched_by(run)
    if not _may_live(run) or find_folder(owner, run).exists():
        return None
    return holder if holder.is_here and holder.pid != os.getpid() and not holder.is_dead else None


def _launched_by(run: MlflowRun) -> Holder:
    """The process of the last attempt. One that the run does not name counts as dead, and as of this host."""
    launch = read_launch(run)
    return Holder(
        launch.get("pid", 0),
        launch.get("host", socket.gethostname()),
        launch.get("since", ""),
        launch.get("start", ""),
        launch.get("system", ""),
    )


def _may_live(run: MlflowRun) -> bool:
    """Whether nothing says that the process ended in order. Not by the status, which ``mlflow run`` writes over.

    One that has stopped by itself still has its model to store and to register.
    """
    tags = run.data.tags
    ended = REGISTERED in tags or ERROR in tags or tags.get(STOP_REASON, COMPLETED[0]) not in COMPLETED
    return VERB in tags and not ended


def is_training_of(owner: Experiment, run: MlflowRun) -> bool:
    """Whether a run is a training of an experiment: one that has begun, or that ``mlflow run`` has made."""
    if VERB in run.data.tags:
        return run.data.tags[VERB] == "train" and is_own(owner, run)
    # It has no name yet; of two experiments with the same parameters, the model's name tells whose it is.
    made_for = is_made_for(owner, run) and (
        owns_untagged(owner) or queries.read_parameters(run)["model_name"] == owner.name
    )
    return run.data.tags.get(ENTRY_POINT) == "main" and made_for


def find_folder(owner: Experiment, run: MlflowRun) -> Path:
    """The training's folder: where it was used last, or where it would be now if it is not there.

    A tag may name any folder; the run's own has the token of the attempt that the tag is of.
    """
    here, told = run_folder.find_root(owner.name, tracking_uri()) / run.info.run_id, read_launch(run)
    there = Path(told.get("snapshots") or here.parent) / run.info.run_id
    # A store that was copied with its folders has its own here, and the tag names the original's.
    return next((one for one in (here, there) if told.get("token") in run_folder.read_attempts(one)), here)


def find_obstacle(owner: Experiment, run: MlflowRun) -> str:
    """Why a training cannot go on, as the rest of a sentence; empty if it can."""
    tags = run.data.tags
    if tags.get(VERB, "train") != "train":
        return f"is no training but has the tag {VERB}={tags[VERB]}"
    if VERB in tags and not is_own(owner, run):
        return f"is of {name_experiment(owner_of(owner, run))}"
    if REGISTERED in tags and run.info.status == "FINISHED":
        return f"has finished, and version {tags[REGISTERED]} of its model is registered"
    if tags.get(STOP_REASON) == NOT_A_NUMBER:
        return "has ended on a loss that is not a finite number"
    if is_elsewhere(owner, run):
        host, folder = _launched_by(run).host, read_launch(run).get("snapshots")
        container = " in another container" if host == socket.gethostname() else ""
        return (
            f"runs on host {host}{container}, or died there: go on there, where its snapshots are in {folder}; "
            f"if that host is gone, close this run, and resume it then from epoch 1"
        )
    return ""


def is_elsewhere(owner: Experiment, run: MlflowRun) -> bool:
    """Whether a training that may live works on another host, and its folder there is none that is seen here.

    A folder of that name may have been left here by an earlier attempt; its own one has the last attempt's token.
    """
    holder = _launched_by(run)
    if holder.is_here or holder.is_dead or not _may_live(run):
        return False
    return read_launch(run).get("token") not in run_folder.read_attempts(find_folder(owner, run))


def read_launch(run: MlflowRun) -> dict[str, Any]:
    """What was noted at the last attempt: the parameters, the data's source, the process, its host, the snapshots."""
    try:
        found = json.loads(run.data.tags.get(LAUNCH, "{}"))
    except (ValueError, RecursionError):
        return {}
    kinds: dict[str, type] = dict.fromkeys(("snapshots", "source", "host", "since", "start", "system", "token"), str)
    kinds |= {"parameters": dict, "pid": int}
    fits = isinstance(found, dict) and all(type(found.get(name, kind())) is kind for name, kind in kinds.items())
    return found if fits else {}
