"""Scores of each class, their mean, and the classes that are taken for one another.

Copies of a text count as one where an interval is computed.
"""

import math

import numpy as np
import pandas as pd

from imdb_conv1d import schema
from imdb_conv1d.outcomes import Outcomes
from imdb_conv1d.row_intervals import compute_exact
from tracked.analysis.intervals import compute_interval

# Chosen by simulation (bench/class_intervals.py): where each class has as many distinct texts, at least 93 of 100
# intervals hold the macro F1; with one or two texts a class, as few as 66 do.
MIN_SUPPORT = 5
MAX_PAIRS = 200
MAX_EXAMPLES = 3  # of a pair
LONGEST_EXAMPLE = 300  # characters
SHARES = {"precision": "predicted", "recall": "support", "f1": "either"}  # each with the rows that it is a share of


def compute_macro_f1(outcomes: Outcomes) -> tuple[float, float, float]:
    """Compute the mean F1 of the classes that have rows, and its 95 % interval; NaN where the rows allow no interval.

    F1 of class c is D/S: D is twice its hits, S the rows of the class and those predicted to be. A text with d and s
    moves it by (d - F1 s)/S, to first order; these influences, as values, have an interval (Student's and Hall's). To
    second order the expected F1 of one class is below the true one by F1 (1 - F1)/S, without copies: with many small
    classes this is as large as the interval, which is widened by it.
    """
    counts, support = outcomes.by_text, _sum_by_class(outcomes, "support")
    size = support + _sum_by_class(outcomes, "predicted")
    with np.errstate(invalid="ignore"):
        f1 = 2 * _sum_by_class(outcomes, "hits") / size
    kept = support > 0
    macro = float(f1[kept].mean())
    classes = counts["class"].to_numpy()
    distinct = np.bincount(classes[counts["support"] > 0], minlength=len(kept))
    # A class without a hit has F1 0 and no influences, as if it were known exactly.
    if distinct[kept].min() < MIN_SUPPORT or not f1[kept].all():
        return macro, math.nan, math.nan
    rows = (counts["support"] + counts["predicted"]).to_numpy()
    rests = (2 * counts["hits"].to_numpy() - f1[classes] * rows) / size[classes] / kept.sum()
    rests[~kept[classes]] = 0
    values = np.bincount(counts["text"], rests)
    low, high = compute_interval(macro + values * len(values))
    if math.isnan(low):
        return macro, low, high
    shift = float((rests * rows / size[classes]).sum())  # how far the expectation is below the true value
    return macro, max(0.0, low + min(shift, 0.0)), min(1.0, high + max(shift, 0.0))


def compute_class_table(outcomes: Outcomes) -> pd.DataFrame:
    """Compute precision, recall and F1 of each class with 95 % intervals, in the order of the model's codes.

    Intervals are Clopper's and Pearson's, for the effective number of rows. F1 has one too: of the rows that are of the
    class or predicted to be, the share J of hits is binomial, and F1 = 2 J / (1 + J). What has no rows is NaN.
    """
    hits, support, predicted = (_sum_by_class(outcomes, name) for name in ("hits", "support", "predicted"))
    table = pd.DataFrame(
        {
            "class": outcomes.classes.names,
            "code": outcomes.codes,
            "support": support.astype(int),
            "predicted": predicted.astype(int),
        }
    )
    for name, column in SHARES.items():
        rows, squares = (_sum_by_class(outcomes, column, power) for power in (1, 2))
        if name == "f1":
            rows[support == 0] = 0  # as in the mean
        with np.errstate(invalid="ignore", divide="ignore"):
            share = hits / rows
            n = np.where(rows > 0, rows**2 / squares, 0)
        values = np.array([share, *compute_exact(share, n)])
        values[:, rows == 0] = np.nan
        values = 2 * values / (1 + values) if name == "f1" else values
        table[name], table[f"{name}_low"], table[f"{name}_high"] = values
    return table


def _sum_by_class(outcomes: Outcomes, column: str, power: int = 1) -> np.ndarray:
    """Sum a column of ``Outcomes.by_text``, or its squares, by class: float [classes]."""
    counts = outcomes.by_text
    values = counts[column].to_numpy(dtype=float) ** power
    return np.bincount(counts["class"], values, len(outcomes.classes))


def find_confused(outcomes: Outcomes, inputs: pd.DataFrame) -> pd.DataFrame:
    """Find the pairs of a true and a predicted class that are confused most, with their worst rows as examples.

    Args:
        inputs: the inputs of some rows, indexed by the rows' positions; texts are shown where it has them.

    Returns:
        at most ``MAX_PAIRS`` pairs, the most frequent first: true, predicted, count, share of the rows of the true
        class, id_1 to id_3, and text_1 to text_3 where there are texts.
    """
    wrong = np.flatnonzero(~outcomes.right)
    rows = pd.DataFrame({"true": outcomes.true[wrong], "predicted": outcomes.predicted[wrong], "row": wrong})
    rows["loss"] = outcomes.loss[wrong]
    rows = rows.sort_values("loss", ascending=False, kind="stable")
    pairs = rows.groupby(["true", "predicted"], sort=True)["row"]
    top = pairs.size().sort_values(ascending=False, kind="stable").head(MAX_PAIRS)
    names, support = outcomes.classes.names, np.bincount(outcomes.true, minlength=len(outcomes.classes))
    true, predicted = (top.index.get_level_values(level).to_numpy(dtype=int) for level in ("true", "predicted"))
    table = pd.DataFrame(
        {
            "true": [names[position] for position in true],
            "predicted": [names[position] for position in predicted],
            "count": top.to_numpy(dtype=int),
            "share": top.to_numpy(dtype=float) / support[true],
        }
    )
    worst = [pairs.get_group(pair).head(MAX_EXAMPLES).tolist() for pair in top.index]
    for number in range(MAX_EXAMPLES):
        ids = [str(outcomes.ids[group[number]]) if number < len(group) else None for group in worst]
        table[f"id_{number + 1}"] = pd.Series(ids, dtype=object)
    texts = dict(inputs["text"].items()) if "text" in inputs else {}
    for number in range(MAX_EXAMPLES if texts else 0):
        shown = [_shorten(texts.get(group[number])) if number < len(group) else None for group in worst]
        table[f"text_{number + 1}"] = pd.Series(shown, dtype=object)
    return table


def _shorten(text: str | None) -> str | None:
    """Shorten a text to one line of ``LONGEST_EXAMPLE`` characters; None stays None."""
    if text is None:
        return None
    line = " ".join(text[: 10 * LONGEST_EXAMPLE].split())
    return line if len(line) <= LONGEST_EXAMPLE else f"{line[: LONGEST_EXAMPLE - 1]}…"


def tabulate(outcomes: Outcomes, inputs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Make the tables of an evaluation, by file name."""
    return {schema.CLASSES: compute_class_table(outcomes), schema.CONFUSED: find_confused(outcomes, inputs)}
