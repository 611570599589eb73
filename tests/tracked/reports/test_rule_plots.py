"""Plots of replayed rules: their curves, cells and labels."""

import numpy as np
import pytest

from helpers.figures import labels_of
from tracked.analysis.recommendation import pool_rules
from tracked.analysis.rule_replay import History, replay
from tracked.reports import rule_plots

pytestmark = pytest.mark.unit

VALUES = [0.6, 0.5, 0.45, 0.46, 0.44, 0.47, 0.48, 0.42, 0.5, 0.5, 0.5, 0.41, 0.5, 0.5]
HISTORY = History("r", "patience=2", "val_loss", "min", np.array(VALUES), np.arange(14.0))


def test_curve_labels_the_patiences_that_keep_another_epoch() -> None:
    figure = rule_plots.draw_curve(HISTORY, replay([HISTORY], range(1, 6), [0.0, 0.02]))
    assert labels_of(figure) == [
        "best: epoch 12, 0.4100",
        "patience 1 stops after epoch 4, keeps epoch 3, 0.4500",
        "patience 2 stops after epoch 7, keeps epoch 5, 0.4400",
        "patience 3 stops after epoch 11, keeps epoch 8, 0.4200",
    ]
    line = next(line for line in figure.axes[0].lines if len(line.get_xdata()) == 14)
    assert line.get_ydata().tolist() == VALUES


def test_heat_map_shows_regret_and_stops_and_marks_censored_rules() -> None:
    table = replay([HISTORY], [1, 3, 9], [0.0])
    figure = rule_plots.draw_heat_map(table.assign(epochs=table["stopped_epoch"].astype(float)), "title")
    regret, stops = figure.axes[:2]
    assert [text.get_text() for text in regret.texts] == ["0.04", "0.01", "?"]
    assert [text.get_text() for text in stops.texts] == ["4", "11", "?"]
    assert regret.collections[0].get_array().compressed().tolist() == pytest.approx([0.04, 0.01])


def test_pooled_plot_has_a_line_per_min_delta_and_the_recommendation() -> None:
    table = replay([HISTORY, HISTORY], [1, 2, 9], [0.0, 0.02])
    figure = rule_plots.draw_pooled(pool_rules(table), "val_loss", tolerance=0.01, recommended=2)
    assert labels_of(figure) == ["min_delta 0", "min_delta 0.02", "recommended: 2", "tolerance 0.01"]
    first = figure.axes[0].lines[0]
    assert first.get_xdata().tolist() == [1, 2]  # no run answers 9
    assert first.get_ydata().tolist() == pytest.approx([0.04, 0.03])


def test_pooled_line_breaks_where_the_answering_runs_change() -> None:
    """Three of seven runs answer up to patience 2 only: the mean of seven and the mean of four are separate lines."""
    short = [History(f"s{n}", "", "val_loss", "min", np.array([0.5, 0.6, 0.6]), np.arange(3.0)) for n in range(3)]
    long = [History(f"l{n}", "", "val_loss", "min", np.array(VALUES), np.arange(14.0)) for n in range(4)]
    pool = pool_rules(replay([*short, *long], [1, 2, 3], [0.0]))
    figure = rule_plots.draw_pooled(pool, "val_loss", tolerance=0.01, recommended=None)
    lines = [line.get_xdata().tolist() for line in figure.axes[0].lines[:2]]
    assert lines == [[1, 2], [3]]
    assert [text.get_text() for text in figure.axes[0].texts] == ["7", "4"]
    assert labels_of(figure) == ["min_delta 0", "tolerance 0.01"]


def test_infinite_and_zero_regret_can_be_drawn() -> None:
    none_kept = History("n", "", "val_loss", "min", np.array([np.nan, np.nan, 0.5, 0.6, 0.6]), np.arange(5.0))
    flat = History("f", "", "val_loss", "min", np.array([0.5, 0.6, 0.6, 0.6, 0.6]), np.arange(5.0))
    pool = pool_rules(replay([none_kept, none_kept], [1, 2], [0.0]))
    regret, *_ = rule_plots.draw_heat_map(pool, "title").axes
    assert [text.get_text() for text in regret.texts] == ["∞", "0"]
    assert rule_plots.draw_pooled(pool, "val_loss", 0.01, None).axes[0].get_ylim() == (0, pytest.approx(0.012))
    nothing_lost = pool_rules(replay([flat, flat], [1, 2], [0.0]))
    assert rule_plots.draw_pooled(nothing_lost, "val_loss", 0.0, 1).axes[0].get_ylim() == (0, 1)
    assert rule_plots.draw_heat_map(nothing_lost, "title").axes[0].collections[0].get_clim() == (0, 1)
