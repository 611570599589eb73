"""Figures of an evaluation of two named classes, of a few and of many: texts, counts and sizes."""

import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from imdb_conv1d import class_plots, evaluation_plots
from imdb_conv1d.class_scores import compute_class_table
from imdb_conv1d.outcomes import Outcomes


def make_outcomes(names: list[str], rows: int = 400, share: float = 0.8) -> Outcomes:
    rng, n = np.random.default_rng(0), len(names)
    true = np.arange(rows) % n
    predicted = np.where(rng.random(rows) < share, true, (true + 1) % n)
    ids = [f"row {i}" for i in range(rows)]
    table = {"id": ids, "key": ids, "label": true, "loss": 0.5, "probability": np.where(predicted, 0.9, 0.2)}
    if n > 2:
        table |= {"predicted_label": predicted}
    classes = np.array(names, dtype=object)
    return Outcomes.of(pd.DataFrame(table | {"class": classes[true], "predicted": classes[predicted]}))


def texts_of(figure: Figure, *, is_drawn: bool = True) -> list[str]:
    """Draw a figure, which fails with a warning such as that of a missing glyph, and read its texts."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if is_drawn:
            FigureCanvasAgg(figure).draw()
    found: list[str] = []
    for ax in figure.axes:
        beside = [label for child in ax.child_axes for label in child.get_yticklabels()]
        labels = [*ax.get_xticklabels(), *ax.get_yticklabels(), *beside, *ax.texts]
        found += [ax.get_title(), ax.get_xlabel(), ax.get_ylabel(), *(label.get_text() for label in labels)]
    return found


def test_figures_of_two_named_classes_name_the_positive_one() -> None:
    figures = evaluation_plots.draw_all(make_outcomes(["no", "$yes$"]), ", 3 seen in training")
    assert set(figures) == {"confusion.png", "roc.png", "precision_recall.png", "calibration.png"}
    texts = {name: texts_of(figure) for name, figure in figures.items()}
    assert texts["confusion.png"].count("no") == texts["confusion.png"].count(r"\$yes\$") == 2
    assert "False Positive Rate\n(positive: \\$yes\\$)" in texts["roc.png"]
    assert "Precision\n(positive: \\$yes\\$)" in texts["precision_recall.png"]
    assert {r"share of \$yes\$", r"probability of \$yes\$", "texts"} <= set(texts["calibration.png"])
    assert all(figure.axes[0].get_title().endswith("\n400 texts, 3 seen in training") for figure in figures.values())


def test_figures_of_labels_0_and_1_say_negative_and_positive() -> None:
    figures = evaluation_plots.draw_all(make_outcomes(["0", "1"]))
    assert {"negative", "positive"} <= set(texts_of(figures["confusion.png"]))
    assert "False Positive Rate (Positive label: 1)" in texts_of(figures["roc.png"])
    assert {"share of positive reviews", "probability of positive", "reviews"} <= set(
        texts_of(figures["calibration.png"])
    )


def test_figures_of_a_few_classes_have_names_and_counts() -> None:
    outcomes = make_outcomes(["card", "rate $5$", "取消", "a_b^c", "x" * 40])
    figures = evaluation_plots.draw_all(outcomes, ", 3 seen in training")
    assert set(figures) == {"confusion.png", "classes.png", "calibration.png"}
    confusion, classes, calibration = (texts_of(figure) for figure in figures.values())
    names = ["card", r"rate \$5\$", "class 2", "a_b^c", f"{'x' * 12}…{'x' * 11}"]
    assert [name for name in confusion if name in names] == names * 2
    counts = pd.crosstab(outcomes.true, outcomes.predicted).to_numpy()
    assert {int(text) for text in confusion if text.isdecimal()} >= set(counts[counts > 0].tolist())
    assert set(names) <= set(classes)
    assert "80" in classes  # texts of each class
    assert {"share that is right", "probability of the predicted class"} <= set(calibration)
    for figure in figures.values():
        assert figure.axes[0].get_title().endswith("\n400 texts, 3 seen in training")


def test_shares_are_those_of_the_true_class() -> None:
    figure = class_plots.draw_class_confusion(make_outcomes(["a", "b", "c"], rows=300))
    shares = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert shares[0, 2] == 0


@pytest.mark.parametrize("classes", [21, 77, 300])
def test_figures_of_many_classes_fit_1200_pixels(classes: int) -> None:
    names = [f"intent number {i} of the bank" for i in range(classes)]
    outcomes = make_outcomes(names, rows=10 * classes)
    for figure in evaluation_plots.draw_all(outcomes).values():
        assert all(figure.get_size_inches() * 100 <= 1200)
    figure = class_plots.draw_class_confusion(outcomes)
    shown = min(classes, class_plots.MOST_CONFUSED) if classes > class_plots.MAX_NAMED else classes
    texts = texts_of(figure, is_drawn=classes == 77)
    assert len({text for text in texts if text.startswith("intent")}) == shown  # shortened, and still told apart
    assert ("60 of 300 classes, those with the most mistakes" in texts[0]) is (classes == 300)
    assert not [text for text in texts if text.isdecimal()]
    lowest = class_plots.draw_class_f1(outcomes, compute_class_table(outcomes))
    assert len(lowest.axes[0].get_yticks()) == min(classes, class_plots.LOWEST)
    assert ("the 40 lowest of" in lowest.axes[0].get_title()) is (classes > 40)


def test_most_confused_of_many_classes_are_shown() -> None:
    outcomes = make_outcomes([f"c{i:03}" for i in range(200)], rows=2000, share=1)
    wrong = outcomes.predicted.copy()
    wrong[[150, 151]] = [199, 3]
    object.__setattr__(outcomes, "predicted", wrong)
    texts = texts_of(class_plots.draw_class_confusion(outcomes), is_drawn=False)
    assert {"c150", "c151", "c199", "c003"} <= set(texts)


def test_confusion_of_thousands_of_classes_holds_no_table_of_all_pairs() -> None:
    outcomes = make_outcomes([f"c{i:04}" for i in range(4000)], rows=8000)
    tracemalloc.start()
    try:
        figure = class_plots.draw_class_confusion(outcomes)
        assert tracemalloc.get_traced_memory()[1] < 30e6  # of all pairs: 128 MB
    finally:
        tracemalloc.stop()
    assert "60 of 4,000 classes" in figure.axes[0].get_title()


def test_names_that_look_alike_are_told_apart_by_their_codes() -> None:
    outcomes = make_outcomes(["a" * 20 + "b" * 20 + "c" * 20, "a" * 20 + "d" * 20 + "c" * 20, "other"])
    assert class_plots.name_classes(outcomes) == [f"{'a' * 10}…{'c' * 9} (0)", f"{'a' * 10}…{'c' * 9} (1)", "other"]


def test_lowest_f1_stands_at_the_top_with_its_interval() -> None:
    outcomes = make_outcomes(["a", "b", "c"], rows=300)
    table = compute_class_table(outcomes)
    ax = class_plots.draw_class_f1(outcomes, table).axes[0]
    expected = table.sort_values("f1")
    points = ax.lines[0].get_xydata()
    np.testing.assert_allclose(points, np.column_stack([expected["f1"], range(3)]))
    bars = np.array([path.vertices[:, 0] for path in ax.collections[0].get_paths()])
    np.testing.assert_allclose(bars, expected[["f1_low", "f1_high"]])
    assert ax.yaxis_inverted()
