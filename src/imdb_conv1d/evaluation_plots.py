"""Draw the matplotlib figures of an evaluation from labels and probabilities.

Each title ends with the number of rows and ``mark``, if ``mark`` is given.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from sklearn.metrics import ConfusionMatrixDisplay, PrecisionRecallDisplay, RocCurveDisplay

from imdb_conv1d import schema
from imdb_conv1d.metrics import compute_calibration
from tracked.reports.plots import BLUE, GREY


def draw_all(labels: ArrayLike, probabilities: ArrayLike, mark: str = "") -> dict[str, Figure]:
    """Draw all figures of an evaluation, by file name."""
    return {
        schema.CONFUSION: draw_confusion(labels, probabilities, mark),
        schema.ROC: draw_roc(labels, probabilities, mark),
        schema.PRECISION_RECALL: draw_precision_recall(labels, probabilities, mark),
        schema.CALIBRATION: draw_calibration(compute_calibration(labels, probabilities), mark),
    }


def draw_confusion(labels: ArrayLike, probabilities: ArrayLike, mark: str = "") -> Figure:
    """Draw the counts of true and predicted labels at a threshold of one half."""
    figure, ax = _make_axes()
    predicted = (np.asarray(probabilities) > 0.5).astype(int)
    ConfusionMatrixDisplay.from_predictions(
        labels, predicted, labels=[0, 1], display_labels=["negative", "positive"], cmap="Blues", ax=ax, colorbar=False
    )
    ax.set_title(_format_title("Confusion at threshold 0.5", np.size(labels), mark))
    return figure


def draw_roc(labels: ArrayLike, probabilities: ArrayLike, mark: str = "") -> Figure:
    """Draw the receiver operating characteristic."""
    return _draw_curve(RocCurveDisplay, _format_title("ROC", np.size(labels), mark), labels, probabilities)


def draw_precision_recall(labels: ArrayLike, probabilities: ArrayLike, mark: str = "") -> Figure:
    """Draw precision over recall."""
    return _draw_curve(
        PrecisionRecallDisplay, _format_title("Precision and recall", np.size(labels), mark), labels, probabilities
    )


def _draw_curve(
    display: type[RocCurveDisplay | PrecisionRecallDisplay], title: str, labels: ArrayLike, probabilities: ArrayLike
) -> Figure:
    figure, ax = _make_axes()
    display.from_predictions(
        labels, probabilities, name="model", ax=ax, plot_chance_level=True, curve_kwargs={"color": BLUE}
    )
    ax.set_title(title)
    ax.grid(alpha=0.25)
    return figure


def draw_calibration(bins: pd.DataFrame, mark: str = "") -> Figure:
    """Draw the share of positive reviews over their predicted probability.

    Args:
        bins: what ``metrics.compute_calibration`` returns.
    """
    figure = Figure(figsize=(5, 5), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    filled = bins[bins["reviews"] > 0]
    upper.plot([0, 1], [0, 1], color=GREY, ls="--", lw=1, label="perfect")
    upper.plot(filled["probability"], filled["positive"], "o-", color=BLUE, label="model")
    upper.set_ylabel("share of positive reviews")
    upper.set_title(_format_title("Calibration", int(bins["reviews"].sum()), mark))
    upper.legend()
    upper.grid(alpha=0.25)
    lower.bar(bins["low"], bins["reviews"], width=bins["high"] - bins["low"], align="edge", color=BLUE, ec="white")
    lower.set_ylabel("reviews")
    lower.set_xlabel("probability of positive")
    return figure


def _format_title(title: str, rows: int, mark: str) -> str:
    return f"{title}\n{rows:,} reviews{mark}" if mark else title


def _make_axes() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5, 5), layout="constrained")
    return figure, figure.subplots()
