"""A run's beginning and end: where it comes from, what it is called, and the status that it is left with."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from functools import partial
from io import StringIO
from typing import Literal

import mlflow
from mlflow.entities import RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils import name_utils
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME, MLFLOW_RUN_NOTE

from imdb_conv1d.console import Interrupted, RunFailed, Signals, UserError, one_line, warn
from imdb_conv1d.delivery import persist
from imdb_conv1d.stores import brief_calls, refuses
from imdb_conv1d.tracking import Run
from imdb_conv1d.trainings import VERB

PATIENCE_AFTER_ERROR = 15.0  # seconds without a success; whoever ends a process kills it if it takes much longer
Status = Literal["FINISHED", "FAILED", "KILLED"]


@contextmanager
def run(
    verb: str, name: str, parameters: Mapping[str, str], signals: Signals, experiment_id: str | None = None
) -> Iterator[Run]:
    """A run around a verb's work: new, or the one that ``mlflow run`` has made for it.

    With ``experiment_id`` the run is of that experiment; where ``mlflow run`` has made one of another experiment, a new
    one is made, and the former says where it is. Within another run it is shown as that one's child.

    Left without an error it is FINISHED, with Ctrl-C or SIGTERM KILLED, else FAILED; the tag ``stop_reason`` says why,
    and lasts where ``mlflow run`` writes over the status. Parameters that are already recorded stay as they are.

    Raises:
        UserError: if MLflow's settings name an experiment or a run that cannot be used; no run is made.
        RunFailed: if something that was said could not be stored.
    """
    with signals.held():
        active, made_for_us = _start(verb, name, experiment_id)
        record = Run(active.info.run_id)
    status: Status = "FAILED"
    try:
        signals.check()
        if made_for_us:
            record.tags({VERB: verb})
            if _is_made_up(active.info.run_name or ""):
                record.rename(name)
        record.parameters({key: value for key, value in parameters.items() if key not in active.data.params})
        yield record
        with signals.held():
            record.settle()
            status = "FINISHED"
    except BaseException as error:
        with signals.held():
            if isinstance(error, Interrupted):
                status = "KILLED"
                record.tags({"stop_reason": "interrupted"})
            else:
                record.tags({"error": one_line(error), "stop_reason": record.stop_reason or "error"})
            try:
                record.settle(PATIENCE_AFTER_ERROR)
            except RunFailed as lost:
                warn(f"error: {lost}")
        raise
    finally:
        with signals.held():
            record.clear()
            _end(record, status)


def _start(verb: str, name: str, experiment_id: str | None) -> tuple[mlflow.ActiveRun, bool]:
    """The run, and whether ``mlflow run`` has made it."""
    client, made_for_us = mlflow.MlflowClient(), os.environ.get("MLFLOW_RUN_ID")
    try:
        made = persist("finding the run", partial(client.get_run, made_for_us), refuses) if made_for_us else None
        if made and experiment_id in (None, made.info.experiment_id):
            active = persist("going on with the run", partial(mlflow.start_run, run_id=made_for_us), refuses)
            os.environ.pop("MLFLOW_RUN_ID", None)  # as MLflow does: it means this run and no other
            return active, True
        os.environ.pop("MLFLOW_RUN_ID", None)
        inside = mlflow.active_run() is not None
        active = mlflow.start_run(run_name=name, tags={VERB: verb}, experiment_id=experiment_id, nested=inside)
    except (MlflowException, RunFailed) as error:
        raise UserError(
            f"MLFLOW_EXPERIMENT_NAME, MLFLOW_EXPERIMENT_ID or MLFLOW_RUN_ID: no run can begin ({one_line(error)}); "
            "allowed: an experiment or a run that exists and is not deleted"
        ) from None
    if made:
        where = f"#/experiments/{active.info.experiment_id}/runs/{active.info.run_id}"
        tags = {VERB: verb, MLFLOW_RUN_NAME: f"see {name}", MLFLOW_RUN_NOTE: f"Logged as [{name}]({where})."}
        said = [RunTag(key, value) for key, value in tags.items()]
        persist("saying where the run is", partial(client.log_batch, made.info.run_id, tags=said), refuses)
    return active, False


def _end(record: Run, status: Status) -> None:
    with brief_calls():
        try:
            ending = partial(record.client.set_terminated, record.id, status)
            persist(f"ending run {record.id} as {status}", ending, refuses, seconds=PATIENCE_AFTER_ERROR)
        except RunFailed as error:
            if status == "FINISHED":
                raise
            warn(f"error: {error}")  # another error is on its way, which says more
        finally:
            # MLflow's own end, too: it also forgets the run, and must not end it otherwise later. It would say again
            # where the run is.
            with suppress(Exception), redirect_stdout(StringIO()):
                mlflow.end_run(status)


def _is_made_up(name: str) -> bool:
    """Whether MLflow made the name up, such as gifted-crow-512; a name that a user chose is kept."""
    predicate, _, rest = name.partition("-")
    noun, _, number = rest.partition("-")
    words = predicate in name_utils._GENERATOR_PREDICATES and noun in name_utils._GENERATOR_NOUNS
    return words and number.isdigit()
