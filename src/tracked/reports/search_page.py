"""Render a search as one HTML page that works offline: its figures to hover over, and the table of its trials."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import pandas as pd

from tracked.analysis.trials import Direction, Trial, rank
from tracked.reports.page import render_document, render_figure, render_table
from tracked.reports.search_curves import choose_curves, draw_coordinates, draw_curves
from tracked.reports.search_figures import STATUSES, draw_history, draw_importance
from tracked.reports.search_importance import MIN_TRIALS, measure_importance
from tracked.reports.search_report import count_statuses, sort_trials
from tracked.reports.search_scale import Axis, format_metric, format_value

STYLE = """
figure { margin: 0; min-width: 0; } .narrow { max-width: 760px; }
figure p { margin: .2rem 0; } h2 { margin-top: 1.6rem; }
.pair { display: grid; gap: 0 2rem; grid-template-columns: minmax(0, 1fr); }
@media (min-width: 1100px) { .pair { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); } }
.noted :is(th, td):last-child { text-align: left; padding-left: 1em; max-width: 34em; overflow-wrap: anywhere; }
@media (min-width: 700px) {
  table:not(:has(th:nth-child(13))) :is(th, td):not(.long, :last-child) { overflow-wrap: normal; }
}
@media (max-width: 1000px) { .noted :is(th, td):last-child { max-width: 12em; } }
"""


@dataclass(frozen=True)
class Confirmation:
    """Trainings of one trial, or of the defaults, with new seeds.

    Args:
        label: what was trained, such as "trial 7".
        values: the monitored metric's best value with each of the seeds, in their order.
    """

    label: str
    seeds: Sequence[int]
    values: Sequence[float]
    mean: float


def render_search(
    title: str,
    trials: Sequence[Trial],
    axes: Sequence[Axis],
    monitor: str,
    direction: Direction,
    confirmations: Sequence[Confirmation] = (),
    verdict: str = "",
) -> str:
    """Return a whole HTML document.

    Args:
        trials: in any order; running ones are shown as far as they are.
        axes: of the searched parameters, in the order of the space.
        verdict: what the confirmations say of the winner, in a sentence.
    """
    better = "lower is better" if direction == "min" else "higher is better"
    parts = [f"<p>{escape(f'{count_statuses(trials)}. {monitor}: {better}.')}</p>"]
    if not trials:
        return render_document(title, parts, STYLE)
    if best := next(iter(rank(trials, direction)), None):
        values = ", ".join(f"{name} {format_value(value)}" for name, value in best.values.items())
        found = f"{monitor} {format_metric(best.best)} after epoch {best.best_epoch} of {best.epochs}"
        parts.append(f"<p><b>Best: trial {best.number}</b>, {escape(f'{found}: {values}')}</p>")
    drawn = choose_curves(trials, direction)
    left_out = sum(1 for one in trials if one.epochs) - len(drawn)
    note = f"The best and the newest; {left_out:,} more have no room." if left_out else ""
    history = render_figure(draw_history(trials, monitor, direction), with_script=True)
    curves = render_figure(draw_curves(drawn, monitor, direction), with_script=False)
    parts.append(
        f'<div class="pair"><figure><h2>History</h2>{history}</figure>'
        f"<figure><h2>Learning curves</h2>{curves}<p>{note}</p></figure></div>"
    )
    if best and axes:
        coordinates = render_figure(draw_coordinates(trials, axes, monitor, direction), with_script=False)
        parts.append(f"<h2>Parameters of the finished trials</h2><p>Dark: the best ones.</p>{coordinates}")
    parts += ["<h2>Importance of the parameters</h2>", _render_importance(trials, axes, direction)]
    if confirmations:
        table = render_table(_format_confirmations(confirmations))
        parts.append(f"<h2>Confirmation with new seeds</h2><p>{escape(verdict)}</p>{table}")
    listed = _format_trials(trials, axes, monitor, direction)
    noted = "noted" if listed.columns[-1] == "note" else ""
    parts.append(f'<h2>Trials</h2><p>Best first.</p><div class="{noted}">{render_table(listed)}</div>')
    return render_document(title, parts, STYLE)


def _render_importance(trials: Sequence[Trial], axes: Sequence[Axis], direction: Direction) -> str:
    importance = measure_importance(trials, axes, direction)
    if not importance:
        return f"<p>Too early to tell: that needs {MIN_TRIALS} finished trials of different values.</p>"
    sentence = f"For being among the best of {len(rank(trials, direction)):,} finished trials, by PED-ANOVA."
    figure = render_figure(draw_importance(importance), with_script=False)
    return f'<p>{sentence}</p><div class="narrow">{figure}</div>'


def _format_trials(trials: Sequence[Trial], axes: Sequence[Axis], monitor: str, direction: Direction) -> pd.DataFrame:
    rows = []
    for one in sort_trials(trials, direction):
        searched = [format_value(one.values[axis.name]) if axis.name in one.values else "-" for axis in axes]
        epochs = f"{one.best_epoch or '-'} of {one.epochs}"
        told = [f"{one.number}", STATUSES[one.status][0], format_metric(one.best), epochs, f"{one.seconds:,.0f}"]
        rows.append([*told, *searched, " ".join(one.note.split())])
    head = ["trial", "status", monitor, "best epoch", "seconds", *(axis.name for axis in axes), "note"]
    table = pd.DataFrame(rows, columns=head)
    return table if table["note"].any() else table.drop(columns="note")


def _format_confirmations(confirmations: Sequence[Confirmation]) -> pd.DataFrame:
    seeds = list(dict.fromkeys(seed for one in confirmations for seed in one.seeds))
    rows = []
    for one in confirmations:
        values = dict(zip(one.seeds, one.values, strict=True))
        rows.append([one.label, *(format_metric(values.get(seed)) for seed in seeds), format_metric(one.mean)])
    return pd.DataFrame(rows, columns=["what", *(f"seed {seed}" for seed in seeds), "mean"])
