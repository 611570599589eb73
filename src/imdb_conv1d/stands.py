"""How a training stands that did not come to its end: where its folder is, who works on it, whether it can go on."""

import json
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow
from mlflow.utils.mlflow_tags import MLFLOW_PROJECT_ENTRY_POINT

from imdb_conv1d import places, trainings
from imdb_conv1d.config import TrainParameters
from imdb_conv1d.places import Holder
from imdb_conv1d.snapshots import Snapshots
from imdb_conv1d.trainings import CLOSED, LAUNCH, REGISTERED, STOP_REASON, VERB, Recorded


@dataclass(frozen=True)
class Stand:
    """An unfinished training: its last epoch that is kept, who works on it, and why it cannot go on, if it cannot."""

    run: Recorded
    last_epoch: int
    holder: Holder | None
    against: str

    @property
    def id(self) -> str:
        """The run's id."""
        return str(self.run.info.run_id)

    @property
    def is_dead(self) -> bool:
        """Whether it is known that nobody works on it; ``mlflow run`` may still be making the environment for one."""
        return self.holder is None and VERB in self.run.data.tags and not is_elsewhere(self.run)

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
        how = f"cannot go on: {self.against}" if self.against else f"goes on with: --resume {self.id}"
        return [
            f"{self.id}  {self.run.info.run_name}",
            f"    begun {begun}, last epoch {self.last_epoch}, status {self.run.info.status}; {alive}",
            *([] if self.holder else [f"    {how}"]),
        ]


def unfinished(experiment_id: str) -> list[Stand]:
    """Trainings of an experiment that are not done to the end, the newest first, whatever their status says."""
    return [
        stand(run)
        for run in trainings.search("reading the runs", [experiment_id])
        if _is_ours(run)
        and not (REGISTERED in run.data.tags and run.info.status == "FINISHED")
        and not (run.data.tags.get(STOP_REASON) == CLOSED and run.info.status == "KILLED")
    ]


def stand(run: Recorded) -> Stand:
    """How a training stands now."""
    place = folder(run)
    return Stand(run, Snapshots(place).last_epoch, places.holder(place) or starting(run), reason_against(run))


def starting(run: Recorded) -> Holder | None:
    """The process that has begun a training, if it lives and the training has no folder yet, or none any more."""
    told = launch(run)
    begun = run.info.status == "RUNNING" and "pid" in told and REGISTERED not in run.data.tags
    begun = begun and not folder(run).exists()
    holder = Holder(told["pid"], told["host"], "its beginning") if begun else None
    return holder if holder and holder.is_here and not holder.is_dead else None


def _is_ours(run: Recorded) -> bool:
    """Whether a run is a training of this project: one that has begun, or that ``mlflow run`` has made."""
    if VERB in run.data.tags:
        return run.data.tags[VERB] == "train"
    entry = run.data.tags.get(MLFLOW_PROJECT_ENTRY_POINT)
    return entry == "main" and set(TrainParameters.model_fields) <= set(run.data.params)


def folder(run: Recorded) -> Path:
    """The training's folder: where the setting says, or where it was when it began, if it is there still."""
    here = places.root(mlflow.get_tracking_uri()) / run.info.run_id
    there = Path(launch(run).get("snapshots") or here.parent) / run.info.run_id
    return there if there.exists() and not here.exists() else here


def reason_against(run: Recorded) -> str:
    """Why a training cannot go on, as the rest of a sentence; empty if it can."""
    tags = run.data.tags
    if tags.get(VERB, "train") != "train":
        return f"is no training but has the tag {VERB}={tags[VERB]}"
    if REGISTERED in tags and run.info.status == "FINISHED":
        return f"has finished, and version {tags[REGISTERED]} of its model is registered"
    if tags.get(STOP_REASON) == "not_a_number":
        return "has ended on a loss that is not a finite number"
    if is_elsewhere(run):
        told = launch(run)
        place = f"its snapshots are in {told.get('snapshots')} there, and {places.SETTING} can name that folder here"
        return f"runs on host {told['host']}, or died there: {place}"
    return ""


def is_elsewhere(run: Recorded) -> bool:
    """Whether a running training was begun on another host and left nothing here, so that nobody knows if it lives."""
    host = launch(run).get("host", socket.gethostname())
    return run.info.status == "RUNNING" and host != socket.gethostname() and not folder(run).exists()


def launch(run: Recorded) -> dict[str, Any]:
    """What was noted when the run was begun: the parameters, the source of the data, the host and the snapshots."""
    try:
        return dict(json.loads(run.data.tags.get(LAUNCH, "{}")))
    except ValueError:
        return {}
