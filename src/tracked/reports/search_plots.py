"""Draw the matplotlib figure of a search. Nothing is shown or saved."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tracked.analysis.trials import Direction, Trial, rank
from tracked.reports.plot_text import format_plot_name
from tracked.reports.plots import BLUE, COLORS, GREEN, GREY, ORANGE, RED
from tracked.reports.search_scale import format_metric, is_number, limit_values

MARKS = {
    "finished": (BLUE, "o"), "pruned": (ORANGE, "v"), "not_a_number": (COLORS[4], "D"), "failed": (RED, "x"),
    "running": (GREY, "."),
}  # fmt: skip
BEST = 3  # curves that are drawn bold


def draw_search(trials: Sequence[Trial], monitor: str, direction: Direction) -> Figure:
    """Draw each trial's best value over its number, beside the learning curves; what did not finish is dashed.

    Values far from the best, and trials without a value, stand at the end of the first axis.
    """
    figure = Figure(figsize=(12, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    name = format_plot_name(monitor, "monitored metric")
    _draw_history(left, sorted(trials, key=lambda one: one.number), direction)
    _draw_curves(right, trials, direction)
    for ax, label in ((left, "trial"), (right, "epoch")):
        ax.set_xlabel(label)
        ax.set_ylabel(name)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(alpha=0.25)
        if ax.get_legend_handles_labels()[1]:
            ax.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3, frameon=False)
    return figure


def _draw_history(ax: Axes, trials: Sequence[Trial], direction: Direction) -> None:
    low, high = limit_values((one.best for one in trials), direction)
    ended = [(one.number, one.best or 0.0) for one in trials if one in rank([one], direction)]
    if ended:
        running = (np.minimum if direction == "min" else np.maximum).accumulate([value for _, value in ended])
        numbers = [number for number, _ in ended] + [trials[-1].number]
        ax.step(numbers, [*running, running[-1]], where="post", color=GREEN, label="best so far")
    for status, (color, marker) in MARKS.items():
        ones = [one for one in trials if one.status == status]
        worst = high if direction == "min" else low
        values = [float(np.clip(one.best, low, high)) if is_number(one.best) else worst for one in ones]
        if ones:
            label = status.replace("_", " ")
            ax.plot([one.number for one in ones], values, marker, color=color, ms=5, label=label, clip_on=False)
    ax.set_ylim(low, high)
    ax.set_title("History")


def _draw_curves(ax: Axes, trials: Sequence[Trial], direction: Direction) -> None:
    best = rank(trials, direction)[:BEST]
    for one in trials:
        if one not in best:
            is_finished = one.status == "finished"
            color, style = (GREY, "-") if is_finished else (MARKS[one.status][0], "--")
            ax.plot(range(1, one.epochs + 1), one.history, style, color=color, lw=0.9, alpha=0.45)
    for place, (one, color) in enumerate(zip(best, (GREEN, "#0e7c86", "#5b6b1d"), strict=False)):
        label = f"trial {one.number}: {format_metric(one.best)}"
        ax.plot(range(1, one.epochs + 1), one.history, color=color, marker="o", ms=3, lw=2.4 - 0.5 * place, label=label)
    ax.set_ylim(*limit_values((value for one in trials for value in one.history), direction, room=8))
    ax.set_title("Learning curves")
