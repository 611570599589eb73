"""Pictures: tables and arrays to matplotlib figures. Nothing is shown or saved here."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike
from sklearn.metrics import ConfusionMatrixDisplay, PrecisionRecallDisplay, RocCurveDisplay

BLUE, ORANGE, GREEN, RED, GREY = "#2563a8", "#d97706", "#2e7d32", "#b3261e", "#777777"
COLORS = (BLUE, ORANGE, GREEN, RED, "#6a3d9a", "#0e7c86", "#a05a2c", "#c2508f", "#5b6b1d", "#3a3a8c")


def training(history: pd.DataFrame, monitor: str, best_epoch: int, stopped_epoch: int, reason: str) -> Figure:
    """Loss and accuracy over the epochs, with the best and the last epoch marked.

    Args:
        history: one row an epoch with the columns epoch, loss, accuracy, val_loss and val_accuracy.
        best_epoch: the checkpoint's epoch, 0 if there is none.
    """
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    axes: Sequence[Axes] = figure.subplots(1, 2)
    for ax, metric in zip(axes, ("loss", "accuracy"), strict=True):
        dots = "o" if len(history) < 40 else None
        ax.plot(history["epoch"], history[metric], color=GREY, marker=dots, ms=3, label="training")
        ax.plot(history["epoch"], history[f"val_{metric}"], color=BLUE, marker=dots, ms=3, label="validation")
        best = history.loc[history["epoch"] == best_epoch, f"val_{metric}"]
        if len(best):
            value = best.iloc[0]
            ax.axvline(best_epoch, color=GREEN, lw=1, ls="--")
            ax.plot([best_epoch], [value], "o", color=GREEN, ms=8, label=f"best epoch {best_epoch}: {value:.4f}")
        ax.axvline(stopped_epoch, color=RED, lw=1, ls="--", label=f"last epoch {stopped_epoch} ({reason})")
        ax.set_xlabel("epoch")
        ax.set_title(metric)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(alpha=0.25)
        ax.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, frameon=False)
    figure.suptitle(f"Early stopping on {monitor}", fontsize=12)
    return figure


def confusion(labels: ArrayLike, probabilities: ArrayLike, mark: str = "") -> Figure:
    """Counts of true and predicted labels at a threshold of one half; ``mark`` is said of the rows."""
    figure, ax = _single()
    predicted = (np.asarray(probabilities) > 0.5).astype(int)
    ConfusionMatrixDisplay.from_predictions(
        labels, predicted, labels=[0, 1], display_labels=["negative", "positive"], cmap="Blues", ax=ax, colorbar=False
    )
    ax.set_title(_title("Confusion at threshold 0.5", np.size(labels), mark))
    return figure


def roc(labels: ArrayLike, probabilities: ArrayLike, mark: str = "") -> Figure:
    """The receiver operating characteristic; ``mark`` is said of the rows."""
    return _curve(RocCurveDisplay, _title("ROC", np.size(labels), mark), labels, probabilities)


def precision_recall(labels: ArrayLike, probabilities: ArrayLike, mark: str = "") -> Figure:
    """Precision over recall; ``mark`` is said of the rows."""
    return _curve(PrecisionRecallDisplay, _title("Precision and recall", np.size(labels), mark), labels, probabilities)


def _curve(
    display: type[RocCurveDisplay | PrecisionRecallDisplay], title: str, labels: ArrayLike, probabilities: ArrayLike
) -> Figure:
    figure, ax = _single()
    display.from_predictions(
        labels, probabilities, name="model", ax=ax, plot_chance_level=True, curve_kwargs={"color": BLUE}
    )
    ax.set_title(title)
    ax.grid(alpha=0.25)
    return figure


def calibration(bins: pd.DataFrame, mark: str = "") -> Figure:
    """Share of positive reviews over the probability given to them.

    Args:
        bins: what ``scores.calibration_bins`` returns.
        mark: is said of the rows.
    """
    figure = Figure(figsize=(5, 5), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    filled = bins[bins["reviews"] > 0]
    upper.plot([0, 1], [0, 1], color=GREY, ls="--", lw=1, label="perfect")
    upper.plot(filled["probability"], filled["positive"], "o-", color=BLUE, label="model")
    upper.set_ylabel("share of positive reviews")
    upper.set_title(_title("Calibration", int(bins["reviews"].sum()), mark))
    upper.legend()
    upper.grid(alpha=0.25)
    lower.bar(bins["low"], bins["reviews"], width=bins["high"] - bins["low"], align="edge", color=BLUE, ec="white")
    lower.set_ylabel("reviews")
    lower.set_xlabel("probability of positive")
    return figure


def _title(what: str, rows: int, mark: str) -> str:
    return f"{what}\n{rows:,} reviews{mark}" if mark else what


def _single() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5, 5), layout="constrained")
    return figure, figure.subplots()
