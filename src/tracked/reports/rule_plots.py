"""Draw matplotlib figures of replayed rules. Nothing is shown or saved."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tracked.analysis.rule_replay import History
from tracked.reports.plots import BLUE, COLORS, GREEN, GREY, ORANGE

MAX_CELLS = 160  # of a heat map with numbers in its cells
FAINT = 0.25


def draw_heat_map(table: pd.DataFrame, title: str) -> Figure:
    """Draw regret and stopping epoch over patience and min_delta; rules that no run answers are grey.

    Args:
        table: patience, min_delta, regret and epochs, one row per rule; the last two are NaN where no run answers.
    """
    columns = table["patience"].nunique()
    figure = Figure(figsize=(min(max(8.0, 0.42 * columns + 2), 18), 5.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    _draw_cells(upper, table, "regret", "regret", "{:.3g}", "Reds")
    _draw_cells(lower, table, "epochs", "stops after epoch", "{:.4g}", "Blues")
    lower.set_xlabel("patience")
    figure.suptitle(title, fontsize=12)
    return figure


def _draw_cells(ax: Axes, table: pd.DataFrame, value: str, label: str, template: str, colors: str) -> None:
    grid = table.pivot(index="min_delta", columns="patience", values=value).astype(float)
    finite = grid.where(np.isfinite(grid))
    ax.set_facecolor("#dddddd")
    # Zero is white, also where every value is zero.
    largest = np.nanmax(finite, initial=0.0) or 1.0
    cells = np.ma.masked_invalid(grid.to_numpy())
    mesh = ax.pcolormesh(cells, cmap=colors, vmin=0, vmax=largest, edgecolors="white", linewidth=0.5)
    ax.figure.colorbar(mesh, ax=ax, label=label, fraction=0.03, pad=0.01)
    every = max(1, len(grid.columns) // 30)
    ax.set_xticks(np.arange(0, len(grid.columns), every) + 0.5, [str(p) for p in grid.columns[::every]])
    ax.set_yticks(np.arange(len(grid.index)) + 0.5, [f"{d:g}" for d in grid.index])
    ax.set_ylabel("min_delta")
    ax.tick_params(length=0)
    if grid.size <= MAX_CELLS:
        for (row, column), number in np.ndenumerate(grid.to_numpy()):
            text, dark = template.format(number), 0.6 * largest < number < np.inf
            text = {"nan": "?", "inf": "∞"}.get(text, text)
            ink = "white" if dark else "black"
            ax.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=7, color=ink)


def draw_curve(history: History, table: pd.DataFrame) -> Figure:
    """Draw a history and where the rules of the smallest min_delta stop it.

    Labelled are the rules whose checkpoint differs from that of the next shorter patience, and the longest patience.

    Args:
        table: the rows of this history.
    """
    figure = Figure(figsize=(10, 5), layout="constrained")
    ax = figure.subplots()
    epochs = np.arange(1, len(history.values) + 1)
    ax.plot(epochs, history.values, color=GREY, marker="o" if len(epochs) < 60 else None, ms=3)
    best = history.best_epoch
    value = history.values[best - 1]
    ax.plot([best], [value], "*", color=GREEN, ms=14, label=f"best: {history.name_epoch(best)}, {value:.4f}")
    if history.same_rate_until:
        label = f"the run's own first cut of its learning rate: epoch {history.same_rate_until}"
        ax.axvline(history.same_rate_until, color=ORANGE, lw=1.6, ls=":", label=label)
    min_delta = table["min_delta"].min()
    rows = table[(table["min_delta"] == min_delta) & ~table["censored"]].sort_values("patience")
    for stopped in rows["stopped_epoch"].unique():
        ax.axvline(stopped, color=GREY, lw=0.8, alpha=FAINT)
    kept = rows["best_epoch"].fillna(0).astype(int)
    labelled = rows[(kept != kept.shift()) | ~rows["min_delta"].duplicated(keep="last")]
    for color, (_, rule) in zip(COLORS, labelled.iterrows(), strict=False):
        keeps = (
            "none"
            if pd.isna(rule["best_epoch"])
            else f"{history.name_epoch(rule['best_epoch'])}, {rule['best_value']:.4f}"
        )
        label = f"patience {rule['patience']} stops after {history.name_epoch(rule['stopped_epoch'])}, keeps {keeps}"
        ax.axvline(rule["stopped_epoch"], color=color, lw=1.6, ls="--", label=label)
    ax.set_xlabel(history.unit)
    ax.set_ylabel(history.monitor)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(alpha=FAINT)
    ax.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    ax.set_title(f"Where each patience stops, min_delta {min_delta:g}")
    return figure


def draw_pooled(table: pd.DataFrame, metric: str, tolerance: float, recommended: int | None) -> Figure:
    """Draw mean regret and mean stopping epoch over patience, with 95 % intervals, one line per min_delta.

    A line breaks where the set of answering runs changes, since means over different runs do not compare; each piece
    starts with its number of runs.

    Args:
        table: what ``recommendation.pool_rules`` returns.
    """
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    axes: Sequence[Axes] = figure.subplots(1, 2)
    for ax, value, label in zip(
        axes, ("regret", "epochs"), (f"mean regret of {metric}", "mean stopping epoch"), strict=True
    ):
        for color, (min_delta, group) in zip(COLORS, table[table["runs"] > 0].groupby("min_delta"), strict=False):
            label_once = f"min_delta {min_delta:g}"
            for _, piece in group.groupby((group["population"] != group["population"].shift()).cumsum()):
                x, y = piece["patience"], piece[value]
                ax.plot(x, y, color=color, marker="o", ms=3, label=label_once)
                ax.fill_between(x, piece[f"{value}_low"], piece[f"{value}_high"], color=color, alpha=FAINT / 2, lw=0)
                if np.isfinite(y.iloc[0]):
                    runs, at = piece["runs"].iloc[0], (x.iloc[0], y.iloc[0])
                    where = (0, 5 if color == COLORS[0] else -11)
                    ax.annotate(f"{runs:,}", at, where, textcoords="offset points", fontsize=8, color=color)
                label_once = "_"
        if recommended is not None:
            ax.axvline(recommended, color=GREEN, lw=1.4, ls="--", label=f"recommended: {recommended}")
        ax.set_xlabel("patience")
        ax.set_title(f"{label} (numbers: runs)")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(alpha=FAINT)
        ax.set_ylim(bottom=0)
    regrets = table[["regret", "regret_high"]].to_numpy(dtype=float)
    axes[0].set_ylim(0, 1.2 * np.max(regrets, where=np.isfinite(regrets), initial=tolerance) or 1.0)
    axes[0].axhline(tolerance, color=BLUE, lw=1, ls=":", label=f"tolerance {tolerance:g}")
    axes[0].legend(fontsize=9, frameon=False)
    return figure
