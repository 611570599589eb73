"""Predict an evaluation's rows with the experiment's baselines, or find such predictions, and log both side by side.

All files are written before the first is logged. An evaluation that ends in between is not FINISHED, and no later one
takes predictions from it.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException

from tracked.analysis import baseline_verdict
from tracked.console.errors import RunFailed, UserError
from tracked.console.lines import one_line, say, warn
from tracked.experiment import Experiment, Part, TrainedOn
from tracked.reports import baseline_report
from tracked.runs import evaluations
from tracked.runs.registry import StoredModel
from tracked.runs.schema import (
    BASELINE_KEY,
    BASELINE_PREDICTIONS,
    BASELINE_SCORE,
    BASELINE_TABLE,
    BASELINES_FOLDER,
)
from tracked.runs.writer import Run
from tracked.training.files import write_safely

FORMAT = 1  # of the kept predictions: id, loss, correct where there is one, and the experiment's own columns
OWN_COLUMNS = ["key", "seen"]  # of the model's predictions, whatever made the others


def log_baselines(
    owner: Experiment,
    run: Run,
    stored: StoredModel,
    part: Part,
    trained_on: TrainedOn,
    predictions: pd.DataFrame,
    own_test_part: bool,
) -> None:
    """Queue the baselines' predictions and scores, and say whether the network is worth it.

    Baselines that fail never fail the evaluation: a line says why there are none.

    Args:
        predictions: the model's, of all rows.
        own_test_part: whether the verdict may stand at the model's version.
    """
    if not owner.baselines:
        return
    started = time.perf_counter()
    try:
        key = make_key(owner, part, trained_on)
        tables = find_kept(owner, key, predictions, run.folder)
        origin = "predictions of an earlier evaluation"
        if tables is None:
            tables = _predict(owner, part, trained_on, predictions)
            origin = f"fitted and scored in {time.perf_counter() - started:.1f} s"
        scores = {name: owner.score(table) for name, table in tables.items()}
        sentence = baseline_report.describe_verdict(owner, predictions, tables)
        _log(owner, run, tables, scores, baseline_report.compare(owner, predictions, tables, scores))
    except (UserError, RunFailed) as error:  # such as training data that have changed
        say(f"no baselines: {one_line(error)}")
        return
    except Exception as error:
        warn(f"error: no baselines, as they failed: {type(error).__name__}: {one_line(error)}")
        return
    run.set_tags({BASELINE_KEY: key})
    for name, own in scores.items():
        say(f"{owner.baselines[name]}: {', '.join(f'{score} {own[score]:.4f}' for score in owner.headline)}")
    say(f"baselines: {origin}\n{sentence}")
    run.extend_description(sentence)
    if stored.version and own_test_part:
        begin = baseline_verdict.QUESTION
        run.set_version_line(stored.name, stored.version, begin, sentence.removeprefix(begin).strip())


def make_key(owner: Experiment, part: Part, trained_on: TrainedOn) -> str:
    """Make a digest of all that the baselines' predictions depend on."""
    recipe = owner.describe_recipe(trained_on)
    parts = [FORMAT, owner.name, recipe, trained_on.digest, part.rows_digest, sorted(owner.baselines)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def find_kept(owner: Experiment, key: str, predictions: pd.DataFrame, folder: Path) -> dict[str, pd.DataFrame] | None:
    """Read the predictions of the newest evaluation with the same key; None if there are none that can be used."""
    kept = evaluations.find_newest(owner, f"tags.{BASELINE_KEY} = '{key}'")
    if kept is None:
        return None
    download = partial(mlflow.artifacts.download_artifacts, run_id=kept.info.run_id, dst_path=str(folder / "kept"))
    (folder / "kept").mkdir(exist_ok=True)
    try:
        paths = {name: download(artifact_path=BASELINE_PREDICTIONS.format(baseline=name)) for name in owner.baselines}
        tables = {name: align(pd.read_parquet(path), predictions) for name, path in paths.items()}
        for table in tables.values():
            owner.score(table)
    except (MlflowException, OSError, ValueError, KeyError, TypeError) as error:
        warn(f"evaluation {kept.info.run_id} has no usable predictions of baselines ({one_line(error)})")
        return None
    return tables


def _predict(
    owner: Experiment, part: Part, trained_on: TrainedOn, predictions: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    predicted = owner.predict_baselines(part, trained_on)
    if set(predicted) != set(owner.baselines):
        raise ValueError(f"predict_baselines returns {sorted(predicted)}; allowed: {sorted(owner.baselines)}")
    return {name: align(predicted[name], predictions) for name in owner.baselines}


def align(table: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """Order a baseline's rows as the model's predictions, and take key and seen from these.

    Raises:
        ValueError: if the rows are not the same, or a loss is not a finite number of 0 or more.
    """
    rows, ids = table.assign(id=table["id"].astype(str)).set_index("id"), predictions["id"]
    if len(rows) != len(ids) or not (rows.index.is_unique and rows.index.isin(ids).all()):
        raise ValueError(f"{len(rows):,} rows that are not the {len(ids):,} of the model's predictions")
    loss = rows["loss"].to_numpy(dtype=float)
    if not (np.isfinite(loss) & (loss >= 0)).all():
        raise ValueError("a loss that is not a finite number of 0 or more")
    if ("correct" in rows) != ("correct" in predictions):
        raise ValueError("a column correct in either the model's predictions or the baseline's alone")
    own = predictions[OWN_COLUMNS]
    return rows.drop(columns=OWN_COLUMNS, errors="ignore").loc[ids].reset_index().assign(**own)


def _log(
    owner: Experiment,
    run: Run,
    tables: Mapping[str, pd.DataFrame],
    scores: Mapping[str, Mapping[str, float]],
    table: pd.DataFrame,
) -> None:
    """Write all files, then queue them and the scores."""
    paths = {name: run.folder / BASELINE_PREDICTIONS.format(baseline=name) for name in tables}
    for name, path in paths.items():
        path.parent.mkdir(exist_ok=True)
        write_safely(path, partial(tables[name].drop(columns=OWN_COLUMNS).to_parquet, index=False))
    write_safely(run.folder / BASELINE_TABLE, lambda to: table.to_csv(to, index=False))
    for path in paths.values():
        run.log_artifact(path, BASELINES_FOLDER)
    run.log_artifact(run.folder / BASELINE_TABLE)
    values = {
        BASELINE_SCORE.format(baseline=name, headline=score): own[score]
        for name, own in scores.items()
        for score in owner.headline
    }
    run.log_metrics(values, round(time.time() * 1000), step=0)
