"""The MLflow run of a prediction: one for all of its attempts, FINISHED once the output is complete."""

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tracked.console.errors import UserError
from tracked.console.lines import say
from tracked.console.signals import Signals
from tracked.experiment import Experiment
from tracked.predict.manifest import format_manifest
from tracked.predict.state import State
from tracked.reports import prediction_report
from tracked.runs import connection, context, registry, run_calls, run_start
from tracked.runs.queries import MlflowRun, is_own
from tracked.runs.registry import StoredModel
from tracked.runs.schema import (
    ANSWERED_ROWS,
    MANIFEST,
    PARTS_WRITTEN,
    REJECTED_ROWS,
    ROWS_A_SECOND,
    ROWS_READ,
    SOURCE_NAME,
    STOP_REASON,
    VERB,
)
from tracked.runs.writer import Run, escape_markdown


def find_own(owner: Experiment) -> MlflowRun | None:
    """Find the run that ``mlflow run`` has chosen; None if there is none.

    Raises:
        UserError: if it cannot become a run of a prediction.
    """
    return run_start.require_own_run(owner, "predict")


def find_clone(own: MlflowRun | None) -> str:
    """Find where ``mlflow run`` has cloned the project from; empty if it was not cloned."""
    if own is None:
        return ""
    source = own.data.tags.get(SOURCE_NAME, "").partition("#")[0]
    return "" if not source or Path(source).exists() else source


def find_former(owner: Experiment, run_id: str) -> MlflowRun | None:
    """Read the run of former attempts; None if the store does not have it, or it is of another verb."""
    try:
        run = run_start.read_run(run_id) if run_id else None
    except UserError:
        return None
    return run if run and run.data.tags.get(VERB) == "predict" and is_own(owner, run) else None


def has_finished(owner: Experiment, run_id: str) -> bool:
    """Whether the run of a complete prediction has its end."""
    run = find_former(owner, run_id)
    return run is not None and run.info.status == "FINISHED"


def name_run(stored: StoredModel) -> str:
    """Name the run of a prediction."""
    return f"predict {stored.short}"


def point_to(run_id: str, own: MlflowRun) -> None:
    """Let a run of ``mlflow run`` with nothing left to do say which run has the prediction.

    Raises:
        RunFailed: if the store keeps failing.
    """
    if own.info.run_id != run_id:
        run_calls.describe(own.info.run_id, f"complete already, by run {run_id}")


def end_former(former: MlflowRun | None) -> None:
    """End the run of former attempts that will not go on as KILLED, unless it has ended.

    Raises:
        RunFailed: if the store keeps failing.
    """
    if former and former.info.status not in ("FINISHED", "KILLED"):
        run_calls.set_tags("tagging the former run", former.info.run_id, {STOP_REASON: "killed"})
        run_calls.end(former.info.run_id, "KILLED")


def open_run(
    owner: Experiment,
    stored: StoredModel,
    parameters: Any,
    former: MlflowRun | None,
    own: MlflowRun | None,
    signals: Signals,
) -> AbstractContextManager[Run]:
    """Open the prediction's run: the one of its former attempts, or a new one.

    Under ``mlflow run``, that is the run that it has chosen; the former one, if it is another, ends as KILLED.

    Raises:
        UserError: if ``mlflow run`` has chosen the run of another output.
    """
    run_id = former.info.run_id if former else ""
    if own is not None and own.info.run_id != run_id:
        if VERB in own.data.tags:
            allowed = run_id or "a new run"
            raise UserError(
                f"{connection.RUN_ID_SETTING}: run {own.info.run_id} is of another output; allowed: {allowed}"
            )
        end_former(former)
        run_id = ""
    return context.run(owner, "predict", name_run(stored), parameters.as_strings(), signals, run_id=run_id)


def log(
    run: Run,
    owner: Experiment,
    stored: StoredModel,
    state: State,
    source: str,
    rate: float,
    known: Mapping[str, float],
) -> None:
    """Log what came of a prediction.

    Args:
        source: the user's ``data``.
        known: the run's metrics, which an attempt that ended before its manifest has logged.
        rate: rows that this attempt has answered a second; 0 if there was nothing left.
    """
    rows = state.rows
    name = str(Path(source).expanduser().absolute())
    run.log_input(name, state.facts["input"]["digest"], "prediction", {"rows": rows}, {})
    registry.log_model(run, stored)
    values: dict[str, float] = {
        ROWS_READ: rows, ANSWERED_ROWS: state.answered, REJECTED_ROWS: state.rejected,
        PARTS_WRITTEN: len(state.parts),
    }  # fmt: skip
    if rate:
        values[ROWS_A_SECOND] = rate
    new = {metric: value for metric, value in values.items() if known.get(metric) != value}
    run.log_metrics(new, round(time.time() * 1000), step=0)
    trained = state.training.observed if state.training else None
    lines = prediction_report.log_report(run, owner, state.observed, trained, known)
    for line in lines:
        say(line)
    run.set_description("\n\n".join(map(escape_markdown, lines)))
    path = run.folder / MANIFEST
    path.write_text(format_manifest(state))
    run.log_artifact(path)
