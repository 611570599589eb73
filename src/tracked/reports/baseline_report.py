"""Report what a model's predictions and those of its baselines say: a sentence and a table."""

from collections.abc import Mapping

import pandas as pd

from tracked.analysis import baseline_verdict, paired
from tracked.analysis.baseline_verdict import Outcome
from tracked.experiment import Experiment


def describe_verdict(owner: Experiment, predictions: pd.DataFrame, tables: Mapping[str, pd.DataFrame]) -> str:
    """Say in one sentence whether the network is better than its baselines on distinct rows that it has not seen."""
    unseen = select_unseen(predictions)
    if len(unseen) < baseline_verdict.MIN_ROWS:
        known = predictions["seen"].notna().all()
        why = f"it has seen these {owner.terms.rows} in its training"
        if not known:
            why = f"which of these {owner.terms.rows} it was trained or chosen on is not known"
        return f"{baseline_verdict.QUESTION} Not known: {why}."
    keys = predictions.loc[unseen, "key"]
    outcomes = {name: _make_outcome(table.loc[unseen]) for name, table in tables.items()}
    verdict = baseline_verdict.decide(_make_outcome(predictions.loc[unseen]), outcomes, keys)
    return verdict.describe(owner.terms, owner.baselines[verdict.against])


def select_unseen(predictions: pd.DataFrame) -> pd.Index:
    """Select the rows that the model is known not to have seen in its training."""
    return predictions.index[~predictions["seen"].fillna(True).astype(bool)]


def _make_outcome(table: pd.DataFrame) -> Outcome:
    return Outcome(table["loss"], table.get("correct"))


def compare(
    owner: Experiment,
    predictions: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
    scores: Mapping[str, Mapping[str, float]],
) -> pd.DataFrame:
    """Make the baselines' table: scores on all rows, those of the headline first, and the model less each on distinct
    unseen ones.
    """
    unseen, lines = select_unseen(predictions), []
    for name, table in tables.items():
        line: dict[str, object] = {"baseline": name} | {score: scores[name][score] for score in owner.headline}
        line |= scores[name]  # those that are no headline may tell more, such as of classes of uneven size
        if len(unseen) >= baseline_verdict.MIN_ROWS:
            first, second = predictions.loc[unseen], table.loc[unseen]
            correct = (first["correct"], second["correct"]) if "correct" in first else None
            pair = paired.compare_losses(first["loss"], second["loss"], first["key"], correct)
            line |= {f"difference_{column}": value for column, value in pair.to_columns(owner.terms).items()}
        lines.append(line)
    return pd.DataFrame(lines)
