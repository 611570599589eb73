"""Plots of a training and of an evaluation: their curves, labels and titles."""

import numpy as np
import pandas as pd
import pytest

from helpers.figures import labels_of
from imdb_conv1d import evaluation_plots
from imdb_conv1d.metrics import compute_calibration
from tracked.reports import plots

pytestmark = pytest.mark.unit

HISTORY = pd.DataFrame(
    {
        "epoch": [1, 2, 3, 4],
        "loss": [0.4, 0.2, 0.1, 0.05],
        "accuracy": [0.8, 0.9, 0.95, 0.99],
        "val_loss": [0.31, 0.27, 0.28, 0.35],
        "val_accuracy": [0.86, 0.89, 0.88, 0.87],
    }
)
METRICS = ["loss", "accuracy"]


def test_training_plot_marks_the_best_and_the_last_epoch() -> None:
    figure = plots.draw_training(HISTORY, METRICS, "val_loss", best_epoch=2, stopped_epoch=4, reason="patience")
    assert labels_of(figure) == [
        "training", "validation", "best epoch 2: 0.2700", "last epoch 4 (patience)",
        "training", "validation", "best epoch 2: 0.8900", "last epoch 4 (patience)",
    ]  # fmt: skip
    curves = {line.get_label(): line.get_xydata().tolist() for line in figure.axes[0].lines}
    assert curves["validation"] == [[1, 0.31], [2, 0.27], [3, 0.28], [4, 0.35]]
    assert curves["best epoch 2: 0.2700"] == [[2, 0.27]]


def test_training_plot_without_a_checkpoint_has_no_best_epoch() -> None:
    assert not any(
        "best" in label for label in labels_of(plots.draw_training(HISTORY, METRICS, "val_loss", 0, 4, "not_a_number"))
    )


def test_training_plot_shows_a_learning_rate_that_changes() -> None:
    rates = [0.1, 0.1, 0.05, 0.025]
    figure = plots.draw_training(HISTORY.assign(learning_rate=rates), METRICS, "val_loss", 2, 4, "patience")
    assert [ax.get_title() for ax in figure.axes] == ["loss", "accuracy", "learning_rate"]
    ax = figure.axes[-1]
    assert ax.lines[0].get_xydata().tolist() == [[epoch, rate] for epoch, rate in enumerate(rates, 1)]
    assert ax.get_yscale() == "log"
    constant = plots.draw_training(HISTORY.assign(learning_rate=0.1), METRICS, "val_loss", 2, 4, "patience")
    assert [ax.get_title() for ax in constant.axes] == ["loss", "accuracy"]


def test_confusion_plot_shows_the_counts() -> None:
    figure = evaluation_plots.draw_confusion([1, 1, 1, 0, 0], [0.9, 0.8, 0.4, 0.6, 0.1])
    assert [text.get_text() for text in figure.axes[0].texts] == ["1", "1", "1", "2"]


def test_curves_of_an_evaluation_match_its_scores() -> None:
    labels, probabilities = [1, 1, 1, 0, 0], [0.9, 0.8, 0.4, 0.6, 0.1]
    assert "model (AUC = 0.83)" in labels_of(evaluation_plots.draw_roc(labels, probabilities))
    assert "model (AP = 0.92)" in labels_of(evaluation_plots.draw_precision_recall(labels, probabilities))
    figure = evaluation_plots.draw_calibration(compute_calibration(labels, probabilities))
    model = next(line for line in figure.axes[0].lines if line.get_label() == "model")
    np.testing.assert_allclose(model.get_xydata(), [[0.1, 0], [0.4, 1], [0.6, 0], [0.8, 1], [0.9, 1]])
    assert [bar.get_height() for bar in figure.axes[1].patches] == [0, 1, 0, 0, 1, 0, 1, 0, 1, 1]


def test_plot_titles_with_seen_rows_are_marked() -> None:
    labels, probabilities = np.array([0, 1, 0, 1]), np.array([0.2, 0.8, 0.6, 0.9])
    bins = compute_calibration(labels, probabilities)
    for mark in ("", ", 2 seen in training"):
        figures = [
            draw(labels, probabilities, mark)
            for draw in (
                evaluation_plots.draw_confusion,
                evaluation_plots.draw_roc,
                evaluation_plots.draw_precision_recall,
            )
        ]
        for figure in [*figures, evaluation_plots.draw_calibration(bins, mark)]:
            assert figure.axes[0].get_title().endswith("\n4 reviews, 2 seen in training") == bool(mark)
