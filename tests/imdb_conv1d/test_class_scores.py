"""Scores of each class, their mean and its interval, and the confused pairs."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import f1_score, precision_recall_fscore_support

from imdb_conv1d import class_scores
from imdb_conv1d.class_scores import compute_class_table, compute_macro_f1, find_confused
from imdb_conv1d.outcomes import Outcomes

NO_INPUTS = pd.DataFrame(index=[])


def outcomes_of(true: list[int], predicted: list[int], keys: list[str] | None = None) -> Outcomes:
    names = {code: f"class {code}" for code in [*true, *predicted]}
    rows = range(len(true))
    table = {
        "id": [f"row {i}" for i in rows], "key": keys or [f"text {i}" for i in rows], "label": true,
        "predicted_label": predicted, "probability": 0.5, "loss": [float(i % 7) for i in rows],
        "class": [names[code] for code in true], "predicted": [names[code] for code in predicted],
    }  # fmt: skip
    return Outcomes.of(pd.DataFrame(table))


def draw(classes: int, rows: int, share: float, seed: int = 0) -> tuple[list[int], list[int]]:
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, rows)
    wrong = rng.random(rows) > share
    return true.tolist(), np.where(wrong, rng.integers(0, classes, rows), true).tolist()


PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), min_size=1, max_size=40)


@given(PAIRS)
def test_scores_of_classes_are_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    true, predicted = map(list, zip(*pairs, strict=True))
    table = compute_class_table(outcomes_of(true, predicted))
    expected = precision_recall_fscore_support(
        true, predicted, labels=sorted({*true, *predicted}), average=None, zero_division=np.nan
    )
    assert table["support"].tolist() == expected[3].tolist()
    for name, values in zip(("precision", "recall", "f1"), expected, strict=False):
        wanted = np.where(expected[3] > 0, values, np.nan) if name == "f1" else values
        np.testing.assert_allclose(table[name], wanted, atol=1e-12)
    macro = compute_macro_f1(outcomes_of(true, predicted))[0]
    assert macro == pytest.approx(f1_score(true, predicted, labels=sorted(set(true)), average="macro", zero_division=0))
    assert macro == pytest.approx(table["f1"].mean())


def test_intervals_of_a_class_are_exact() -> None:
    # Class 1: 8 of 10 found, 12 predicted.
    true = [1] * 10 + [0] * 20
    predicted = [1] * 8 + [0] * 2 + [1] * 4 + [0] * 16
    row = compute_class_table(outcomes_of(true, predicted)).iloc[1]
    for name, hits, rows in (("precision", 8, 12), ("recall", 8, 10)):
        exact = binomtest(hits, rows).proportion_ci(0.95, method="exact")
        assert (row[f"{name}_low"], row[f"{name}_high"]) == pytest.approx((exact.low, exact.high))
    exact = binomtest(8, 14).proportion_ci(0.95, method="exact")  # 14 rows are of the class or predicted to be
    assert row["f1"] == pytest.approx(2 * (8 / 14) / (1 + 8 / 14)) == pytest.approx(16 / 22)
    ends = (2 * exact.low / (1 + exact.low), 2 * exact.high / (1 + exact.high))
    assert (row["f1_low"], row["f1_high"]) == pytest.approx(ends)


@given(PAIRS)
def test_intervals_hold_their_score(pairs: list[tuple[int, int]]) -> None:
    true, predicted = map(list, zip(*pairs, strict=True))
    table = compute_class_table(outcomes_of(true, predicted))
    for name in ("precision", "recall", "f1"):
        given = table.dropna(subset=[name])
        assert (given[f"{name}_low"] >= 0).all()
        assert (given[f"{name}_low"] <= given[name] + 1e-12).all()
        assert (given[name] <= given[f"{name}_high"] + 1e-12).all()
        assert (given[f"{name}_high"] <= 1).all()
        assert (given[f"{name}_low"] < given[f"{name}_high"]).all()
        assert table[table[name].isna()][[f"{name}_low", f"{name}_high"]].isna().all(axis=None)


def test_copies_of_texts_do_not_narrow_an_interval() -> None:
    true, predicted = draw(3, 300, 0.8)
    once = outcomes_of(true, predicted)
    keys = [f"text {i}" for i in range(300)]
    often = outcomes_of(true * 4, predicted * 4, keys * 4)
    ends = [f"{name}_{end}" for name in ("precision", "recall", "f1") for end in ("low", "high")]
    np.testing.assert_allclose(compute_class_table(often)[ends], compute_class_table(once)[ends])
    assert compute_macro_f1(often) == pytest.approx(compute_macro_f1(once))
    low, high = compute_macro_f1(outcomes_of(true * 4, predicted * 4))[1:]
    assert high - low < 0.6 * np.diff(compute_macro_f1(once)[1:])[0]


def test_interval_of_macro_f1_is_the_delta_methods_with_its_second_order() -> None:
    """Equal to standard errors from deleting one row at a time, and to the bias that the deletions show."""
    true, predicted = draw(5, 400, 0.8)
    macro, low, high = compute_macro_f1(outcomes_of(true, predicted))
    counts, rest = np.zeros((5, 5)), []
    np.add.at(counts, (true, predicted), 1)
    for pair in zip(true, predicted, strict=True):
        less = counts.copy()
        less[pair] -= 1
        rest.append((2 * np.diag(less) / (less.sum(axis=0) + less.sum(axis=1))).mean())
    bias = 399 * (np.mean(rest) - macro)
    width = 2 * 1.966 * math.sqrt(399 * np.var(rest))
    assert high - low == pytest.approx(width - bias, rel=0.05)  # the skewness adds to it
    assert bias < 0


def test_interval_of_macro_f1_needs_five_distinct_texts_of_each_class() -> None:
    true, predicted = draw(3, 300, 0.8)
    for rare, is_given in ((4, False), (5, True)):
        outcomes = outcomes_of(true + [9] * rare, predicted + [9] * rare)
        assert math.isnan(compute_macro_f1(outcomes)[1]) is not is_given
    copied = outcomes_of(true + [9] * 5, predicted + [9] * 5, [f"t{i}" for i in range(300)] + ["a", "a", "b", "c", "d"])
    assert math.isnan(compute_macro_f1(copied)[1])


def test_interval_of_macro_f1_needs_a_hit_of_each_class() -> None:
    true, predicted = draw(3, 300, 0.8)
    assert not math.isnan(compute_macro_f1(outcomes_of(true, predicted))[1])
    missed = [code if code < 2 else 0 for code in predicted]
    assert math.isnan(compute_macro_f1(outcomes_of(true, missed))[1])


def test_interval_of_macro_f1_is_missing_for_few_texts_or_no_mistake() -> None:
    assert math.isnan(compute_macro_f1(outcomes_of(*draw(2, 119, 0.8)))[1])
    assert not math.isnan(compute_macro_f1(outcomes_of(*draw(2, 120, 0.8)))[1])
    assert compute_macro_f1(outcomes_of([0, 1] * 100, [0, 1] * 100))[0] == 1
    assert math.isnan(compute_macro_f1(outcomes_of([0, 1] * 100, [0, 1] * 100))[1])


def test_confused_pairs_are_the_most_frequent_with_their_worst_rows() -> None:
    #        loss   0  1  2  3  4  5  6  0
    true, predicted = [0, 0, 0, 0, 0, 1, 1, 2], [1, 1, 1, 1, 0, 0, 0, 2]
    table = find_confused(outcomes_of(true, predicted), NO_INPUTS)
    assert table[["true", "predicted", "count", "share"]].to_numpy().tolist() == [
        ["class 0", "class 1", 4, 0.8], ["class 1", "class 0", 2, 1.0],
    ]  # fmt: skip
    assert table[["id_1", "id_2", "id_3"]].to_numpy().tolist() == [
        ["row 3", "row 2", "row 1"],
        ["row 6", "row 5", None],
    ]
    assert not [name for name in table if name.startswith("text")]


def test_examples_have_texts_where_the_inputs_have_them() -> None:
    outcomes = outcomes_of([0, 0, 0, 1], [1, 1, 1, 0])
    inputs = pd.DataFrame({"text": ["third\nline", "x" * 400], "label": 0}, index=[2, 1])
    table = find_confused(outcomes, inputs)
    assert table["text_1"].tolist() == ["third line", None]
    assert table["text_2"].tolist() == ["x" * 299 + "…", None]
    assert table["text_3"].tolist() == [None, None]
    hidden = find_confused(outcomes, inputs[["label"]].assign(hash="f"))
    assert not [name for name in hidden if name.startswith("text")]


def test_confused_pairs_without_a_mistake_have_no_rows() -> None:
    table = find_confused(outcomes_of([0, 1], [0, 1]), NO_INPUTS)
    assert len(table) == 0
    assert list(table)[:4] == ["true", "predicted", "count", "share"]


def test_confused_pairs_of_many_classes_are_limited() -> None:
    true = [i for i in range(30) for _ in range(29)]
    predicted = [j for i in range(30) for j in range(30) if i != j]
    assert len(find_confused(outcomes_of(true, predicted), NO_INPUTS)) == class_scores.MAX_PAIRS
