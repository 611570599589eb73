"""How a run begins: new, as the one that ``mlflow run`` has made, or as an earlier one that goes on."""

import json
import os
from collections.abc import Mapping
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path

import mlflow
from mlflow.entities import RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils import name_utils
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME, MLFLOW_RUN_NOTE

from imdb_conv1d.console import RunFailed, UserError, one_line
from imdb_conv1d.delivery import persist
from imdb_conv1d.places import Claim
from imdb_conv1d.stores import refuses, single_calls
from imdb_conv1d.trainings import LAUNCH, VERB


@dataclass(frozen=True)
class Beginning:
    """How a training's run begins.

    Args:
        claim: holds the training's folder below ``root``.
        launch: what is noted at the run.
        earlier: the id of the run that goes on; empty for a new one.
    """

    claim: Claim
    root: Path
    launch: Mapping[str, object]
    earlier: str = ""


def start(verb: str, name: str, experiment_id: str | None, launch: str, earlier: str) -> tuple[mlflow.ActiveRun, bool]:
    """The run, active, and whether it is a new one.

    Args:
        launch: what is noted with the run before anything is done: JSON with a ``token`` that no other has.
        earlier: the id of the run that goes on; empty for another one.

    Raises:
        UserError: if MLflow's settings name an experiment or a run that cannot be used.
        RunFailed: if the store keeps failing.
    """
    client, made_for_us = mlflow.MlflowClient(), os.environ.get("MLFLOW_RUN_ID")
    try:
        made = None
        if made_for_us and not earlier:
            made = persist("finding the run", partial(client.get_run, made_for_us), refuses)
        if earlier or (made and experiment_id in (None, made.info.experiment_id)):
            resume = partial(mlflow.start_run, run_id=earlier or made_for_us)
            active = persist("going on with the run", resume, refuses)
            os.environ.pop("MLFLOW_RUN_ID", None)  # as MLflow does: it means this run and no other
            noted = [RunTag(VERB, verb), RunTag(LAUNCH, launch)]
            try:
                persist("noting what the run is", partial(client.log_batch, active.info.run_id, tags=noted), refuses)
            except Exception:
                forget("FAILED")
                raise
            return active, False
        os.environ.pop("MLFLOW_RUN_ID", None)
        active = _create(verb, name, experiment_id, launch)
    except (MlflowException, RunFailed) as error:
        if isinstance(error, RunFailed) and not refuses(error.__cause__):
            raise  # the store answers no more: no mistake of the user's
        raise UserError(
            f"MLFLOW_EXPERIMENT_NAME, MLFLOW_EXPERIMENT_ID or MLFLOW_RUN_ID: no run can begin ({one_line(error)}); "
            "allowed: an experiment or a run that exists and is not deleted"
        ) from None
    if made:
        where = f"#/experiments/{active.info.experiment_id}/runs/{active.info.run_id}"
        tags = {VERB: verb, MLFLOW_RUN_NAME: f"see {name}", MLFLOW_RUN_NOTE: f"Logged as [{name}]({where})."}
        said = [RunTag(key, value) for key, value in tags.items()]
        persist("saying where the run is", partial(client.log_batch, made.info.run_id, tags=said), refuses)
    return active, True


def _create(verb: str, name: str, experiment_id: str | None, launch: str) -> mlflow.ActiveRun:
    """A new run. One that the store has made, though its answer was lost, is found by what it was begun with."""
    inside = mlflow.active_run() is not None
    tried: list[bool] = []

    def attempt() -> mlflow.ActiveRun:
        if tried:
            token = json.loads(launch)["token"]
            found = mlflow.search_runs(
                None if experiment_id is None else [experiment_id],
                f"tags.{LAUNCH} LIKE '%{token}%'",
                output_format="list",
                search_all_experiments=experiment_id is None,
            )
            for surplus in found[:-1]:  # the newest first; an answer that came late may have been to more than one
                mlflow.MlflowClient().delete_run(surplus.info.run_id)
            if found:
                return mlflow.start_run(run_id=found[-1].info.run_id, nested=inside)
        tried.append(True)
        tags = {VERB: verb, LAUNCH: launch}
        return mlflow.start_run(run_name=name, tags=tags, experiment_id=experiment_id, nested=inside)

    with single_calls():
        return persist("beginning a run", attempt, refuses)


def forget(status: str) -> None:
    """MLflow's own end of the active run, as well as it can be had: left active, it would be FINISHED at the exit."""
    with suppress(Exception), redirect_stdout(StringIO()):  # it would say again where the run is
        mlflow.end_run(status)


def is_made_up(name: str) -> bool:
    """Whether MLflow made the name up, such as gifted-crow-512; a name that a user chose is kept."""
    predicate, _, rest = name.partition("-")
    noun, _, number = rest.partition("-")
    words = predicate in name_utils._GENERATOR_PREDICATES and noun in name_utils._GENERATOR_NOUNS
    return words and number.isdigit()
