"""Read the worst rows of an evaluation: of the mistakes of a classifier, those with the largest loss."""

import json
from functools import partial
from pathlib import Path

import mlflow
import pandas as pd

from tracked.console.errors import RunFailed
from tracked.console.lines import one_line
from tracked.console.parameters import refusal
from tracked.experiment import Experiment
from tracked.runs.evaluations import is_of
from tracked.runs.outbox import with_retries
from tracked.runs.queries import MlflowRun, read_runs
from tracked.runs.registry import StoredModel
from tracked.runs.schema import MISTAKES, MODEL_NAME, MODEL_URI, MODEL_VERSION, TRAINING_RUN_ID, VERB


def find_evaluation(owner: Experiment, stored: StoredModel, run_id: str) -> MlflowRun:
    """Find the evaluation of a model with this run id.

    Raises:
        UserError: if the run does not exist, is no finished evaluation, or is one of another model.
    """
    (run,) = read_runs(owner, [run_id], "run").runs
    if run.data.tags.get(VERB) != "evaluate" or run.info.status != "FINISHED":
        raise refusal("run", run_id, "a finished run of evaluate")
    training = run.data.tags.get(TRAINING_RUN_ID, "")
    if not is_of(run, stored) or training != stored.run_id:
        name, version = (run.data.tags.get(tag, "") for tag in (MODEL_NAME, MODEL_VERSION))
        other = f"{name} version {version}" if version else run.data.tags.get(MODEL_URI, "another model")
        raise refusal("run", run_id, f"an evaluation of {stored.title}; this one is of {other}")
    return run


def read_worst(run: MlflowRun, folder: Path) -> pd.DataFrame | None:
    """Read what an evaluation logged of its worst rows; None if it logged no such table.

    Raises:
        RunFailed: if the store keeps failing, or the table cannot be read.
    """
    call = partial(mlflow.MlflowClient().list_artifacts, run.info.run_id)
    if MISTAKES not in {file.path for file in with_retries(f"reading what {run.info.run_id} holds", call)}:
        return None
    download = partial(
        mlflow.artifacts.download_artifacts, run_id=run.info.run_id, artifact_path=MISTAKES, dst_path=str(folder)
    )
    try:
        content = json.loads(Path(with_retries(f"reading {MISTAKES}", download)).read_text())
        return pd.DataFrame(content["data"], columns=content["columns"], dtype=object)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFailed(f"{MISTAKES} of run {run.info.run_id} cannot be read ({one_line(error)})") from None
