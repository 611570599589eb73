"""A run's beginning and end: where it comes from, what it is called, and the status that it is left with."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Literal

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.utils import name_utils

from imdb_conv1d.console import Interrupted, RunFailed, Signals, UserError, one_line, warn
from imdb_conv1d.delivery import persist
from imdb_conv1d.stores import brief_calls, refuses
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
        made_for_us = os.environ.get("MLFLOW_RUN_ID")
        active = _start(verb, name, made_for_us)
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


def _start(verb: str, name: str, made_for_us: str | None) -> mlflow.ActiveRun:
    try:
        if not made_for_us:
            return mlflow.start_run(run_name=name, tags={VERB: verb})
        active = persist("going on with the run", partial(mlflow.start_run, run_id=made_for_us), refuses)
        os.environ.pop("MLFLOW_RUN_ID", None)  # as MLflow does: it means this run and no other
        return active
    except (MlflowException, RunFailed) as error:
        raise UserError(
            f"MLFLOW_EXPERIMENT_NAME, MLFLOW_EXPERIMENT_ID or MLFLOW_RUN_ID: no run can begin ({one_line(error)}); "
            "allowed: an experiment or a run that exists and is not deleted"
        ) from None


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
            with suppress(Exception):  # MLflow's own end: it also forgets the run, and must not end it otherwise later
                mlflow.end_run(status)


def _is_made_up(name: str) -> bool:
    """Whether MLflow made the name up, such as gifted-crow-512; a name that a user chose is kept."""
    predicate, _, rest = name.partition("-")
    noun, _, number = rest.partition("-")
    words = predicate in name_utils._GENERATOR_PREDICATES and noun in name_utils._GENERATOR_NOUNS
    return words and number.isdigit()
