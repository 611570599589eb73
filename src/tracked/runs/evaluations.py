"""Find the evaluations of trainings and model versions, and read their predictions."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from tracked.console.errors import RunFailed
from tracked.console.lines import one_line
from tracked.experiment import Experiment
from tracked.runs.connection import is_server
from tracked.runs.outbox import with_retries
from tracked.runs.queries import is_own, iterate
from tracked.runs.registry import StoredModel
from tracked.runs.rights import find_place
from tracked.runs.schema import (
    DATA_DIGEST,
    EVALUATION_FORMAT,
    LOSS_OF_ROWS,
    MODEL_ID,
    PREDICTIONS,
    ROWS_DIGEST,
    TEST_ROWS_SEEN,
    TRAINING_RUN_ID,
    VERB,
    fill,
)

# Format 3 is described at Experiment.predict; Experiment.upgrade_predictions reads earlier ones. Without the tag, an
# evaluation does not tell which rows were seen, and its inputs name the model.
FORMAT = "3"
IS_WHOLE = f"tags.{EVALUATION_FORMAT} != ''"
FINISHED = "attributes.status = 'FINISHED'"
COLUMNS = ["id", "loss", "key", "seen"]  # of all predictions, once they are read


def loss_of_rows(owner: Experiment) -> str:
    """Describe the loss of a row: losses of different kinds are not compared."""
    return f"{owner.terms.loss} in {owner.terms.unit}"


def seen_metric(owner: Experiment) -> str:
    """Name the metric that counts seen rows; an evaluation lacks it where that number is unknown."""
    return fill(TEST_ROWS_SEEN, owner)


def search_verb(owner: Experiment, verb: str, *conditions: str) -> list[Run]:
    """Find an experiment's runs of a verb in all MLflow experiments, the newest first.

    Args:
        conditions: further conditions in MLflow's search language, such as ``tags.name = 'value'``.

    Raises:
        RunFailed: if the store keeps failing.
    """
    return [run for run in _runs_of(verb, *conditions) if is_own(owner, run)]


def find_newest(owner: Experiment, *conditions: str) -> Run | None:
    """Find the newest finished evaluation that is trusted whatever its training; of many, only the first are read.

    Args:
        conditions: as for :func:`search_verb`.
    """
    runs = _runs_of("evaluate", FINISHED, *conditions, size=20)
    return next((run for run in runs if is_own(owner, run) and keep_trusted([run], "")), None)


def _runs_of(verb: str, *conditions: str, size: int = 1000) -> Iterable[Run]:
    experiments = [
        experiment.experiment_id for experiment in with_retries("reading the experiments", mlflow.search_experiments)
    ]
    condition = " and ".join([f"tags.{VERB} = '{verb}'", *conditions])
    return iterate(f"reading the runs of {verb}", experiments, condition, size)


def are_private(owner: Experiment, data_digest: str) -> bool:
    """Whether some training on these data forbids storing their inputs: then no evaluation may store them."""
    if not owner.inputs_switch:
        return False
    forbids = f"params.{owner.inputs_switch} = 'false'"  # whichever experiment's training says so
    return any(True for _ in _runs_of("train", f"tags.{DATA_DIGEST} = '{data_digest}'", forbids, size=1))


def keep_trusted(runs: Sequence[Run], training_place: str) -> list[Run]:
    """Keep the evaluations that may decide something about a training.

    On a server with users, whoever may read a model can evaluate it, and write any numbers into a run of their own.
    Only those with EDIT write into the training's MLflow experiment, or into the one where this user's own runs begin.
    Without a server, who can open the store can write anything.

    Args:
        training_place: the id of the training's MLflow experiment; empty if unknown.
    """
    if not is_server():
        return list(runs)
    trusted = {training_place, find_place().id}
    return [run for run in runs if run.info.experiment_id in trusted]


def find_for_trainings(owner: Experiment, trainings: Mapping[str, Collection[str]], place: str = "") -> dict[str, Run]:
    """Choose an evaluation of each training: the newest on the rows on which most trainings have one.

    A training without an evaluation on those rows gets its newest. Evaluations without seen rows come first, then
    those where the number is unknown, then those with seen rows.

    Args:
        trainings: the ids of the registered models, by the training's run id: users may add other models to a run.
            Without ids, any model of the run counts as the training's.
        place: the id of the trainings' MLflow experiment.
    """
    by_training: dict[str, dict[str, Run]] = {}
    for run in reversed(keep_trusted(search_verb(owner, "evaluate", FINISHED), place)):
        training = run.data.tags.get(TRAINING_RUN_ID, "")
        if training in trainings and (not trainings[training] or _model(run) in {"", *trainings[training]}):
            rows = run.data.tags.get(ROWS_DIGEST) or run.data.tags.get(DATA_DIGEST, "")
            by_training.setdefault(training, {})[rows] = run
    common = Counter(
        rows for by_rows in by_training.values() for rows, run in by_rows.items() if not count_leaked(owner, run)
    )
    most = common.most_common(1)[0][0] if common else ""

    def preference(item: tuple[str, Run]) -> tuple[bool, bool, bool, int]:
        rows, run = item
        return not count_leaked(owner, run), rows == most, count_leaked(owner, run) is not None, run.info.start_time

    return {training: max(by_rows.items(), key=preference)[1] for training, by_rows in by_training.items()}


def count_leaked(owner: Experiment, run: Run) -> int | None:
    """Count the seen rows of an evaluation; None where the number is unknown.

    For evaluations of earlier versions, the number is a lower bound.
    """
    if seen_metric(owner) in run.data.metrics:
        return int(run.data.metrics[seen_metric(owner)])
    return int(run.data.metrics.get(owner.legacy_seen_metric, 0)) or None


def find_for_model(owner: Experiment, stored: StoredModel, *conditions: str) -> Run | None:
    """Find the newest evaluation of a model that holds predictions; None if there is none.

    A version's name and number do not identify a model: numbers restart when a registered model is deleted.
    Evaluations with another kind of loss than the experiment's do not count.

    Args:
        conditions: further conditions, as for :func:`search_verb`.
    """
    by = f"tags.{TRAINING_RUN_ID} = '{stored.run_id}'" if stored.run_id else f"tags.{MODEL_ID} = '{stored.model_id}'"
    runs = search_verb(owner, "evaluate", FINISHED, by, *conditions) if stored.run_id or stored.model_id else []
    runs = keep_trusted(runs, _place_of(stored.run_id) if runs and is_server() else "")
    loss = loss_of_rows(owner)
    runs = [run for run in runs if run.data.tags.get(LOSS_OF_ROWS, loss) == loss]
    return next((run for run in runs if is_of(run, stored) and _has_predictions(run)), None)


def _place_of(run_id: str) -> str:
    """The id of the MLflow experiment of a training; empty if it is gone, or may not be read."""
    try:
        return str(mlflow.MlflowClient().get_run(run_id).info.experiment_id) if run_id else ""
    except MlflowException:
        return ""


def is_of(run: Run, stored: StoredModel) -> bool:
    """Whether an evaluation is of this model; an evaluation that names no model is of its training's."""
    return not stored.model_id or _model(run) in ("", stored.model_id)


def can_be_paired(first: Run, second: Run) -> bool:
    """Whether two evaluations have the same kind of loss and the same digest of rows, as far as they name them.

    Rows with equal ids have another digest if one model knows other labels: its losses are those of another task.
    """
    tags = [run.data.tags for run in (first, second)]
    return all(len({own[name] for own in tags if own.get(name)}) < 2 for name in (LOSS_OF_ROWS, ROWS_DIGEST))


def _model(run: Run) -> str:
    """The id of the evaluated model; empty if the evaluation names none."""
    if MODEL_ID in run.data.tags:
        return str(run.data.tags[MODEL_ID])
    # Search results lack a run's model inputs.
    call = partial(mlflow.MlflowClient().get_run, run.info.run_id)
    inputs = with_retries(f"reading evaluation {run.info.run_id}", call).inputs
    return str(inputs.model_inputs[0].model_id) if inputs and inputs.model_inputs else ""


def _has_predictions(run: Run) -> bool:
    call = partial(mlflow.MlflowClient().list_artifacts, run.info.run_id)
    files = with_retries(f"reading what evaluation {run.info.run_id} holds", call)
    return PREDICTIONS in {file.path for file in files}


def read_predictions(owner: Experiment, run: Run, folder: Path) -> pd.DataFrame:
    """Read an evaluation's predictions, sorted by id: id, loss, key, seen and, where a row can be right, correct.

    ``seen`` is a missing value where it is unknown.

    Raises:
        RunFailed: if the run has no readable file of predictions.
    """
    target = folder / run.info.run_id
    target.mkdir(exist_ok=True)
    try:
        # By the place, since by the run's id MLflow asks for the run twice, and for its models.
        uri = f"{run.info.artifact_uri}/{PREDICTIONS}"
        file = mlflow.artifacts.download_artifacts(uri, dst_path=str(target))
        table = pd.read_parquet(file)
        if (version := run.data.tags.get(EVALUATION_FORMAT, "1")) != FORMAT:
            table = owner.upgrade_predictions(table, version)
        columns = [*COLUMNS, "correct"] if "correct" in table else COLUMNS
        table = table[columns].astype({"seen": "boolean"})
    except (MlflowException, OSError, ValueError, KeyError) as error:
        raise RunFailed(
            f"evaluation {run.info.run_id} has no {PREDICTIONS} that can be read ({one_line(error)}); delete that run, "
            "and the model is evaluated again"
        ) from None
    return table.sort_values("id", ignore_index=True)


def have_same_rows(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    """Whether two tables of :func:`read_predictions` have the same rows."""
    return first["id"].equals(second["id"])


def find_unseen(first: pd.DataFrame, second: pd.DataFrame) -> pd.Series:
    """Mark the rows, of two tables of the same rows, that neither model is known to have seen."""
    return ~(first["seen"].fillna(False) | second["seen"].fillna(False))
