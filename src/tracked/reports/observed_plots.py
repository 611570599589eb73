"""Draw what was observed of a prediction's rows beside the training's. Nothing is shown or saved."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from tracked.analysis.observations import Counts
from tracked.reports.plot_text import format_plot_name
from tracked.reports.plots import BLUE, GREY

COLUMNS, MAX_DRAWN = 2, 12  # plots beside each other, and in all
MAX_CLASSES = 20  # of a plot: those whose shares differ most or, without a training, the most frequent


def draw_observed(observed: Mapping[str, Counts], trained: Mapping[str, Counts], first: Sequence[str] = ()) -> Figure:
    """Draw the shares of what was observed, with the training's where they are known.

    Args:
        first: names of what is drawn first, such as what differs most; of very many things the others are left out.
    """
    ordered = [*first, *(name for name in observed if name not in first)]
    names = ordered[:MAX_DRAWN]
    lines = max(1, -(-len(names) // COLUMNS))
    figure = Figure(figsize=(11, 3.6 * lines), layout="constrained")
    if len(ordered) > len(names):
        figure.suptitle(f"{len(ordered) - len(names)} more are in the table", fontsize=9)
    axes = figure.subplots(lines, COLUMNS, squeeze=False).ravel()
    for ax, name in zip(axes, names, strict=False):
        before = trained.get(name)
        _draw_shares(ax, format_plot_name(name, "observed", 60), *_align(name, before, observed[name]))
    for ax in axes[len(names) :]:
        ax.remove()
    return figure


def _align(name: str, before: Counts | None, after: Counts) -> tuple[Counts | None, Counts]:
    return (None, after) if before is None else before.align(after, name)


def _draw_shares(ax: Axes, title: str, before: Counts | None, after: Counts) -> None:
    shares = [_shares(counts) for counts in (before, after) if counts]
    places = _choose(shares, after)
    names = [f"{edge:.3g}" for edge in after.edges] + ["above"] if after.edges else after.names
    labels = [format_plot_name(names[place], f"class {place}") for place in places]
    width = 0.8 / len(shares)
    named = zip(("training", "predicted") if before else ("predicted",), (GREY, BLUE)[-len(shares) :], strict=True)
    for number, (name, color) in enumerate(named):
        at = [place + (number - (len(shares) - 1) / 2) * width for place in range(len(places))]
        rows = (before if name == "training" and before else after).rows
        ax.bar(at, [shares[number][place] for place in places], width, color=color, label=f"{name}, {rows:,} rows")
    ax.set_xticks(range(len(places)), labels, rotation=90 if len(places) > 4 else 0, fontsize=8)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.set_title(f"{title} (up to)" if after.edges else title)
    ax.grid(alpha=0.25, axis="y")
    ax.margins(y=0.25)  # room for the legend above the bars
    ax.legend(fontsize=8, frameon=False, loc="upper center", ncols=2)


def _shares(counts: Counts) -> list[float]:
    return [count / max(counts.rows, 1) for count in counts.counts]


def _choose(shares: Sequence[Sequence[float]], counts: Counts) -> list[int]:
    """Choose the places to draw, in their order: of many classes those that tell most."""
    places = range(len(counts.counts))
    if counts.edges or len(places) <= MAX_CLASSES:
        return list(places)
    tells = [abs(shares[-1][place] - shares[0][place]) if len(shares) > 1 else shares[0][place] for place in places]
    return sorted(sorted(places, key=lambda place: -tells[place])[:MAX_CLASSES])
