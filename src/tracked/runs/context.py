"""A run around a verb's work: its tags, its final status, and the command that resumes a training."""

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Literal

import mlflow

from tracked.analysis.early_stopping import NOT_A_NUMBER, OTHER_HISTORY
from tracked.analysis.rate_range import NO_RATE
from tracked.console.errors import Interrupted, NameRefused, RunFailed
from tracked.console.lines import one_line, retold, warn
from tracked.console.secrets import hide_in_addresses
from tracked.console.signals import Signals
from tracked.experiment import Experiment
from tracked.runs import run_start
from tracked.runs.commands import resume_command
from tracked.runs.connection import brief_calls
from tracked.runs.outbox import with_retries
from tracked.runs.run_start import ResumableStart
from tracked.runs.schema import CLOSED, ERROR, STOP_REASON
from tracked.runs.writer import Run
from tracked.training.holder import Holder
from tracked.training.run_folder_lock import HeldError

PATIENCE_AFTER_ERROR = 15.0  # seconds without a success: a process that takes longer to end may be killed
OTHER_NAME = "NAME"  # in a command: what the user chooses
Status = Literal["FINISHED", "FAILED", "KILLED"]


@contextmanager
def run(
    owner: Experiment,
    verb: str,
    name: str,
    parameters: Mapping[str, str],
    signals: Signals,
    experiment_id: str | None = None,
    resumable: ResumableStart | None = None,
    run_id: str = "",
) -> Iterator[Run]:
    """Open a run around a verb's work: a new run, the run of ``mlflow run``, or a resumed run.

    With ``experiment_id`` the run is in that MLflow experiment; a run that ``mlflow run`` has created in another one
    links to it. Within another run, the run is that one's child.

    ``run_id`` names an existing run to open again, without a run folder of its own.

    The final status is FINISHED, KILLED after Ctrl-C or SIGTERM, else FAILED. The tag ``stop_reason`` keeps the reason
    where ``mlflow run`` overwrites the status. Parameters that the run has already are not logged again.

    A ``resumable`` run, of a training or a search, has a run folder, held by this process and removed just before the
    run is FINISHED. An error that ends the work carries the command that resumes it, as a note.

    Raises:
        UserError: if MLflow's settings name an experiment or a run that cannot be used; no run is created.
        RunFailed: if not everything could be logged.
    """
    with signals.hold():
        token, process = uuid.uuid4().hex, Holder.this_process()
        launch = {"token": token} | asdict(process) | dict(resumable.launch if resumable else {})
        if resumable:
            resumable.folder_lock.sign(token)
        run_id, tags = (resumable.run_id, resumable.tags) if resumable else (run_id, {})
        active, is_new = run_start.start(owner, verb, name, experiment_id, json.dumps(launch), run_id, tags)
        record = Run(active.info.run_id, owner.name, _folder(resumable, active.info.run_id, token))
    status: Status = "FAILED"
    try:
        signals.check()
        _hide_in_tags(record, active)
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
            if resumable and record.stop_reason not in (NOT_A_NUMBER, NO_RATE, OTHER_HISTORY):
                error.add_note(f"to resume: {resume_command(record.id, active.data.tags)}")
                if isinstance(error, NameRefused):
                    error.add_note(
                        f"to register under another name: {resume_command(record.id, active.data.tags, OTHER_NAME)}"
                    )
        raise
    finally:
        with signals.hold():
            record.close(keep=resumable is not None)
            if resumable and status == "FINISHED" and not resumable.keep_folder:
                resumable.folder_lock.remove()
            try:
                _end(record, status)
            except RunFailed as error:
                if resumable:
                    error.add_note(f"to resume: {resume_command(record.id, active.data.tags)}")
                raise


def _hide_in_tags(record: Run, active: mlflow.ActiveRun) -> None:
    """Set again the tags in which ``mlflow run`` has stored an address with a password, such as the project's."""
    stored = {name: str(value) for name, value in active.data.tags.items()}
    if told := {name: shown for name, value in stored.items() if (shown := hide_in_addresses(value)) != value}:
        record.set_tags(told)


def _folder(resumable: ResumableStart | None, run_id: str, token: str) -> Path | None:
    """Hold the training's run folder; None for another verb."""
    if resumable is None:
        return None
    folder = resumable.folder_lock.folder or resumable.root / run_id
    try:
        return resumable.folder_lock.take(folder, token)
    except (OSError, HeldError) as error:
        run_start.end_active_run("FAILED")
        raise RunFailed(f"the run folder {folder} cannot be used ({one_line(error)})") from error


def _end(record: Run, status: Status) -> None:
    with brief_calls():
        run_start.end_active_run(status)
        try:
            # Not before the last epoch: the clock may have been set back.
            now = max(time.time_ns() // 1_000_000, record.milliseconds)
            ending = partial(record.client.set_terminated, record.id, status, now)
            with retold():  # MLflow prints the run's address
                with_retries(f"ending run {record.id} as {status}", ending, seconds=PATIENCE_AFTER_ERROR)
        except RunFailed as error:
            if status == "FINISHED":
                raise
            warn(f"error: {error}")  # another error is being raised, which says more
