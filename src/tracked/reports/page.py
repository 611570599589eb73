"""The comparison as one HTML page that needs no network: curves to hover over, and the tables."""

from collections.abc import Sequence
from html import escape

import pandas as pd
import plotly.graph_objects as go

from tracked.analysis.rule_replay import History
from tracked.reports.plots import COLORS

MAX_CURVES = 40
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1250px; padding: 0 1rem; color: #222; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; white-space: nowrap; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #ddd; text-align: right; } th { background: #f4f4f4; }
td:first-child, th:first-child { text-align: left; } td:only-child { white-space: normal; }
"""


def draw_curves(histories: Sequence[History], best_epochs: Sequence[int]) -> go.Figure:
    """Curves of the first ``MAX_CURVES`` histories over each other; a star is the kept epoch, a cross the last one."""
    figure = go.Figure()
    for number, (history, best) in enumerate(list(zip(histories, best_epochs, strict=True))[:MAX_CURVES]):
        name, group, color = escape(history.run_name or history.run_id), history.run_id, COLORS[number % len(COLORS)]
        epochs, dash = (
            list(range(1, len(history.values) + 1)),
            ("solid", "dot", "dash", "dashdot")[number // len(COLORS) % 4],
        )
        shared = {"legendgroup": group, "name": name}
        hover = f"<b>{name}</b><br>epoch %{{x}}: %{{y:.5f}}"
        figure.add_scatter(
            x=epochs, y=history.values.tolist(), mode="lines+markers" if len(epochs) < 100 else "lines",
            line={"color": color, "dash": dash, "width": 2}, marker={"size": 4},
            hovertemplate=f"{hover}<extra></extra>", **shared,
        )  # fmt: skip
        for kind, epoch, symbol, size in (("best", best, "star", 15), ("stop", len(epochs), "x", 10)):
            figure.add_scatter(
                x=[epoch], y=[float(history.values[epoch - 1])], mode="markers", showlegend=False,
                marker={"color": color, "symbol": symbol, "size": size, "line": {"color": "white", "width": 1}},
                hovertemplate=f"{hover} ({kind})<extra></extra>", **shared,
            )  # fmt: skip
    figure.update_layout(
        template="plotly_white", height=560, margin={"l": 60, "r": 20, "t": 20, "b": 50},
        xaxis={"title": "epoch"}, yaxis={"title": histories[0].monitor if histories else ""},
        legend={"groupclick": "togglegroup"}, showlegend=True,
    )  # fmt: skip
    return figure


def render_page(title: str, figure: go.Figure, sections: Sequence[tuple[str, str, pd.DataFrame]]) -> str:
    """A whole HTML document.

    Args:
        sections: heading, a sentence, and a table whose cells are text; one whose table is empty is left out.
    """
    plot = figure.to_html(full_html=False, include_plotlyjs=True, config={"displaylogo": False})
    parts = [
        f"<h1>{escape(title)}</h1><p>A star is the epoch that the checkpoint kept, a cross the last one.</p>",
        plot,
    ]
    for heading, sentence, table in sections:
        if len(table):
            parts.append(f"<h2>{escape(heading)}</h2><p>{escape(sentence)}</p>")
            parts.append(f'<div class="scroll">{table.to_html(index=False, border=0)}</div>')
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'
