"""Evaluations in the store: which there are of a training or of a model version, and the predictions they hold."""

from collections import Counter
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from tracked.console.errors import RunFailed
from tracked.console.lines import one_line
from tracked.experiment import Experiment
from tracked.runs.outbox import with_retries
from tracked.runs.queries import is_own, search
from tracked.runs.registry import StoredModel
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
    """Say what the loss of a row is: losses of another kind are not compared."""
    return f"{owner.terms.loss} in {owner.terms.unit}"


def seen_metric(owner: Experiment) -> str:
    """Name the metric that counts the rows that a model was trained or chosen on; it is lacking if that is unknown."""
    return fill(TEST_ROWS_SEEN, owner)


def search_verb(owner: Experiment, verb: str, *conditions: str) -> list[Run]:
    """An experiment's runs of a verb, wherever they are, the newest first.

    Args:
        conditions: further ones in MLflow's search language, such as ``tags.name = 'value'``.

    Raises:
        RunFailed: if the store keeps failing.
    """
    return [run for run in _runs_of(verb, *conditions) if is_own(owner, run)]


def _runs_of(verb: str, *conditions: str) -> list[Run]:
    found = with_retries("reading the experiments", mlflow.search_experiments)
    experiments = [one.experiment_id for one in found]
    return search(f"reading the runs of {verb}", experiments, " and ".join([f"tags.{VERB} = '{verb}'", *conditions]))


def are_private(owner: Experiment, data_digest: str) -> bool:
    """Whether a training on these data forbids to store their inputs, so that no other model's evaluation may."""
    if not owner.inputs_switch:
        return False
    forbids = f"params.{owner.inputs_switch} = 'false'"  # whichever experiment's training says so
    return bool(_runs_of("train", f"tags.{DATA_DIGEST} = '{data_digest}'", forbids))


def find_for_trainings(owner: Experiment, trainings: Mapping[str, Collection[str]]) -> dict[str, Run]:
    """An evaluation of each training that has one: the newest on the rows on which most of them have one.

    Where a training has none on those, it is the newest. Evaluations that tell what the model had seen come before
    those that do not, and last come those on rows that it had.

    Args:
        trainings: by the id of a training's run, the ids of its registered models: a run may hold other models, which
            somebody has added. Where there are none, any model of the run is taken for the training's.
    """
    by_training: dict[str, dict[str, Run]] = {}
    for run in reversed(search_verb(owner, "evaluate", FINISHED)):
        training = run.data.tags.get(TRAINING_RUN_ID, "")
        if training in trainings and (not trainings[training] or _model(run) in {"", *trainings[training]}):
            rows = run.data.tags.get(ROWS_DIGEST) or run.data.tags.get(DATA_DIGEST, "")
            by_training.setdefault(training, {})[rows] = run
    common = Counter(
        rows for found in by_training.values() for rows, run in found.items() if not count_leaked(owner, run)
    )
    most = common.most_common(1)[0][0] if common else ""

    def preference(one: tuple[str, Run]) -> tuple[bool, bool, bool, int]:
        rows, run = one
        return not count_leaked(owner, run), rows == most, count_leaked(owner, run) is not None, run.info.start_time

    return {training: max(found.items(), key=preference)[1] for training, found in by_training.items()}


def count_leaked(owner: Experiment, run: Run) -> int | None:
    """How many of the rows of an evaluation the model was trained or chosen on; None where that is not known.

    Of an earlier version's evaluation, at least so many.
    """
    if seen_metric(owner) in run.data.metrics:
        return int(run.data.metrics[seen_metric(owner)])
    return int(run.data.metrics.get(owner.legacy_seen_metric, 0)) or None


def find_for_model(owner: Experiment, stored: StoredModel, *conditions: str) -> Run | None:
    """The newest evaluation of a model that has its predictions, None if there is none.

    A version's name and number do not name a model: they begin again when a registered model is deleted. An evaluation
    whose losses are of another kind than the experiment's now does not count.

    Args:
        conditions: further ones, as for :func:`search_verb`.
    """
    by = f"tags.{TRAINING_RUN_ID} = '{stored.run_id}'" if stored.run_id else f"tags.{MODEL_ID} = '{stored.model_id}'"
    found = search_verb(owner, "evaluate", FINISHED, by, *conditions) if stored.run_id or stored.model_id else []
    now = loss_of_rows(owner)
    found = [run for run in found if run.data.tags.get(LOSS_OF_ROWS, now) == now]
    return next((run for run in found if _is_of(run, stored) and _has_predictions(run)), None)


def _is_of(run: Run, stored: StoredModel) -> bool:
    """Whether an evaluation is of this very model; one that names none is of its training's."""
    return not stored.model_id or _model(run) in ("", stored.model_id)


def have_same_loss(first: Run, second: Run) -> bool:
    """Whether the losses that two evaluations have stored are of one kind, as far as they say it."""
    return len({run.data.tags[LOSS_OF_ROWS] for run in (first, second) if LOSS_OF_ROWS in run.data.tags}) < 2


def _model(run: Run) -> str:
    """The id of the model that was evaluated; empty if the evaluation names none."""
    if MODEL_ID in run.data.tags:
        return str(run.data.tags[MODEL_ID])
    # A search leaves out the models that a run used.
    call = partial(mlflow.MlflowClient().get_run, run.info.run_id)
    inputs = with_retries(f"reading evaluation {run.info.run_id}", call).inputs
    return str(inputs.model_inputs[0].model_id) if inputs and inputs.model_inputs else ""


def _has_predictions(run: Run) -> bool:
    call = partial(mlflow.MlflowClient().list_artifacts, run.info.run_id)
    files = with_retries(f"reading what evaluation {run.info.run_id} holds", call)
    return PREDICTIONS in {file.path for file in files}


def read_predictions(owner: Experiment, run: Run, folder: Path) -> pd.DataFrame:
    """What an evaluation predicted, sorted by its rows' id: id, loss, key, seen and, where a row can be right, correct.

    ``seen`` is missing where it is not known whether the model was trained or chosen on a row.

    Raises:
        RunFailed: if it has no such file that can be read.
    """
    place = folder / run.info.run_id
    place.mkdir(exist_ok=True)
    try:
        file = mlflow.artifacts.download_artifacts(
            run_id=run.info.run_id, artifact_path=PREDICTIONS, dst_path=str(place)
        )
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
    """Whether two tables of :func:`read_predictions` are of the same rows."""
    return first["id"].equals(second["id"])


def find_unseen(first: pd.DataFrame, second: pd.DataFrame) -> pd.Series:
    """Which rows of two tables of the same rows neither model is known to have seen in its training."""
    return ~(first["seen"].fillna(False) | second["seen"].fillna(False))
