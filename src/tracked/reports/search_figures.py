"""Draw a search as Plotly figures: history and importance; hovering tells the trial and its values.

Not Optuna's own figures, though they work with the pinned Plotly: they leave pruned trials out of the history, draw
them as any other among the curves, and tell nothing but the value when hovered over.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from tracked.analysis.trials import Direction, Trial, rank
from tracked.reports.plot_text import shorten_middle
from tracked.reports.plots import BLUE, COLORS, GREEN, GREY, ORANGE, RED
from tracked.reports.search_scale import format_metric, format_value, is_number, limit_values

STATUSES: Mapping[str, tuple[str, str, str]] = {
    "finished": ("finished", BLUE, "circle"),
    "pruned": ("pruned", ORANGE, "circle-open"),
    "not_a_number": ("not a number", COLORS[4], "diamond"),
    "failed": ("failed", RED, "x"),
    "running": ("running", GREY, "circle-open-dot"),
}  # each status's name for people, color and symbol
LONGEST = 40  # characters of a name in a figure
EDGE = 0.015  # of an axis


def layout(height: int, **given: Any) -> dict[str, Any]:
    """Give what all figures of the page share."""
    return {
        "template": "plotly_white", "height": height, "margin": {"l": 64, "r": 16, "t": 36, "b": 48},
        "hovermode": "closest", "hoverlabel": {"align": "left", "bgcolor": "white", "font": {"color": "#222"}},
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        "modebar": {"orientation": "v"},  # along the right edge: above the plot it would cover the legend
        **given,
    }  # fmt: skip


def format_label(text: str) -> str:
    """Format a name for a figure: shortened, and without HTML."""
    return escape(shorten_middle(" ".join(text.split()), LONGEST))


def describe_trial(trial: Trial, monitor: str, with_values: bool = True) -> str:
    """Tell what a trial is, as Plotly's HTML for hovering.

    Args:
        with_values: with all that is known; else only its number, for the page's size.
    """
    if not with_values:
        return f"trial {trial.number}"
    name = "" if trial.run_name in ("", f"trial {trial.number}") else f" {format_label(trial.run_name)}"
    lines = [f"<b>trial {trial.number}</b>{name} ({STATUSES[trial.status][0]})"]
    if is_number(trial.best):
        lines.append(f"{format_label(monitor)} {format_metric(trial.best)}, epoch {trial.best_epoch} of {trial.epochs}")
    lines += [f"{format_label(name)}: {format_label(format_value(value))}" for name, value in trial.values.items()]
    if trial.note:
        lines.append(escape(shorten_middle(" ".join(trial.note.split()), 90)))
    return "<br>".join(lines)


def draw_history(trials: Sequence[Trial], monitor: str, direction: Direction) -> go.Figure:
    """Draw each trial's best value over its number, and the best of the finished trials so far.

    Values out of the axis, and trials without a value, stand at the axis's end.
    """
    figure, ordered = go.Figure(), sorted(trials, key=lambda one: one.number)
    low, high = limit_values((one.best for one in ordered), direction)
    inner = (low + EDGE * (high - low), high - EDGE * (high - low))  # Plotly draws no point on the end itself
    worst = inner[direction == "min"]
    x, y, best = [], [], None
    for one in ordered:
        if one in rank([one], direction) and one.best is not None:
            better = best is None or (one.best < best if direction == "min" else one.best > best)
            best = one.best if better else best
        if best is not None:
            x.append(one.number)
            y.append(shorten_number(best))
    figure.add_scatter(
        x=x, y=y, mode="lines", name="best so far", line={"color": GREEN, "width": 2, "shape": "hv"},
        hoverinfo="skip",  # its corners would hide the points below them
    )  # fmt: skip
    for status, (name, color, symbol) in STATUSES.items():
        ones = [one for one in ordered if one.status == status]
        if ones:
            values = [min(max(one.best, inner[0]), inner[1]) if is_number(one.best) else worst for one in ones]
            figure.add_scatter(
                x=[one.number for one in ones], y=list(map(shorten_number, values)), mode="markers", name=name,
                marker={"color": color, "symbol": symbol, "size": 8}, cliponaxis=False,
                hovertext=[describe_trial(one, monitor) for one in ones], hovertemplate="%{hovertext}<extra></extra>",
            )  # fmt: skip
    has_values = any(is_number(one.best) for one in ordered)
    figure.update_layout(
        layout(400), showlegend=True, xaxis={"title": "trial", "rangemode": "nonnegative", "tickformat": "d"},
        yaxis={"title": format_label(monitor), "range": [low, high], "showticklabels": has_values},
    )  # fmt: skip
    if ordered:
        last = ordered[-1].number
        margin = 0.5 + last / 60
        figure.update_xaxes(range=[-margin, last + margin], **({"dtick": 1} if last < 8 else {}))
    return figure


def draw_importance(importance: Mapping[str, float]) -> go.Figure:
    """Draw a bar for each parameter, the most important on top."""
    items = list(importance.items())[::-1]
    shares = [round(share, 4) for _, share in items]
    figure = go.Figure()
    figure.add_bar(
        x=shares, y=[format_label(name) for name, _ in items], orientation="h", marker={"color": BLUE}, width=0.6,
        text=[f"{share:.0%}" for _, share in items], textposition="outside", cliponaxis=False,
        hovertemplate="%{y}: %{x:.1%}<extra></extra>",
    )  # fmt: skip
    figure.update_layout(
        layout(90 + 34 * len(items)), margin={"l": 10, "r": 50, "t": 10, "b": 48},
        xaxis={"title": "importance", "tickformat": ".0%", "range": [0, max([*shares, 0.1]) * 1.05]},
        yaxis={"automargin": True, "type": "category"},
    )  # fmt: skip
    return figure


def shorten_number(value: float | None) -> float | None:
    """Round to six digits, for the page's size; None for what is not a finite number, which JSON cannot hold."""
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None
