"""A run around the work of a verb: what is said of it, the status that it is left with, how to go on."""

import json
import shlex
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Literal

import mlflow
from mlflow.utils.mlflow_tags import MLFLOW_PROJECT_ENV

from tracked.analysis.early_stopping import NOT_A_NUMBER, OTHER_HISTORY
from tracked.console.errors import Interrupted, RunFailed
from tracked.console.lines import one_line, warn
from tracked.console.signals import Signals
from tracked.experiment import Experiment
from tracked.runs import run_start
from tracked.runs.connection import brief_calls
from tracked.runs.outbox import with_retries
from tracked.runs.run_start import TrainingStart
from tracked.runs.schema import CLOSED, ENTRY_POINT, ERROR, STOP_REASON
from tracked.runs.writer import Run
from tracked.training.holder import Holder
from tracked.training.run_folder_lock import HeldError

PATIENCE_AFTER_ERROR = 15.0  # seconds without a success; whoever ends a process kills it if it takes much longer
Status = Literal["FINISHED", "FAILED", "KILLED"]


@contextmanager
def run(
    owner: Experiment,
    verb: str,
    name: str,
    parameters: Mapping[str, str],
    signals: Signals,
    experiment_id: str | None = None,
    training: TrainingStart | None = None,
) -> Iterator[Run]:
    """A run around a verb's work: new, the one that ``mlflow run`` has made for it, or an earlier one that goes on.

    With ``experiment_id`` the run is of that experiment; where ``mlflow run`` has made one of another experiment, a new
    one is made, and the former says where it is. Within another run it is shown as that one's child.

    Left without an error it is FINISHED, with Ctrl-C or SIGTERM KILLED, else FAILED; the tag ``stop_reason`` says why,
    and lasts where ``mlflow run`` writes over the status. Parameters that are already recorded stay as they are.

    A ``training`` has a folder of its own, held by this process. It is removed just before the run is FINISHED;
    otherwise the command that goes on is noted at the error that ends it.

    Raises:
        UserError: if MLflow's settings name an experiment or a run that cannot be used; no run is made.
        RunFailed: if something that was said could not be stored.
    """
    with signals.hold():
        token, me = uuid.uuid4().hex, Holder.this_process()
        launch = {"token": token} | asdict(me) | dict(training.launch if training else {})
        if training:
            training.folder_lock.sign(token)
        active, is_new = run_start.start(
            owner, verb, name, experiment_id, json.dumps(launch), training.run_id if training else ""
        )
        record = Run(active.info.run_id, owner.name, _folder(training, active.info.run_id, token))
    status: Status = "FAILED"
    try:
        signals.check()
        if not is_new:
            record.delete_tags(tag for tag in (STOP_REASON, CLOSED, ERROR) if tag in active.data.tags)
            if run_start.is_made_up(active.info.run_name or ""):
                record.set_name(name)
        record.log_params({key: value for key, value in parameters.items() if key not in active.data.params})
        yield record
        with signals.hold():
            record.flush()
            status = "FINISHED"
    except BaseException as error:
        with signals.hold():
            if isinstance(error, Interrupted):
                status = "KILLED"
                record.set_tags({STOP_REASON: "interrupted"})
            else:
                record.set_tags({ERROR: one_line(error), STOP_REASON: record.stop_reason or "error"})
            try:
                record.flush(PATIENCE_AFTER_ERROR, bound=PATIENCE_AFTER_ERROR)
            except RunFailed as lost:
                warn(f"error: {lost}")
            if training and record.stop_reason not in (NOT_A_NUMBER, OTHER_HISTORY):
                error.add_note(f"to go on: {_again(record.id, active)}")
        raise
    finally:
        with signals.hold():
            record.close(keep=training is not None)
            if training and status == "FINISHED":
                training.folder_lock.remove()
            try:
                _end(record, status)
            except RunFailed as error:
                if training:
                    error.add_note(f"to go on: {_again(record.id, active)}")
                raise


def _folder(training: TrainingStart | None, run_id: str, token: str) -> Path | None:
    """The training's folder, held by this process; None for another verb."""
    if training is None:
        return None
    folder = training.folder_lock.folder or training.root / run_id
    try:
        return training.folder_lock.take(folder, token)
    except (OSError, HeldError) as error:
        run_start.end_active_run("FAILED")
        raise RunFailed(f"nothing can be kept in {folder} ({one_line(error)})") from error


def _end(record: Run, status: Status) -> None:
    with brief_calls():
        run_start.end_active_run(status)
        try:
            # Not before its last epoch, which a clock that was set back since would say.
            now = max(time.time_ns() // 1_000_000, record.milliseconds)
            ending = partial(record.client.set_terminated, record.id, status, now)
            with_retries(f"ending run {record.id} as {status}", ending, seconds=PATIENCE_AFTER_ERROR)
        except RunFailed as error:
            if status == "FINISHED":
                raise
            warn(f"error: {error}")  # another error is on its way, which says more


def _again(run_id: str, active: mlflow.ActiveRun) -> str:
    """The command that goes on with a training, from this process's folder."""
    if ENTRY_POINT in active.data.tags:
        manager = active.data.tags.get(MLFLOW_PROJECT_ENV, "local")  # the one that it does not note
        chosen = [] if manager == "conda" else ["--env-manager", manager]
        return shlex.join(["mlflow", "run", str(Path.cwd()), "--run-id", run_id, *chosen])
    here = Path.cwd()
    python, script = (
        str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
        for path in (Path(sys.executable), Path(sys.argv[0]).absolute())
    )
    verb = sys.argv[1:2] if sys.argv[1:2] == ["train"] else []  # where one script has all verbs
    return shlex.join([python, script, *verb, "--resume", run_id])
