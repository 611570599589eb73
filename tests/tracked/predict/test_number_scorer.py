"""Answers of rows of numbers: which rows are bad, that a row's bits are its own, and what is counted."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tracked.predict.number_scorer import NumberScorer
from tracked.training.table_dataset import TableDataset


class Weighted:
    """A model whose calls are remembered."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def get_raw_model(self) -> object:
        return self

    def predict(self, numbers: np.ndarray) -> np.ndarray:
        self.shapes.append(numbers.shape)
        return numbers @ np.array([[0.1], [0.7]], np.float32)


@pytest.fixture
def scorer() -> NumberScorer:
    return NumberScorer(Weighted(), {"age": (0, 50), "bmi": (20,)}, answer_edges=(10, 20), batch=4)


def table(rows: list[tuple[object, object]], **others: list[object]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["age", "bmi"], dtype=object).assign(**others)


BAD = [None, "", "old", "nan", "inf", float("nan"), -np.inf, "1e39", 10**400, True, [1], {"a": 1}, "1_000", b"1"]


@pytest.mark.parametrize("value", BAD, ids=repr)
def test_row_without_a_finite_number_is_bad_and_its_column_is_named(scorer: NumberScorer, value: object) -> None:
    rows = table([(50, 20), (value, 20), (50, value), ("1e3", "-2")])
    rows.index = pd.Index([7, 9, 11, 13])
    assert scorer.find_bad(rows) == {9: "age is no finite number", 11: "bmi is no finite number"}


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 9])
def test_rows_are_answered_in_their_order_in_batches_of_one_shape(scorer: NumberScorer, count: int) -> None:
    rows = table([(str(number), number * 2) for number in range(count)])
    rows.index = pd.RangeIndex(100, 100 + count)
    answers = scorer.answer(rows)
    np.testing.assert_allclose(answers["predicted"], np.arange(count) * 1.5, rtol=1e-6)
    assert answers.index.equals(rows.index)
    assert answers["predicted"].dtype == np.float32
    assert set(scorer.model.shapes) <= {(4, 2)}


def test_answers_are_described_from_the_models_own_output(scorer: NumberScorer) -> None:
    rows = table([(10, 0), (0, 10), (1, 1), (2, 2), (3, 3)])
    rows.index = pd.Index(range(5, 10))
    output = scorer.predict(rows)
    assert (output.shape, output.dtype) == ((5, 1), np.float32)
    described = scorer.describe(output)
    assert described.index.equals(pd.RangeIndex(5))
    pd.testing.assert_frame_equal(described.set_axis(rows.index), scorer.answer(rows), check_exact=True)


def test_online_rows_are_answered_without_being_filled_up(scorer: NumberScorer) -> None:
    rows = table([(number, number * 2) for number in range(5)])
    model: Any = Weighted()
    quick = replace(scorer, model=model, online=True)
    np.testing.assert_allclose(quick.answer(rows)["predicted"], scorer.answer(rows)["predicted"], rtol=1e-6)
    assert quick.predict(rows[:1]).shape == (1, 1)
    assert model.shapes == [(5, 2), (1, 2)]


def test_columns_are_read_by_their_names_in_the_order_of_the_model(scorer: NumberScorer) -> None:
    rows = table([(10, 0)], other=["x"])[["bmi", "other", "age"]]
    assert scorer.answer(rows)["predicted"].tolist() == [1.0]


def test_values_and_answers_are_counted_between_their_edges(scorer: NumberScorer) -> None:
    rows = table([(0, 20), (50, 20.5), (51, 0)])
    assert scorer.observe(rows, pd.DataFrame({"predicted": [10.0, 11.0, 21.0]})) == {
        "age": {"up_to": {"0": 1, "50": 1, "inf": 1}},
        "bmi": {"up_to": {"20": 2, "inf": 1}},
        "predicted": {"up_to": {"10": 1, "20": 1, "inf": 1}},
    }


def test_answer_that_is_no_number_is_not_counted(scorer: NumberScorer) -> None:
    seen = scorer.observe(table([(0, 20), (1, 20)]), pd.DataFrame({"predicted": [np.nan, 3.0]}))
    assert seen["predicted"] == {"up_to": {"10": 1, "20": 0, "inf": 0}}


def test_answers_of_the_training_part_are_not_observed(scorer: NumberScorer) -> None:
    numbers = np.random.default_rng(3).integers(0, 60, (200, 2))
    frame = pd.DataFrame(numbers, columns=["age", "bmi"]).assign(target=1.0)
    dataset = TableDataset("made up", frame, "target")
    seen = {name: sum(counts["up_to"].values()) for name, counts in scorer.observe_dataset(dataset).items()}
    both = dataset.counts["train"] + dataset.counts["validation"]
    assert seen == {"age": both, "bmi": both, "predicted": dataset.counts["validation"]}
