"""Draw a search's learning curves and parallel coordinates as Plotly figures.

Curves of one kind, and lines of one color, share a trace with gaps: a browser draws a thousand trials in a second.
"""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from tracked.analysis.trials import Direction, Trial, rank
from tracked.reports.plots import GREEN
from tracked.reports.search_figures import STATUSES, describe_trial, format_label, layout, shorten_number
from tracked.reports.search_scale import Axis, format_metric, is_number, limit_values, make_scale

BEST = ((GREEN, 3.0), ("#0e7c86", 2.4), ("#5b6b1d", 2.0))  # color and width of the best three curves
MANY_POINTS = 2_500  # of a figure; hovering over more points does not tell the parameters, for the page's size
MAX_POINTS = 20_000  # of curves
COLORS = [[0.0, "#08306b"], [0.3, "#2171b5"], [0.6, "#9ecae1"], [1.0, "#dadfe6"]]  # from the best to the worst
SHADES = 16
CURVES_ROOM = 8  # the first epochs are far from the best
FINISHED = "#9fb6cf"  # of a finished curve that is not among the best


def choose_curves(trials: Sequence[Trial], direction: Direction) -> list[Trial]:
    """Choose the trials whose curves have room in ``MAX_POINTS``: the best ones, then the newest, by number."""
    chosen, points = [], 0
    ordered = rank(trials, direction)[:50]
    numbers = {one.number for one in ordered}
    ordered += sorted((one for one in trials if one.number not in numbers), key=lambda one: -one.number)
    for one in ordered:
        points += one.epochs
        if points > MAX_POINTS:
            break
        if one.epochs:
            chosen.append(one)
    return sorted(chosen, key=lambda one: one.number)


def draw_curves(trials: Sequence[Trial], monitor: str, direction: Direction) -> go.Figure:
    """Draw the monitored metric of each trial over its epochs; what did not finish is dashed, to its last epoch."""
    figure, best = go.Figure(), rank(trials, direction)[: len(BEST)]
    few, leading = sum(one.epochs for one in trials) <= MANY_POINTS, {one.number for one in best}
    for status, (name, color, symbol) in STATUSES.items():
        ones = [one for one in trials if one.status == status and one.number not in leading]
        if any(one.epochs for one in ones):
            is_finished = status == "finished"
            line = {"color": FINISHED if is_finished else color, "width": 1.2 if is_finished else 1}
            line |= {} if is_finished else {"dash": "dash"}
            _add_curves(figure, ones, monitor, few, name=name, line=line, legendgroup=status)
            if not is_finished:
                _add_ends(figure, ones, monitor, few, name, {"color": color, "symbol": symbol, "size": 6})
    for place, (one, (color, width)) in enumerate(zip(best, BEST, strict=False), start=1):
        name = f"{'best' if place == 1 else f'{place}.'}: trial {one.number}, {format_metric(one.best)}"
        line = {"color": color, "width": width}
        mode = "lines+markers" if one.epochs < 100 else "lines"
        _add_curves(figure, [one], monitor, True, name=name, line=line, mode=mode, marker={"size": 2 * width})
    low, high = limit_values((value for one in trials for value in one.history), direction, CURVES_ROOM)
    longest = max([one.epochs for one in trials], default=1)
    figure.update_layout(
        layout(460), showlegend=True, yaxis={"title": format_label(monitor), "range": [low, high]},
        xaxis={"title": "epoch", "tickformat": "d", "range": [1 - 0.03 * longest, longest * 1.03]}
        | ({"dtick": 1} if longest < 12 else {}),
    )  # fmt: skip
    return figure


def _add_curves(
    figure: go.Figure, trials: Sequence[Trial], monitor: str, with_values: bool, mode: str = "lines", **given: Any
) -> None:
    x: list[int | None] = []
    y: list[float | None] = []
    told: list[str | None] = []
    for one in trials:
        x += [*range(1, one.epochs + 1), None]
        y += [*map(shorten_number, one.history), None]
        told += [describe_trial(one, monitor, with_values)] * one.epochs + [None]
    figure.add_scatter(
        x=x[:-1], y=y[:-1], mode=mode, hovertext=told[:-1],
        hovertemplate="epoch %{x}: %{y:.5g}<br>%{hovertext}<extra></extra>", **given,
    )  # fmt: skip


def _add_ends(
    figure: go.Figure, trials: Sequence[Trial], monitor: str, with_values: bool, name: str, marker: dict[str, Any]
) -> None:
    """Mark the last epoch with a number of each trial."""
    ends = [
        (max(epoch for epoch, value in enumerate(one.history, start=1) if is_number(value)), one)
        for one in trials
        if any(map(is_number, one.history))
    ]
    figure.add_scatter(
        x=[epoch for epoch, _ in ends], y=[shorten_number(one.history[epoch - 1]) for epoch, one in ends],
        mode="markers", marker=marker, showlegend=False, legendgroup=trials[0].status, name=name,
        hovertext=[describe_trial(one, monitor, with_values) for _, one in ends],
        hovertemplate="last epoch %{x}: %{y:.5g}<br>%{hovertext}<extra></extra>",
    )  # fmt: skip


def draw_coordinates(trials: Sequence[Trial], axes: Sequence[Axis], monitor: str, direction: Direction) -> go.Figure:
    """Draw each trial with a value as a line through its parameters to its best value, which colors it.

    Values out of the axis stand at its end. Pruned trials are left out: their value is not that of their end.
    """
    figure, ordered = go.Figure(), rank(trials, direction)[::-1]
    low, high = limit_values((one.best for one in ordered), direction)
    scales = [make_scale(axis, ordered) for axis in axes]
    value_scale = make_scale(Axis(monitor, low, high), [])
    best, worst = (low, high) if direction == "min" else (high, low)
    is_short = len(ordered) * (len(axes) + 1) <= MANY_POINTS
    shades: dict[int, list[Trial]] = {}
    for one in ordered:  # the worst first: the best is drawn over the others
        share = (min(max(one.best or 0.0, low), high) - best) / (worst - best)
        shades.setdefault(round(share * (SHADES - 1)), []).append(one)
    for shade in sorted(shades, reverse=True):
        x: list[int | None] = []
        y: list[float | None] = []
        told: list[str | None] = []
        for one in shades[shade]:
            places = [scale.place(one.values.get(scale.axis.name), one.number) for scale in scales]
            places.append(value_scale.place(min(max(one.best or 0.0, low), high), one.number))
            x += [*range(len(places)), None]
            y += [*map(shorten_number, places), None]
            told += [describe_trial(one, monitor, is_short)] * len(places) + [None]
        color = sample_colorscale(COLORS, [shade / (SHADES - 1)])[0]
        figure.add_scatter(
            x=x[:-1], y=y[:-1], mode="lines+markers", line={"color": color, "width": 1.5 if is_short else 0.8},
            marker={"size": 4 if is_short else 2},
            hovertext=told[:-1], hovertemplate="%{hovertext}<extra></extra>", showlegend=False,
        )  # fmt: skip
    names = [*(axis.name for axis in axes), monitor]
    for at, scale in enumerate([*scales, value_scale]):
        figure.add_shape(type="line", x0=at, x1=at, y0=0, y1=1, line={"color": "#999", "width": 1}, layer="below")
        for spot, text in zip(scale.positions, scale.texts, strict=True):
            figure.add_annotation(
                x=at, y=spot, text=format_label(text), showarrow=False,
                xanchor="left" if scale is value_scale else "right", xshift=5 if scale is value_scale else -5,
                font={"size": 11, "color": "#444"}, bgcolor="rgba(255,255,255,0.75)", borderpad=1,
            )  # fmt: skip
    figure.update_layout(
        layout(440), margin={"l": 16, "r": 16, "t": 16, "b": 48}, yaxis={"range": [-0.06, 1.06], "visible": False},
        xaxis={"tickvals": list(range(len(names))), "ticktext": list(map(format_label, names)),
               "range": [-0.6, len(names) - 0.5],
               "showgrid": False, "zeroline": False, "fixedrange": True},
    )  # fmt: skip
    return figure
