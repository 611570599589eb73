"""What an evaluation leaves at its run: scores, pictures, predictions, the worst rows."""

import time

import pandas as pd

from tracked.console.errors import RunFailed
from tracked.console.lines import one_line
from tracked.experiment import Experiment
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
    """Queue everything; returns a few lines for the terminal.

    Args:
        predictions: what ``Experiment.predict`` yields, all of it; missing in ``seen`` is what is not known.
        worst: the inputs of the worst rows.
        seconds: what reading and predicting took.
        with_inputs: whether they may be stored.
        own_test_part: whether the rows are the test part of the model's own data: those figures stand at its version,
            in its description and as tags, since the UI shows no metrics there.
    """
    rows, count = owner.terms.rows, len(predictions)
    try:
        scores = owner.score(predictions)
    except ValueError as error:
        raise RunFailed(f"these {rows} cannot be scored ({one_line(error)}); no figure is logged") from error
    if lacking := [name for name in owner.headline if name not in scores]:
        told = f"experiment {owner.name!r} gives no score {lacking[0]!r}, which its headline names"
        raise RunFailed(f"{told}; no figure is logged")
    found = {TEST_SCORE.format(score=name): value for name, value in scores.items()}
    counts = {
        fill(TEST_ROWS, owner): float(count),
        fill(TEST_ROWS_DISTINCT, owner): float(predictions["key"].nunique()),
    }
    mark, short, leaked = "", "", None
    line = f"Which of these {rows} the model was trained or chosen on is not known."
    if predictions["seen"].notna().all():
        leaked = int(predictions["seen"].sum())
        counts |= {seen_metric(owner): float(leaked), fill(TEST_ROWS_UNSEEN, owner): float(count - leaked)}
        others = _scores_of(owner, predictions[~predictions["seen"].astype(bool)])
        found |= {TEST_SCORE_UNSEEN.format(score=name): value for name, value in others.items()}
        line = f"The model has seen none of these {rows} in its training."
        if leaked:
            mark = f", of which the model has seen {leaked:,} in its training"
            short = f", {leaked:,} seen in training"  # a title has no room for more
            line = f"The model has seen {leaked:,} of these {rows} in its training; over the other {count - leaked:,}: "
            line += owner.summarize(others) if others else "no figures, since they cannot be scored by themselves"
            line += "."
    now = round(time.time() * 1000)
    # A model shows no data beside its figures: its own test part is the one that they may be taken for.
    run.log_metrics(found | counts, now, step=0, model_id=(stored.model_id or None) if own_test_part else None)
    run.log_metrics({TEST_SECONDS: seconds}, now, step=0)
    run.log_artifact(run.folder / PREDICTIONS)
    for name, figure in owner.draw(predictions, short).items():
        run.log_figure(figure, name)
    shown = owner.show_worst(worst, with_inputs)
    if len(shown.columns):
        run.log_table(shown, MISTAKES)
    lines = [f"{owner.summarize(scores)} on {count:,} {rows}{mark}", line]
    if stored.version and own_test_part:
        figures = {TEST_HEADLINE.format(headline=name): scores[name] for name in owner.headline}
        tags = {**figures, seen_metric(owner): "unknown" if leaked is None else leaked, EVALUATION_RUN_ID: run.id}
        run.set_version_tags(stored.name, stored.version, tags)
        run.set_version_line(stored.name, stored.version, "Test part:", f"{lines[0]}. {line}")
    run.set_description("\n\n".join([f"{stored.title}: {lines[0]}.", line]))
    return "\n".join([*lines, f"read and scored in {seconds:.1f} s"])


def _scores_of(owner: Experiment, predictions: pd.DataFrame) -> dict[str, float]:
    """The scores of some rows; none if they cannot be scored by themselves."""
    try:
        return owner.score(predictions) if len(predictions) else {}
    except ValueError:
        return {}
