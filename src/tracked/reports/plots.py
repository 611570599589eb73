"""Draw matplotlib figures of a training. Nothing is shown or saved."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tracked.training.journal import LEARNING_RATE as RATE

BLUE, ORANGE, GREEN, RED, GREY = "#2563a8", "#d97706", "#2e7d32", "#b3261e", "#777777"
COLORS = (BLUE, ORANGE, GREEN, RED, "#6a3d9a", "#0e7c86", "#a05a2c", "#c2508f", "#5b6b1d", "#3a3a8c")


def draw_training(
    history: pd.DataFrame, metrics: Sequence[str], monitor: str, best_epoch: int, stopped_epoch: int, reason: str
) -> Figure:
    """Draw each metric over the epochs, for training and validation; the best and the last epoch are marked.

    The learning rate has a plot of its own if it changes.

    Args:
        history: one row per epoch, with epoch and, for each metric, NAME and val_NAME; also learning_rate, if known.
        best_epoch: the checkpoint's epoch; 0 if there is no checkpoint.
    """
    changes = RATE in history and history[RATE].nunique() > 1
    columns = len(metrics) + changes
    figure = Figure(figsize=(5.5 * columns, 4.8), layout="constrained")
    axes: Sequence[Axes] = figure.subplots(1, columns, squeeze=False)[0]
    for ax, metric in zip(axes, metrics, strict=False):
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
    if changes:
        _draw_rate(axes[-1], history, best_epoch)
    figure.suptitle(f"Early stopping on {monitor}", fontsize=12)
    return figure


def _draw_rate(ax: Axes, history: pd.DataFrame, best_epoch: int) -> None:
    """Draw the learning rate that each epoch ended with."""
    dots = "o" if len(history) < 40 else None
    ax.plot(history["epoch"], history[RATE], color=ORANGE, marker=dots, ms=3, label="last step of the epoch")
    if best_epoch:
        ax.axvline(best_epoch, color=GREEN, lw=1, ls="--", label=f"best epoch {best_epoch}")
    ax.set_yscale("log")
    ax.set_xlabel("epoch")
    ax.set_title(RATE)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(alpha=0.25)
    ax.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, frameon=False)
