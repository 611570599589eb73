"""Find trainings in MLflow experiments: their status, their data, the experiment that they are of."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

import mlflow
from mlflow.entities import Experiment as MlflowExperiment
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from tracked.analysis.early_stopping import NOT_A_NUMBER, PRUNED
from tracked.console.errors import UserError
from tracked.console.lines import one_line
from tracked.console.parameters import refusal
from tracked.console.train_parameters import EVALUATE
from tracked.experiment import Experiment, owns_untagged
from tracked.runs import schema
from tracked.runs.connection import mlflow_run_id, tracking_uri
from tracked.runs.credentials import explain_unreadable, read_status
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
from tracked.runs.store_pages import pages

MlflowRun: TypeAlias = Run  # a run in the store; a writer.Run is being logged
MONITOR = "val_loss"  # the default of Keras's EarlyStopping
ALL = "all"
SHOWN = 3  # data sets that a sentence names
TrainingStatus = Literal["finished", "running", "interrupted", "pruned", "failed"]


@dataclass(frozen=True)
class Trainings:
    """Runs of one experiment, the newest first."""

    experiment: MlflowExperiment
    runs: list[MlflowRun]

    @property
    def finished(self) -> list[MlflowRun]:
        """The trainings that have ended by their own rule; one that was given up has not.

        Raises:
            UserError: if there is none.
        """
        finished = [run for run in self.runs if status_of(run) == "finished"]
        if not finished:
            raise refusal("experiment", self.experiment.name, "an experiment with a training that has finished")
        return finished

    @property
    def pruned(self) -> list[MlflowRun]:
        """The trials of searches that were given up."""
        return [run for run in self.runs if status_of(run) == "pruned"]


def search(what: str, experiment_ids: Sequence[str], condition: str = "") -> list[MlflowRun]:
    """Find all runs of MLflow experiments, the newest first.

    Args:
        what: the work, as an error names it.
        condition: in MLflow's search language.

    Raises:
        RunFailed: if the store keeps failing.
    """
    return list(iterate(what, experiment_ids, condition))


def iterate(what: str, experiment_ids: Sequence[str], condition: str = "", size: int = 1000) -> Iterable[MlflowRun]:
    """Find runs as :func:`search`, and read no further page of ``size`` runs before it is asked for."""
    call = partial(mlflow.MlflowClient().search_runs, list(experiment_ids), condition, max_results=size)
    return pages(what, call)


def status_of(run: MlflowRun) -> TrainingStatus:
    """The status of a training; tags decide first, as ``mlflow run`` overwrites the status.

    A search's trial that was given up, or whose loss was not a number, has MLflow's status FINISHED, since the search
    has its result; its history shows no more than how the training began.
    """
    reason = run.data.tags.get(STOP_REASON)
    if REGISTERED in run.data.tags:
        return "finished"
    if run.info.status in ("RUNNING", "SCHEDULED"):
        return "running"
    if reason in ("interrupted", "killed") or run.info.status == "KILLED":
        return "interrupted"
    if reason == PRUNED:
        return "pruned"
    if reason == NOT_A_NUMBER:
        return "failed"
    return "finished" if run.info.status == "FINISHED" else "failed"


def name_data(run: MlflowRun) -> str:
    """Name a training's data; empty if unknown.

    For this project's trainings, the name is the data's digest and the share of the validation part; for other runs,
    the digests of their logged data sets.
    """
    logged = {one.dataset.digest for one in run.inputs.dataset_inputs} if run.inputs else set()
    digest = run.data.tags.get(DATA_DIGEST, "")[:12] or ", ".join(sorted(logged))
    split = read_parameters(run).get("validation_split", "")
    with suppress(ValueError):
        split = f"{float(split):g}"  # mlflow run stores it as it was typed
    return f"{digest} split {split}" if digest and split else digest


def describe_other_data(data: Sequence[str]) -> str:
    """Warn in a sentence that trainings differ in their data, or that the data are unknown; else empty.

    Args:
        data: the results of :func:`name_data`, one per training.
    """
    counts = Counter(data)
    if len(data) < 2 or (len(counts) == 1 and "" not in counts):
        return ""
    unknown = counts.pop("", 0)
    parts = [f"{count:,} on {one}" for one, count in counts.most_common(SHOWN)]
    if rest := sum(counts.values()) - sum(count for _, count in counts.most_common(SHOWN)):
        parts.append(f"{rest:,} on others")
    if unknown:
        parts.append(f"{unknown:,} on data that the runs do not name")
    return (
        f"These {len(data):,} trainings are not all known to be measured on the same data ({'; '.join(parts)}): "
        "figures of other data do not compare."
    )


def resolve_monitor(run: MlflowRun, given: str = "auto") -> str:
    """Resolve the metric: the given one, or for auto the one that the run monitored."""
    return read_parameters(run).get("monitor", MONITOR) if given == "auto" else given


def owner_of(owner: Experiment, run: MlflowRun) -> str:
    """Name the experiment of a verb's run, as ``owner`` sees it."""
    return schema.owner_of(owner, run.data.tags.get(EXPERIMENT))


def is_own(owner: Experiment, run: MlflowRun) -> bool:
    """Whether a verb's run is this experiment's."""
    return owner_of(owner, run) == owner.name


def is_made_for(owner: Experiment, run: MlflowRun) -> bool:
    """Whether a run that ``mlflow run`` has created has the parameters of this experiment's train.

    Before the script starts, nothing else names its experiment.
    """
    own, recorded = set(owner.Parameters.model_fields), set(run.data.params) - {EVALUATE}
    return own == recorded or (owns_untagged(owner) and own <= recorded)


def is_training(owner: Experiment, run: MlflowRun, metric: str = "auto") -> bool:
    """Whether a run is one of ``train``, or a foreign run with the monitored metric, as in :func:`find_trainings`."""
    tags = run.data.tags
    if run.info.run_id == mlflow_run_id():
        return False  # created by mlflow run for this verb
    if VERB in tags or tags.get(ENTRY_POINT, "main") != "main":
        return tags.get(VERB) == "train" and is_own(owner, run)
    return resolve_monitor(run, metric) in run.data.metrics


def find_experiment(name: str) -> MlflowExperiment:
    """Find an MLflow experiment by its name; auto is the one that MLflow's settings name.

    Raises:
        UserError: if the experiment does not exist, or is deleted.
    """
    client = mlflow.MlflowClient()
    value = os.environ.get("MLFLOW_EXPERIMENT_NAME", "auto") if name == "auto" else name
    match: MlflowExperiment | None = None
    try:
        if value == "auto":
            match = client.get_experiment(os.environ.get("MLFLOW_EXPERIMENT_ID", "0"))
        else:
            match = client.get_experiment_by_name(value)
    except MlflowException as error:
        if read_status(error) == 403:
            reason = explain_unreadable("experiment", repr(value), "an experiment", tracking_uri())
            raise UserError(reason) from None
    if match is None or match.lifecycle_stage != "active":
        raise refusal("experiment", value, "the name of an experiment that exists and is not deleted")
    return match


def find_experiments(name: str) -> list[MlflowExperiment]:
    """Find an MLflow experiment by its name, as :func:`find_experiment`; all that are not deleted, for all.

    Raises:
        UserError: if there is none.
        RunFailed: if the store keeps failing.
    """
    if name != ALL:
        return [find_experiment(name)]
    found = list(pages("reading the experiments", mlflow.MlflowClient().search_experiments))
    if not found:
        raise refusal("experiment", name, "a store with an experiment")
    return found


def find_trainings(owner: Experiment, name: str, metric: str = "auto") -> Trainings:
    """Find every training in an MLflow experiment: runs of ``train``, and foreign runs with a monitored metric.

    Args:
        owner: runs of other experiments are left out.
        name: of the MLflow experiment.
        metric: what a foreign run must have recorded; for auto, what its parameters name, else val_loss.

    Raises:
        UserError: if there is none.
        RunFailed: if the store keeps failing.
    """
    place = find_experiment(name)
    all_runs = search(f"reading the runs of {place.name}", [place.experiment_id])
    runs = [run for run in all_runs if is_training(owner, run, metric)]
    if not runs:
        raise refusal("experiment", place.name, "an experiment with a training")
    return Trainings(place, runs)


def read_runs(owner: Experiment, ids: Sequence[str], parameter: str) -> Trainings:
    """Read the runs with these ids; runs of another experiment are refused.

    Args:
        owner: the experiment that asks.
        parameter: the parameter that has the ids.

    Raises:
        UserError: if a run does not exist, is deleted, is named twice, or is in another MLflow experiment than the
            first.
    """
    client = mlflow.MlflowClient()
    runs: list[MlflowRun] = []
    for run_id in ids:
        try:
            run = client.get_run(run_id)
        except MlflowException as error:
            if read_status(error) == 403:
                reason = explain_unreadable(parameter, f"run {run_id!r}", "a run", tracking_uri())
                raise UserError(reason) from None
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
