"""Draw the matplotlib figures of an evaluation with more than two classes, readable at 1,200 pixels."""

from collections import Counter

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from imdb_conv1d.outcomes import Outcomes
from tracked.reports.plot_text import LONGEST, format_plot_name
from tracked.reports.plots import BLUE, GREY

MAX_COUNTED = 20  # classes: counts stand in the cells
MAX_NAMED = 80  # classes: all of them are shown
MOST_CONFUSED = 60  # classes that are shown of more
LOWEST = 40  # classes whose F1 is shown


def name_classes(outcomes: Outcomes) -> list[str]:
    """Name the classes in plots, each in another way: by its code what cannot be drawn, with it what looks alike."""
    pairs = list(zip(outcomes.classes.names, outcomes.codes.tolist(), strict=True))
    names = [format_plot_name(name, f"class {code}") for name, code in pairs]
    often = Counter(names)
    for position, (name, code) in enumerate(pairs):
        if often[names[position]] > 1:
            end = f" ({code})"
            names[position] = format_plot_name(name, f"class {code}", LONGEST - len(end)) + end
    return names


def draw_class_confusion(outcomes: Outcomes, mark: str = "") -> Figure:
    """Draw the shares of each true class by predicted class; of many classes, the rows and columns with most mistakes.

    The shares are those of all rows of the true class, whether their predicted class is shown or not.
    """
    n, true, predicted = len(outcomes.classes), outcomes.true, outcomes.predicted
    kept, title = np.arange(n), "Confusion: share of the true class"
    if n > MAX_NAMED:
        wrong = ~outcomes.right
        mistakes = np.bincount(true[wrong], minlength=n) + np.bincount(predicted[wrong], minlength=n)
        kept = np.sort(np.argsort(-mistakes, kind="stable")[:MOST_CONFUSED])
        title = f"{title}, {MOST_CONFUSED} of {n:,} classes, those with the most mistakes"
    support = np.bincount(true, minlength=n)[kept]
    counts = _count_pairs(true, predicted, kept)
    shares = np.divide(counts, support[:, None], out=np.zeros(counts.shape), where=support[:, None] > 0)
    side = min(11.0, 4.5 + 0.36 * len(kept))
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    ax = figure.subplots()
    image = ax.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1))  # so that small shares are visible
    names = name_classes(outcomes)
    size = float(np.clip(500 / len(kept), 6.5, 10))  # points; the names are a cell apart at least
    labels = [names[position] for position in kept]
    ax.set_xticks(range(len(kept)), labels, rotation=90, fontsize=size)
    ax.set_yticks(range(len(kept)), labels, fontsize=size)
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class")
    ax.set_title(_format_title(title, len(outcomes), mark))
    if len(kept) <= MAX_COUNTED:
        _write_counts(ax, counts, shares)
    else:
        edges, end = np.arange(len(kept) + 1) - 0.5, len(kept) - 0.5
        ax.hlines(edges, -0.5, end, color="#e4e4e4", lw=0.5)  # far faster than a grid of minor ticks
        ax.vlines(edges, -0.5, end, color="#e4e4e4", lw=0.5)
    figure.colorbar(image, ax=ax, fraction=0.04, pad=0.01, ticks=[0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1])
    return figure


def _count_pairs(true: np.ndarray, predicted: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Count rows by true and predicted class, of the kept classes alone: thousands of classes have too many pairs."""
    places = [np.searchsorted(kept, classes) for classes in (true, predicted)]
    is_kept = np.isin(true, kept) & np.isin(predicted, kept)
    cells = (places[0] * len(kept) + places[1])[is_kept]
    return np.bincount(cells, minlength=len(kept) ** 2).reshape(len(kept), len(kept))


def _write_counts(ax: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    size = 8 if counts.max() < 1000 else 7
    for (row, column), count in np.ndenumerate(counts):
        if count:
            color = "white" if shares[row, column] > 0.4 else "black"
            ax.text(column, row, str(count), ha="center", va="center", color=color, fontsize=size)


def draw_class_f1(outcomes: Outcomes, table: pd.DataFrame, mark: str = "") -> Figure:
    """Draw the F1 of each class that has rows with its interval, the lowest at the top; at most ``LOWEST`` of them.

    Args:
        table: what ``class_scores.compute_class_table`` returns.
    """
    shown = table[table["support"] > 0].sort_values("f1", kind="stable")
    title = f"F1 of the {LOWEST} lowest of {len(shown):,} classes" if len(shown) > LOWEST else "F1 of each class"
    shown = shown.head(LOWEST)
    figure = Figure(figsize=(9, 1.6 + 0.23 * len(shown)), layout="constrained")
    ax = figure.subplots()
    y, f1 = np.arange(len(shown)), shown["f1"].to_numpy()
    ends = np.stack([f1 - shown["f1_low"], shown["f1_high"] - f1]).clip(0)
    ax.errorbar(f1, y, xerr=ends, fmt="o", color=BLUE, ecolor=GREY, ms=4, elinewidth=1, capsize=2)
    names = name_classes(outcomes)
    ax.set_yticks(y, [names[position] for position in shown.index])
    ax.set_ylim(len(shown) - 0.5, -0.5)
    ax.set_xlim(-0.01, 1.01)
    ax.set_xlabel("F1, with its 95 % interval")
    ax.set_title(_format_title(title, len(outcomes), mark))
    ax.grid(alpha=0.25)
    right = ax.secondary_yaxis("right")
    right.set_yticks(y, [f"{count:,}" for count in shown["support"]])
    right.tick_params(length=0, colors=GREY)
    right.set_ylabel("texts of the class", color=GREY)
    return figure


def _format_title(title: str, rows: int, mark: str) -> str:
    return f"{title}\n{rows:,} texts{mark}"
