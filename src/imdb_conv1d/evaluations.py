"""Evaluations in the store: which there are of a training or of a model version, and the predictions they hold."""

from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from imdb_conv1d.console import RunFailed, one_line
from imdb_conv1d.delivery import persist
from imdb_conv1d.stores import refuses
from imdb_conv1d.trainings import search

PREDICTIONS = "predictions.parquet"  # of each row
LEAKED = "test_texts_in_training"  # the metric that counts them; lacking where it is not known
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


def of_trainings(trainings: Iterable[str]) -> dict[str, Run]:
    """An evaluation of each training that has one: the newest on the rows on which most of them have one.

    Where a training has none on those, it is the newest; evaluations on texts that the model was trained on come last.

    Args:
        trainings: ids of the trainings' runs.
    """
    wanted = set(trainings)
    by_training: dict[str, dict[str, Run]] = {}
    for run in reversed(of_verb("evaluate", FINISHED)):
        training = run.data.tags.get("training_run_id", "")
        if training in wanted:
            rows = run.data.tags.get("rows_digest") or run.data.tags.get("data_digest", "")
            by_training.setdefault(training, {})[rows] = run
    common = Counter(rows for found in by_training.values() for rows, run in found.items() if not leaked(run))
    most = common.most_common(1)[0][0] if common else ""

    def preference(one: tuple[str, Run]) -> tuple[bool, bool, int]:
        rows, run = one
        return not leaked(run), rows == most, run.info.start_time

    return {training: max(found.items(), key=preference)[1] for training, found in by_training.items()}


def leaked(run: Run) -> int | None:
    """How many of the reviews of an evaluation the model was trained on; None where that is not known."""
    found = run.data.metrics.get(LEAKED)
    return None if found is None else int(found)


def of_version(name: str, version: str, *conditions: str) -> Run | None:
    """The newest evaluation of a model version that has its predictions, None if there is none.

    Args:
        conditions: further ones, as for :func:`of_verb`.
    """
    found = of_verb(
        "evaluate", FINISHED, f"tags.model_name = '{name}'", f"tags.model_version = '{version}'", *conditions
    )
    return next(filter(_has_predictions, found), None)


def _has_predictions(run: Run) -> bool:
    call = partial(mlflow.MlflowClient().list_artifacts, run.info.run_id)
    files = persist(f"reading what evaluation {run.info.run_id} holds", call, refuses)
    return PREDICTIONS in {file.path for file in files}


def predictions(run: Run, folder: Path) -> pd.DataFrame:
    """What an evaluation predicted: text_sha256, label and probability, sorted by its rows.

    Raises:
        RunFailed: if it has no such file that can be read.
    """
    place = folder / run.info.run_id
    place.mkdir(exist_ok=True)
    try:
        file = mlflow.artifacts.download_artifacts(
            run_id=run.info.run_id, artifact_path=PREDICTIONS, dst_path=str(place)
        )
        table = pd.read_parquet(file, columns=[*ROW, "probability"])
    except (MlflowException, OSError, ValueError) as error:
        raise RunFailed(
            f"evaluation {run.info.run_id} has no {PREDICTIONS} that can be read ({one_line(error)}); delete that run, "
            "and the model is evaluated again"
        ) from None
    return table.sort_values(ROW, ignore_index=True)


def same_rows(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    """Whether two tables of :func:`predictions` are of the same texts with the same labels."""
    return first[ROW].equals(second[ROW])
