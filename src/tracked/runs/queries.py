"""Which runs of an experiment are trainings, how each of them stands, and what its parameters were."""

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

import mlflow
from mlflow.entities import Experiment as MlflowExperiment
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from tracked.console.errors import UserError
from tracked.console.lines import one_line
from tracked.console.parameters import refusal
from tracked.experiment import Experiment, owns_untagged
from tracked.runs import schema
from tracked.runs.connection import mlflow_run_id
from tracked.runs.outbox import with_retries
from tracked.runs.run_parameters import read_parameters
from tracked.runs.schema import (
    DATA_DIGEST,
    ENTRY_POINT,
    EXPERIMENT,
    REGISTERED,
    STOP_REASON,
    VERB,
    name_experiment,
)

MlflowRun: TypeAlias = Run  # a run as the store has it; a writer.Run is one that is being written
MONITOR = "val_loss"  # what Keras's EarlyStopping watches unless it is told otherwise
SHOWN = 3  # data told of, where trainings are of several
TrainingStatus = Literal["finished", "running", "interrupted", "failed"]


@dataclass(frozen=True)
class Trainings:
    """Runs of one experiment, the newest first."""

    experiment: MlflowExperiment
    runs: list[MlflowRun]

    @property
    def finished(self) -> list[MlflowRun]:
        """Those that have finished.

        Raises:
            UserError: if none has.
        """
        found = [run for run in self.runs if status_of(run) == "finished"]
        if not found:
            raise refusal("experiment", self.experiment.name, "an experiment with a training that has finished")
        return found


def search(what: str, experiment_ids: Sequence[str], condition: str = "") -> list[MlflowRun]:
    """All runs of the experiments, the newest first.

    Args:
        what: what is being done, for an error.
        condition: in MLflow's search language.

    Raises:
        RunFailed: if the store keeps failing.
    """
    client, runs, token = mlflow.MlflowClient(), list[MlflowRun](), None
    while True:
        call = partial(client.search_runs, list(experiment_ids), condition, max_results=1000, page_token=token)
        page = with_retries(what, call)
        runs += page
        token = page.token
        if not token:
            return runs


def status_of(run: MlflowRun) -> TrainingStatus:
    """How a training stands. Tags say it for runs of this project: ``mlflow run`` writes over the status."""
    if REGISTERED in run.data.tags:
        return "finished"
    if run.info.status in ("RUNNING", "SCHEDULED"):
        return "running"
    if run.data.tags.get(STOP_REASON) in ("interrupted", "killed") or run.info.status == "KILLED":
        return "interrupted"
    return "finished" if run.info.status == "FINISHED" else "failed"


def name_data(run: MlflowRun) -> str:
    """Name what a training's figures were measured on; empty if that is not known.

    Of this project's it is the data's digest with the part that validates, of others' the digests of the data sets
    that they have logged.
    """
    logged = {one.dataset.digest for one in run.inputs.dataset_inputs} if run.inputs else set()
    digest = run.data.tags.get(DATA_DIGEST, "")[:12] or ", ".join(sorted(logged))
    split = read_parameters(run).get("validation_split", "")
    with suppress(ValueError):
        split = f"{float(split):g}"  # mlflow run keeps the spelling that it was given
    return f"{digest} split {split}" if digest and split else digest


def describe_other_data(data: Sequence[str]) -> str:
    """Say in one sentence that trainings were not measured on the same data, or that it is not known; else empty.

    Args:
        data: of each training, what :func:`name_data` returns.
    """
    counts = Counter(data)
    if len(data) < 2 or (len(counts) == 1 and "" not in counts):
        return ""
    unknown = counts.pop("", 0)
    told = [f"{count:,} on {one}" for one, count in counts.most_common(SHOWN)]
    if rest := sum(counts.values()) - sum(count for _, count in counts.most_common(SHOWN)):
        told.append(f"{rest:,} on others")
    if unknown:
        told.append(f"{unknown:,} on data that the runs do not name")
    return (
        f"These {len(data):,} trainings are not all known to be measured on the same data ({'; '.join(told)}): "
        "figures of other data do not compare."
    )


def resolve_monitor(run: MlflowRun, given: str = "auto") -> str:
    """The metric that is meant: the one given, or for auto the one that the run watched."""
    return read_parameters(run).get("monitor", MONITOR) if given == "auto" else given


def owner_of(owner: Experiment, run: MlflowRun) -> str:
    """Name the experiment that a run of a verb is of, as ``owner`` sees it."""
    return schema.owner_of(owner, run.data.tags.get(EXPERIMENT))


def is_own(owner: Experiment, run: MlflowRun) -> bool:
    """Whether a run of a verb is one of this experiment's."""
    return owner_of(owner, run) == owner.name


def is_made_for(owner: Experiment, run: MlflowRun) -> bool:
    """Whether a run that ``mlflow run`` has made and nothing has begun has the parameters of this experiment's train.

    It has no other name yet.
    """
    own, there = set(owner.Parameters.model_fields), set(run.data.params)
    return own == there or (owns_untagged(owner) and own <= there)


def is_training(owner: Experiment, run: MlflowRun, metric: str = "auto") -> bool:
    """Whether a run is one of ``train``, or any other run that has a monitored metric, as in :func:`find_trainings`."""
    tags = run.data.tags
    if run.info.run_id == mlflow_run_id():
        return False  # made by mlflow run for the verb that asks
    if VERB in tags or tags.get(ENTRY_POINT, "main") != "main":
        return tags.get(VERB) == "train" and is_own(owner, run)
    return resolve_monitor(run, metric) in run.data.metrics


def find_experiment(name: str) -> MlflowExperiment:
    """The experiment of that name; for auto, the one that MLflow's settings name.

    Raises:
        UserError: if there is none, or it is deleted.
    """
    client = mlflow.MlflowClient()
    value = os.environ.get("MLFLOW_EXPERIMENT_NAME", "auto") if name == "auto" else name
    found: MlflowExperiment | None = None
    with suppress(MlflowException):
        if value == "auto":
            found = client.get_experiment(os.environ.get("MLFLOW_EXPERIMENT_ID", "0"))
        else:
            found = client.get_experiment_by_name(value)
    if found is None or found.lifecycle_stage != "active":
        raise refusal("experiment", value, "the name of an experiment that exists and is not deleted")
    return found


def find_trainings(owner: Experiment, name: str, metric: str = "auto") -> Trainings:
    """Every training in an MLflow experiment: the runs of ``train``, and any other run that has a monitored metric.

    Args:
        owner: runs of other experiments' commands are left out.
        name: of the MLflow experiment.
        metric: what another run must have recorded to count; for auto, what its parameters name, else val_loss.

    Raises:
        UserError: if there is none.
        RunFailed: if the store keeps failing.
    """
    where = find_experiment(name)
    everything = search(f"reading the runs of {where.name}", [where.experiment_id])
    runs = [run for run in everything if is_training(owner, run, metric)]
    if not runs:
        raise refusal("experiment", where.name, "an experiment with a training")
    return Trainings(where, runs)


def read_runs(owner: Experiment, ids: Sequence[str], parameter: str) -> Trainings:
    """The runs with these ids, whatever they are, but another experiment's.

    Args:
        owner: the experiment that asks.
        parameter: the name of the parameter that the ids come from.

    Raises:
        UserError: if one does not exist or is deleted, is named twice, or is of another experiment than the first.
    """
    client = mlflow.MlflowClient()
    runs: list[MlflowRun] = []
    for run_id in ids:
        try:
            run = client.get_run(run_id)
        except MlflowException as error:
            raise UserError(
                f"{parameter}: {run_id!r} cannot be found ({one_line(error)}); allowed: a run that exists"
            ) from None
        if run.info.lifecycle_stage != "active":
            raise refusal(parameter, run_id, "a run that is not deleted")
        if VERB in run.data.tags and not is_own(owner, run):
            of = name_experiment(owner_of(owner, run))
            raise refusal(parameter, run_id, f"a run of experiment {owner.name!r}; this one is of {of}")
        if run.info.run_id in {other.info.run_id for other in runs}:
            raise refusal(parameter, run_id, "each run once")
        if runs and run.info.experiment_id != runs[0].info.experiment_id:
            raise refusal(parameter, run_id, f"runs of one experiment, as {runs[0].info.run_id}")
        runs.append(run)
    return Trainings(client.get_experiment(runs[0].info.experiment_id), runs)
