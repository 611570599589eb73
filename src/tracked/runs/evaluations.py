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
from tracked.models.loader import Stored
from tracked.runs.connection import refuses
from tracked.runs.outbox import persist
from tracked.runs.queries import search

PREDICTIONS = "predictions.parquet"  # of each row
LEAKED = "test_reviews_seen"  # the metric that counts those the model was trained or chosen on; lacking if unknown
BY_BYTES = "test_texts_in_training"  # an earlier version's metric; its 0 says nothing of the words
MODEL_ID = "model_id"  # the tag with the model that was evaluated
# The tag with the form of what an evaluation leaves. Without it, predictions tell neither words nor what was seen, and
# the model is known by the run's inputs.
FORMAT_TAG, FORMAT = "evaluation_format", "2"
IS_WHOLE = f"tags.{FORMAT_TAG} = '{FORMAT}'"
FINISHED = "attributes.status = 'FINISHED'"
ROW = ["text_sha256", "label"]  # what makes two rows the same


def of_verb(verb: str, *conditions: str) -> list[Run]:
    """The runs of a verb in all experiments, the newest first.

    Args:
        conditions: further ones in MLflow's search language, such as ``tags.name = 'value'``.

    Raises:
        RunFailed: if the store keeps failing.
    """
    experiments = [
        found.experiment_id for found in persist("reading the experiments", mlflow.search_experiments, refuses)
    ]
    return search(f"reading the runs of {verb}", experiments, " and ".join([f"tags.verb = '{verb}'", *conditions]))


def are_private(data_digest: str) -> bool:
    """Whether a training on these data forbids to store their texts, so that no other model's evaluation may."""
    return bool(of_verb("train", f"tags.data_digest = '{data_digest}'", "params.log_texts = 'false'"))


def of_trainings(trainings: Mapping[str, Collection[str]]) -> dict[str, Run]:
    """An evaluation of each training that has one: the newest on the rows on which most of them have one.

    Where a training has none on those, it is the newest. Evaluations that tell what the model had seen come before
    those that do not, and last come those on texts that it had.

    Args:
        trainings: by the id of a training's run, the ids of its registered models: a run may hold other models, which
            somebody has added. Where there are none, any model of the run is taken for the training's.
    """
    by_training: dict[str, dict[str, Run]] = {}
    for run in reversed(of_verb("evaluate", FINISHED)):
        training = run.data.tags.get("training_run_id", "")
        if training in trainings and (not trainings[training] or _model(run) in {"", *trainings[training]}):
            rows = run.data.tags.get("rows_digest") or run.data.tags.get("data_digest", "")
            by_training.setdefault(training, {})[rows] = run
    common = Counter(rows for found in by_training.values() for rows, run in found.items() if not leaked(run))
    most = common.most_common(1)[0][0] if common else ""

    def preference(one: tuple[str, Run]) -> tuple[bool, bool, bool, int]:
        rows, run = one
        return not leaked(run), rows == most, leaked(run) is not None, run.info.start_time

    return {training: max(found.items(), key=preference)[1] for training, found in by_training.items()}


def leaked(run: Run) -> int | None:
    """How many of the reviews of an evaluation the model was trained or chosen on; None where that is not known.

    Of an earlier version's evaluation, those that it knew by their bytes in the training part alone: at least so many.
    """
    if LEAKED in run.data.metrics:
        return int(run.data.metrics[LEAKED])
    return int(run.data.metrics.get(BY_BYTES, 0)) or None


def of_model(stored: Stored, *conditions: str) -> Run | None:
    """The newest evaluation of a model that has its predictions, None if there is none.

    A version's name and number do not name a model: they begin again when a registered model is deleted.

    Args:
        conditions: further ones, as for :func:`of_verb`.
    """
    by = f"tags.training_run_id = '{stored.run_id}'" if stored.run_id else f"tags.{MODEL_ID} = '{stored.model_id}'"
    found = of_verb("evaluate", FINISHED, by, *conditions) if stored.run_id or stored.model_id else []
    return next((run for run in found if _is_of(run, stored) and _has_predictions(run)), None)


def _is_of(run: Run, stored: Stored) -> bool:
    """Whether an evaluation is of this very model; one that names none is of its training's."""
    return not stored.model_id or _model(run) in ("", stored.model_id)


def _model(run: Run) -> str:
    """The id of the model that was evaluated; empty if the evaluation names none."""
    if MODEL_ID in run.data.tags:
        return str(run.data.tags[MODEL_ID])
    # A search leaves out the models that a run used.
    call = partial(mlflow.MlflowClient().get_run, run.info.run_id)
    inputs = persist(f"reading evaluation {run.info.run_id}", call, refuses).inputs
    return str(inputs.model_inputs[0].model_id) if inputs and inputs.model_inputs else ""


def _has_predictions(run: Run) -> bool:
    call = partial(mlflow.MlflowClient().list_artifacts, run.info.run_id)
    files = persist(f"reading what evaluation {run.info.run_id} holds", call, refuses)
    return PREDICTIONS in {file.path for file in files}


def predictions(run: Run, folder: Path) -> pd.DataFrame:
    """What an evaluation predicted, sorted by its rows: text_sha256, label, probability, words (a key of the text's
    words) and seen (whether the model was trained or chosen on it).

    Of an evaluation that told neither, words are the text's hash, and seen is missing.

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
        if FORMAT_TAG not in run.data.tags:
            table = table.assign(words=table["text_sha256"], seen=None)
        table = table[[*ROW, "probability", "words", "seen"]].astype({"seen": "boolean"})
    except (MlflowException, OSError, ValueError, KeyError) as error:
        raise RunFailed(
            f"evaluation {run.info.run_id} has no {PREDICTIONS} that can be read ({one_line(error)}); delete that run, "
            "and the model is evaluated again"
        ) from None
    return table.sort_values(ROW, ignore_index=True)


def same_rows(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    """Whether two tables of :func:`predictions` are of the same texts with the same labels."""
    return first[ROW].equals(second[ROW])


def unseen(first: pd.DataFrame, second: pd.DataFrame) -> pd.Series:
    """Which rows of two tables of the same rows neither model is known to have seen in its training."""
    return ~(first["seen"].fillna(False) | second["seen"].fillna(False))
