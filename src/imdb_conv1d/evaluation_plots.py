"""Draw the matplotlib figures of an evaluation: four of two classes, three of more.

Each title ends with the number of rows and ``mark``, if ``mark`` is given.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from sklearn.metrics import ConfusionMatrixDisplay, PrecisionRecallDisplay, RocCurveDisplay

from imdb_conv1d import class_plots, schema
from imdb_conv1d.class_scores import compute_class_table
from imdb_conv1d.metrics import compute_calibration
from imdb_conv1d.outcomes import Outcomes
from tracked.reports.plots import BLUE, GREY

NAMES = ("negative", "positive")  # of labels 0 and 1


def draw_all(outcomes: Outcomes, mark: str = "") -> dict[str, Figure]:
    """Draw all figures of an evaluation, by file name."""
    labels, probabilities = outcomes.true, outcomes.probability
    if not outcomes.is_binary:
        bins = compute_calibration(outcomes.right, probabilities)
        return {
            schema.CONFUSION: class_plots.draw_class_confusion(outcomes, mark),
            schema.CLASS_PLOT: class_plots.draw_class_f1(outcomes, compute_class_table(outcomes), mark),
            schema.CALIBRATION: _draw_bins(bins, mark, "share that is right", "texts", "the predicted class"),
        }
    negative, positive = NAMES if outcomes.classes.is_zero_one else class_plots.name_classes(outcomes)
    names = negative, positive
    return {
        schema.CONFUSION: draw_confusion(labels, probabilities, mark, names),
        schema.ROC: draw_roc(labels, probabilities, mark, names),
        schema.PRECISION_RECALL: draw_precision_recall(labels, probabilities, mark, names),
        schema.CALIBRATION: draw_calibration(compute_calibration(labels, probabilities), mark, names),
    }


def draw_confusion(
    labels: ArrayLike, probabilities: ArrayLike, mark: str = "", names: tuple[str, str] = NAMES
) -> Figure:
    """Draw the counts of true and predicted labels at a threshold of one half.

    Args:
        names: of label 0 and of label 1, as matplotlib shows them.
    """
    figure, ax = _make_axes()
    predicted = (np.asarray(probabilities) > 0.5).astype(int)
    ConfusionMatrixDisplay.from_predictions(
        labels, predicted, labels=[0, 1], display_labels=list(names), cmap="Blues", ax=ax, colorbar=False
    )
    if max(map(len, names)) > len(NAMES[0]) + 2:
        ax.tick_params(axis="y", rotation=90)
        for label in ax.get_yticklabels():
            label.set_verticalalignment("center")
    ax.set_title(_format_title("Confusion at threshold 0.5", np.size(labels), mark, _name_rows(names)))
    return figure


def draw_roc(labels: ArrayLike, probabilities: ArrayLike, mark: str = "", names: tuple[str, str] = NAMES) -> Figure:
    """Draw the receiver operating characteristic."""
    title = _format_title("ROC", np.size(labels), mark, _name_rows(names))
    return _draw_curve(RocCurveDisplay, title, labels, probabilities, names)


def draw_precision_recall(
    labels: ArrayLike, probabilities: ArrayLike, mark: str = "", names: tuple[str, str] = NAMES
) -> Figure:
    """Draw precision over recall."""
    title = _format_title("Precision and recall", np.size(labels), mark, _name_rows(names))
    return _draw_curve(PrecisionRecallDisplay, title, labels, probabilities, names)


def _draw_curve(
    display: type[RocCurveDisplay | PrecisionRecallDisplay],
    title: str,
    labels: ArrayLike,
    probabilities: ArrayLike,
    names: tuple[str, str],
) -> Figure:
    figure, ax = _make_axes()
    display.from_predictions(
        labels, probabilities, name="model", ax=ax, plot_chance_level=True, curve_kwargs={"color": BLUE}
    )
    if names != NAMES:  # scikit-learn writes "(Positive label: 1)"
        for axis in (ax.xaxis, ax.yaxis):
            begin = axis.get_label_text().partition(" (Positive label:")[0]
            axis.set_label_text(f"{begin}\n(positive: {names[1]})")
    ax.set_title(title)
    ax.grid(alpha=0.25)
    return figure


def draw_calibration(bins: pd.DataFrame, mark: str = "", names: tuple[str, str] = NAMES) -> Figure:
    """Draw the share of positive reviews over their predicted probability.

    Args:
        bins: what ``metrics.compute_calibration`` returns.
    """
    share = "share of positive reviews" if names == NAMES else f"share of {names[1]}"
    return _draw_bins(bins, mark, share, _name_rows(names), names[1])


def _draw_bins(bins: pd.DataFrame, mark: str, share: str, rows: str, of: str) -> Figure:
    figure = Figure(figsize=(5, 5), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    filled = bins[bins["reviews"] > 0]
    upper.plot([0, 1], [0, 1], color=GREY, ls="--", lw=1, label="perfect")
    upper.plot(filled["probability"], filled["positive"], "o-", color=BLUE, label="model")
    upper.set_ylabel(share)
    upper.set_title(_format_title("Calibration", int(bins["reviews"].sum()), mark, rows))
    upper.legend()
    upper.grid(alpha=0.25)
    lower.bar(bins["low"], bins["reviews"], width=bins["high"] - bins["low"], align="edge", color=BLUE, ec="white")
    lower.set_ylabel(rows)
    lower.set_xlabel(f"probability of {of}")
    return figure


def _name_rows(names: tuple[str, str]) -> str:
    return "reviews" if names == NAMES else "texts"


def _format_title(title: str, count: int, mark: str, rows: str) -> str:
    return f"{title}\n{count:,} {rows}{mark}" if mark else title


def _make_axes() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5, 5), layout="constrained")
    return figure, figure.subplots()
