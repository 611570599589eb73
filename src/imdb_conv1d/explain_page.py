"""Render explanations as one HTML page that works offline and without a script.

Blue and orange stay apart for every kind of colour blindness, and so do solid and dashed lines without any colour.
"""

from collections.abc import Sequence
from html import escape

from imdb_conv1d.explain_legends import Legend, find_legend, format_measure
from imdb_conv1d.explanation import Explanation, Piece, Window
from imdb_conv1d.spans import LINE_BREAK
from tracked.console.lines import format_count

LEVELS = 5  # shades of each colour
FOR = ("#e3eefa", "#c6dcf4", "#a5c8ec", "#83b3e3", "#619dd8")  # dark text has a contrast of 6 or more on each
AGAINST = ("#fdeedb", "#fbdcb6", "#f8c78c", "#f4b062", "#ee9939")
FAINT = 0.02  # of the strongest word's effect; below, a word is not shaded
STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 1.5rem auto; padding: 0 1rem; max-width: 60rem; color: #222;
  background: #fff; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; line-height: 1.25; } h2 { font-size: 1.15rem; line-height: 1.3; margin: 0 0 .25rem; }
p { margin: .4rem 0 .8rem; } .note { color: #595959; font-size: .9rem; }
section { border-top: 1px solid #ccc; margin-top: 2rem; padding-top: 1.25rem; }
.text { white-space: pre-wrap; line-height: 1.85; background: #fafafa; border: 1px solid #ddd; border-radius: 6px;
  padding: .6rem .8rem; margin: .8rem 0; }
mark { color: #111; border-radius: 3px; padding: .1em .15em; border-bottom: 2px solid; }
.unread { color: #6b6b6b; } .unknown { text-decoration: underline dotted #777; text-underline-offset: 2px; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; align-items: center; margin: .8rem 0; font-size: .9rem; }
.legend b { white-space: nowrap; } .legend mark { padding: .1em .5em; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { padding: .3rem .5rem; border-bottom: 1px solid #ddd; text-align: right; vertical-align: top; }
th { background: #f4f4f4; line-height: 1.25; vertical-align: bottom; } td { font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: start; width: 45%; }
td.number { white-space: nowrap; } .bar { display: block; height: .3rem; margin-left: auto; border-radius: 2px; }
.bar.for { background: #2563a8; } .bar.against { background: #c2620a; }
@media (max-width: 640px) {
  body { padding: 0 .6rem; font-size: 15px; } .text { padding: .5rem .6rem; }
  table { font-size: .8rem; table-layout: fixed; } th, td { padding: .25rem .2rem; }
  th { font-size: .72rem; } th:first-child, td:first-child { width: 33%; } th:last-child { width: 28%; }
}
"""
SHADES = "".join(
    f"mark.{kind}{level} {{ background: {color}; border-color: {edge}; border-bottom-style: {line}; }}\n"
    for kind, colors, edge, line in (("for", FOR, "#2563a8", "solid"), ("against", AGAINST, "#c2620a", "dashed"))
    for level, color in enumerate(colors, start=1)
)


def render_page(title: str, note: str, explanations: Sequence[tuple[str, Explanation]], count: int) -> str:
    """Return a whole HTML document.

    Args:
        note: a sentence on the model and the texts.
        explanations: each with its heading; one or more, of one model.
        count: the number of windows in a table.
    """
    legend = find_legend(explanations[0][1])
    sections = "".join(_render(heading, explanation, legend, count) for heading, explanation in explanations)
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}{SHADES}</style>"
    )
    body = f'<h1 dir="auto">{escape(title)}</h1><p dir="auto">{escape(note)}</p>{_render_legend(legend)}{sections}'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def _render_legend(legend: Legend) -> str:
    shades = {kind: "".join(f'<mark class="{kind}{n}">&nbsp;</mark>' for n in order) for kind, order in (
        ("against", range(LEVELS, 0, -1)), ("for", range(1, LEVELS + 1)))}  # fmt: skip
    return (
        f'<div class="legend"><span><b>{shades["against"]}</b> against the prediction (dashed)</span>'
        f"<span><b>{shades['for']}</b> for the prediction (solid)</span>"
        '<span class="unknown">not in the vocabulary</span><span class="unread">not read by the model</span></div>'
        f'<p class="note">{legend.note}</p>'
    )


def _render(heading: str, explanation: Explanation, legend: Legend, count: int) -> str:
    effects = [abs(piece.effect) for piece in explanation.pieces if piece.effect is not None]
    largest = max(effects, default=0.0)
    text = "".join(_render_piece(piece, largest) for piece in explanation.pieces)
    label = f", labelled <b><bdi>{escape(explanation.label)}</bdi></b>" if explanation.label else ""
    logit = _format_logit(explanation.logit)
    if explanation.intercept is not None:
        effects_sum = _format_effect(explanation.logit - explanation.intercept)
        logit += f"; intercept {_format_logit(explanation.intercept)}, effects {effects_sum}"
    verdict = (
        f"Predicted <b><bdi>{escape(explanation.predicted)}</bdi></b> with a probability of "
        f"{format_probability(explanation.probability)} (logit {logit}){label}."
    )
    own = "" if explanation.is_own_text else '<p class="note">Shown are the words that the model gets of this text.</p>'
    shown = explanation.windows[:count]
    more = f"{format_count(len(explanation.windows), legend.thing)} {legend.fact}"
    more += "; the table has those with the largest effect." if len(explanation.windows) > len(shown) else "."
    return (
        f'<section><h2 dir="auto">{escape(heading)}</h2><p>{verdict}</p>{own}<div class="text" dir="auto">{text}</div>'
        f'{_render_table(shown, legend) if shown else ""}<p class="note">{more}</p></section>'
    )


def _render_piece(piece: Piece, largest: float) -> str:
    text = "<br>".join(escape(part) for part in LINE_BREAK.split(piece.text))
    classes = [name for name, holds in (("unread", not piece.is_read), ("unknown", not piece.is_known)) if holds]
    effect = piece.effect or 0.0
    if largest and abs(effect) >= FAINT * largest:
        level = min(LEVELS, 1 + int(LEVELS * abs(effect) / largest))
        classes.append(f"{'for' if effect > 0 else 'against'}{level}")
        return f'<mark class="{" ".join(classes)}" title="{_format_effect(effect)}">{text}</mark>'
    return f'<span class="{" ".join(classes)}">{text}</span>' if classes else text


def _render_table(windows: Sequence[Window], legend: Legend) -> str:
    largest = max(abs(window.effect) for window in windows) or 1.0
    names = ("words", "effect on the logit", legend.measure, "probability without")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    body = "".join(_render_window(window, largest) for window in windows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _render_window(window: Window, largest: float) -> str:
    width = 100 * abs(window.effect) / largest
    kind = "for" if window.effect > 0 else "against"
    return (
        f'<tr><td dir="auto">{escape(window.words)}</td><td class="number">{_format_effect(window.effect)}'
        f'<span class="bar {kind}" style="width: {width:.0f}%"></span></td>'
        f"<td>{format_measure(window)}</td><td>{format_probability(window.probability)}</td></tr>"
    )


def format_probability(probability: float) -> str:
    """Format a probability, so that what is close to 0 or 1 does not look like 0 or 1."""
    if probability < 0.001:
        return "below 0.001"
    return "above 0.999" if probability > 0.999 else f"{probability:.3f}"


def _format_effect(effect: float) -> str:
    return f"{effect:+.3f}".replace("-", "−")


def _format_logit(logit: float) -> str:
    return _format_effect(logit).removeprefix("+")
