"""Render a comparison as one HTML page that works offline: interactive curves, and tables that fit the window."""

from collections.abc import Sequence
from html import escape

import pandas as pd
import plotly.graph_objects as go

from tracked.analysis.rule_replay import History
from tracked.reports.plots import COLORS

MAX_CURVES = 40
LONG = 14  # characters; longer words may break anywhere
# Tables never scroll: headers break after underscores, long words (paths, ids) anywhere, and on a narrow screen or with
# many columns every word may.
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem 1rem; color: #222; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; font-size: 13px; overflow-wrap: normal; }
th, td { padding: .3rem .4rem; border-bottom: 1px solid #ddd; text-align: right; } th { background: #f4f4f4; }
td:first-child, th:first-child { text-align: left; } td.long { overflow-wrap: anywhere; min-width: 8em; }
table:has(th:nth-child(17)) :is(th, td) { overflow-wrap: anywhere; }
@media (max-width: 1000px) {
  table { font-size: 11px; } th, td { padding: .2rem .1rem; overflow-wrap: anywhere; } td.long { min-width: 0; }
}
"""


def draw_curves(histories: Sequence[History], best_epochs: Sequence[int]) -> go.Figure:
    """Draw the first ``MAX_CURVES`` histories into one plot, with a star at the best epoch and a cross at the last."""
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
    """Return a whole HTML document.

    Args:
        sections: heading, sentence, and a table whose cells are text. A section with an empty table is left out.
    """
    parts = [
        "<p>Star: the epoch of the checkpoint. Cross: the last epoch.</p>",
        render_figure(figure, with_script=True),
    ]
    for heading, sentence, table in sections:
        if len(table):
            parts.append(f"<h2>{escape(heading)}</h2><p>{escape(sentence)}</p>{render_table(table)}")
    return render_document(title, parts)


def render_document(title: str, parts: Sequence[str], style: str = "") -> str:
    """Return a whole HTML document of parts in HTML, below its title; ``style``: more CSS."""
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}{style}</style>'
    body = f"<h1>{escape(title)}</h1>{''.join(parts)}"
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def render_figure(figure: go.Figure, with_script: bool) -> str:
    """Render a figure as wide as its place; the first one of a document brings Plotly's script."""
    return str(figure.to_html(full_html=False, include_plotlyjs=with_script, config={"displaylogo": False}))


def render_table(table: pd.DataFrame) -> str:
    """Render a table whose cells are text."""
    head = "".join(f"<th>{escape(str(name)).replace('_', '_<wbr>')}</th>" for name in table)
    rows = ("".join(map(_render_cell, row)) for row in table.itertuples(index=False))
    body = "".join(f"<tr>{cells}</tr>" for cells in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _render_cell(text: str) -> str:
    is_long = any(len(word) > LONG for word in text.split())
    return f"<td{' class=long' if is_long else ''}>{escape(text)}</td>"
