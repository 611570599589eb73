"""A run's beginning and end: where it comes from, what it is called, and the status that it is left with."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import mlflow
from mlflow.entities import Param
from mlflow.exceptions import MlflowException
from mlflow.utils import name_utils

from imdb_conv1d.console import Interrupted, RunFailed, Signals, UserError, warn
from imdb_conv1d.delivery import one_line
from imdb_conv1d.stores import brief_calls
from imdb_conv1d.tracking import Run

VERB = "verb"
PATIENCE_AFTER_ERROR = 15.0  # seconds without a success; whoever ends a process kills it if it takes much longer
Status = Literal["FINISHED", "FAILED", "KILLED"]


@contextmanager
def run(verb: str, name: str, parameters: Mapping[str, str], signals: Signals) -> Iterator[Run]:
    """A run around a verb's work: new, or the one that ``mlflow run`` has made for it.

    Left without an error it is FINISHED, with Ctrl-C or SIGTERM KILLED, else FAILED; the tag ``stop_reason`` says why,
    and lasts where ``mlflow run`` writes over the status. Parameters that are already recorded stay as they are.

    Raises:
        UserError: if MLflow's settings name an experiment or a run that cannot be used; no run is made.
        RunFailed: if something that was said could not be stored.
    """
    with signals.held():
        record = _start(verb, name, parameters)
    status: Status = "FAILED"
    try:
        signals.check()
        yield record
        with signals.held():
            record.settle()
            status = "FINISHED"
    except BaseException as error:
        with signals.held():
            interrupted = isinstance(error, Interrupted)
            status = "KILLED" if interrupted else "FAILED"
            if interrupted:
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
            try:
                with brief_calls():
                    mlflow.end_run(status)
            except Exception as error:
                warn(f"error: MLflow could not be told that run {record.id} has ended as {status} ({one_line(error)})")
                if status == "FINISHED":
                    raise RunFailed(f"run {record.id} is complete, but still shown as RUNNING") from error


def _start(verb: str, name: str, parameters: Mapping[str, str]) -> Run:
    made_for_us = "MLFLOW_RUN_ID" in os.environ
    try:
        active = mlflow.start_run(run_name=None if made_for_us else name, tags={VERB: verb})
        record = Run(active.info.run_id)
        if made_for_us and _is_made_up(active.info.run_name or ""):
            record.client.update_run(record.id, name=name)
        absent = [Param(key, value) for key, value in parameters.items() if key not in active.data.params]
        record.client.log_batch(record.id, params=absent)
    except MlflowException as error:
        raise UserError(
            f"MLFLOW_EXPERIMENT_NAME, MLFLOW_EXPERIMENT_ID or MLFLOW_RUN_ID: no run can begin ({one_line(error)}); "
            "allowed: an experiment or a run that exists and is not deleted"
        ) from None
    return record


def _is_made_up(name: str) -> bool:
    """Whether MLflow made the name up, such as gifted-crow-512; a name that a user chose is kept."""
    predicate, _, rest = name.partition("-")
    noun, _, number = rest.partition("-")
    words = predicate in name_utils._GENERATOR_PREDICATES and noun in name_utils._GENERATOR_NOUNS
    return words and number.isdigit()
