"""Log an evaluation: scores, plots, tables, predictions and the worst rows."""

import time

import pandas as pd

from tracked.console.errors import RunFailed
from tracked.console.lines import one_line
from tracked.experiment import Experiment
from tracked.reports.csv_table import write_csv
from tracked.runs.evaluations import seen_metric
from tracked.runs.registry import StoredModel
from tracked.runs.schema import (
    EVALUATION_RUN_ID,
    MISTAKES,
    PREDICTIONS,
    TEST_HEADLINE,
    TEST_ROWS,
    TEST_ROWS_DISTINCT,
    TEST_ROWS_UNSEEN,
    TEST_SCORE,
    TEST_SCORE_UNSEEN,
    TEST_SECONDS,
    fill,
)
from tracked.runs.writer import Run

SHOWN = 50  # rows of the table of the worst


def log_report(
    run: Run,
    owner: Experiment,
    stored: StoredModel,
    predictions: pd.DataFrame,
    worst: pd.DataFrame,
    seconds: float,
    with_inputs: bool,
    own_test_part: bool,
) -> str:
    """Queue the evaluation's results; returns lines for the terminal.

    Args:
        predictions: all that ``Experiment.predict`` yields; ``seen`` is missing where it is unknown.
        worst: the inputs of the worst rows; the first ``SHOWN`` are logged, all may be examples in other tables.
        seconds: the time of reading and predicting.
        with_inputs: whether inputs may be stored.
        own_test_part: whether the rows are the test part of the model's own data. Only then the scores are also logged
            at its version, in the description and as tags, since the UI shows no metrics there.

    Raises:
        RunFailed: if the rows cannot be scored; no metrics are logged.
    """
    rows, count = owner.terms.rows, len(predictions)
    try:
        scores = owner.score(predictions)
    except ValueError as error:
        raise RunFailed(f"these {rows} cannot be scored ({one_line(error)}); no metrics are logged") from error
    if missing := [name for name in owner.headline if name not in scores]:
        problem = f"experiment {owner.name!r} returns no score {missing[0]!r}, which its headline lists"
        raise RunFailed(f"{problem}; no metrics are logged")
    metrics = {TEST_SCORE.format(score=name): value for name, value in scores.items()}
    counts = {
        fill(TEST_ROWS, owner): float(count),
        fill(TEST_ROWS_DISTINCT, owner): float(predictions["key"].nunique()),
    }
    mark, short, leaked = "", "", None
    line = f"Which of these {rows} the model was trained or chosen on is not known."
    if predictions["seen"].notna().all():
        leaked = int(predictions["seen"].sum())
        counts |= {seen_metric(owner): float(leaked), fill(TEST_ROWS_UNSEEN, owner): float(count - leaked)}
        unseen = _score_or_nothing(owner, predictions[~predictions["seen"].astype(bool)])
        metrics |= {TEST_SCORE_UNSEEN.format(score=name): value for name, value in unseen.items()}
        line = f"The model has seen none of these {rows} in its training."
        if leaked:
            mark = f", of which the model has seen {leaked:,} in its training"
            short = f", {leaked:,} seen in training"  # for the titles of plots
            line = f"The model has seen {leaked:,} of these {rows} in its training; over the other {count - leaked:,}: "
            line += owner.summarize(unseen) if unseen else "no scores, since they cannot be scored by themselves"
            line += "."
    now = round(time.time() * 1000)
    # The UI shows a model's metrics without their data: only scores of its own test part may stand there.
    run.log_metrics(metrics | counts, now, step=0, model_id=(stored.model_id or None) if own_test_part else None)
    run.log_metrics({TEST_SECONDS: seconds}, now, step=0)
    run.log_artifact(run.folder / PREDICTIONS)
    for name, figure in owner.draw(predictions, short).items():
        run.log_figure(figure, name)
    shown = owner.show_worst(worst, with_inputs)
    if len(shown.columns):
        run.log_table(shown.head(SHOWN), MISTAKES)
    for name, table in owner.tabulate(predictions, shown).items():
        write_csv(table, run.folder / name)
        run.log_artifact(run.folder / name)
    lines = [f"{owner.summarize(scores)} on {count:,} {rows}{mark}", line]
    if stored.version and own_test_part:
        headline = {TEST_HEADLINE.format(headline=name): scores[name] for name in owner.headline}
        tags = {**headline, seen_metric(owner): "unknown" if leaked is None else leaked, EVALUATION_RUN_ID: run.id}
        run.set_version_tags(stored.name, stored.version, tags)
        run.set_version_line(stored.name, stored.version, "Test part:", f"{lines[0]}. {line}")
    run.set_description("\n\n".join([f"{stored.title}: {lines[0]}.", line]))
    return "\n".join([*lines, f"read and scored in {seconds:.1f} s"])


def _score_or_nothing(owner: Experiment, predictions: pd.DataFrame) -> dict[str, float]:
    """Score some rows; an empty dictionary if they cannot be scored by themselves."""
    try:
        return owner.score(predictions) if len(predictions) else {}
    except ValueError:
        return {}
