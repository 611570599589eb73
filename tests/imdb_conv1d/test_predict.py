"""Predictions of two and of many classes: columns, ids, losses, and outputs that are refused."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

from imdb_conv1d import leaks, predict
from imdb_conv1d.experiment import EXPERIMENT
from imdb_conv1d.labels import Classes
from tracked.console.errors import RunFailed
from tracked.experiment import TrainedOn

THREE = Classes(("bill", "card", "other"))
TWO = Classes(("no", "yes"))
TEXTS = ["my bill", "a card", "a card", "thanks"]
OUTPUTS = {"my bill": [0.2, 0.7, 0.1], "a card": [0.1, 0.6, 0.3], "thanks": [0.0, 0.0, 1.0]}


@dataclass(frozen=True)
class MadeUp:
    """A part of four rows in two pieces, one text twice."""

    classes: Classes
    codes: tuple[int, ...]
    source: str = "made up"
    digest: str = "d"

    @property
    def copies(self) -> np.ndarray:
        return pd.concat(self.pieces()).groupby(["hash", "label"]).cumcount().to_numpy()

    def pieces(self) -> Iterator[pd.DataFrame]:
        hashes = [f"h-{text}" for text in TEXTS]
        table = pd.DataFrame({"hash": hashes, "label": self.codes, "text": TEXTS})
        yield from (table[:3], table[3:])


class Answers:
    """A model that looks its answers up."""

    def __init__(self, outputs: dict[str, Any]) -> None:
        self.outputs = outputs

    def predict(self, texts: np.ndarray) -> np.ndarray:
        return np.array([self.outputs[text] for text in texts])


def run(
    outputs: dict[str, Any], part: MadeUp, metadata: dict[str, Any] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    trained_on = TrainedOn(metadata={"labels": list(part.classes.names)} if metadata is None else metadata)
    pieces = list(predict.predict(Answers(outputs), part, trained_on))  # type: ignore[arg-type]
    first, second = (pd.concat(tables, ignore_index=True) for tables in zip(*pieces, strict=True))
    return first, second


def test_predictions_of_many_classes_have_codes_names_and_the_loss_of_the_true_one() -> None:
    table, inputs = run(OUTPUTS, MadeUp(THREE, (0, 1, 1, 0)))
    assert list(table) == [
        "id", "loss", "correct", "key", "text_sha256", "label", "predicted_label", "probability", "class", "predicted",
        "words",
    ]  # fmt: skip
    assert table["id"].tolist() == ["h-my bill-0-bill", "h-a card-0-card", "h-a card-1-card", "h-thanks-0-bill"]
    assert table["label"].tolist() == [0, 1, 1, 0]
    assert table["predicted_label"].tolist() == [1, 1, 1, 2]
    assert table["probability"].tolist() == [0.7, 0.6, 0.6, 1.0]
    assert table["class"].tolist() == ["bill", "card", "card", "bill"]
    assert table["predicted"].tolist() == ["card", "card", "card", "other"]
    assert table["correct"].tolist() == [False, True, True, False]
    assert table["loss"].tolist() == pytest.approx([-np.log(0.2), -np.log(0.6), -np.log(0.6), 52 * np.log(2)])
    assert list(inputs) == ["label", "predicted", "probability", "text", "hash"]
    assert inputs["label"].tolist() == table["class"].tolist()
    assert inputs["text"].tolist() == TEXTS
    assert list(EXPERIMENT.show_worst(inputs, True)) == ["label", "predicted", "probability", "text"]
    assert list(EXPERIMENT.show_worst(inputs, False)) == ["label", "predicted", "probability", "hash"]


ODDS = {"my bill": 0.9, "a card": 0.5, "thanks": 1.0}


def test_predictions_of_two_named_classes_have_the_probability_of_the_positive_one() -> None:
    table, inputs = run(ODDS, MadeUp(TWO, (1, 0, 1, 0)))
    assert table["id"].tolist() == ["h-my bill-0-yes", "h-a card-0-no", "h-a card-0-yes", "h-thanks-0-no"]
    assert table["probability"].tolist() == [0.9, 0.5, 0.5, 1.0]
    assert "predicted_label" not in table
    assert table["class"].tolist() == ["yes", "no", "yes", "no"]
    assert table["predicted"].tolist() == ["yes", "no", "no", "yes"]
    assert table["correct"].tolist() == [True, True, False, False]
    assert table["loss"].tolist() == pytest.approx([-np.log(0.9), np.log(2), np.log(2), 52 * np.log(2)])
    assert list(inputs) == ["label", "predicted", "probability", "text", "hash"]


@pytest.mark.parametrize("metadata", [{}, {"labels": ["0", "1"]}])
def test_predictions_of_zero_and_one_have_no_names(metadata: dict[str, Any]) -> None:
    """Models of earlier versions stored no labels."""
    table, inputs = run(ODDS, MadeUp(Classes(("0", "1")), (1, 0, 1, 0)), metadata)
    assert list(table) == ["id", "loss", "correct", "key", "text_sha256", "label", "probability", "words"]
    assert table["id"].tolist() == ["h-my bill-1", "h-a card-0", "h-a card-1", "h-thanks-0"]
    assert table["label"].dtype == np.int8
    assert list(inputs) == ["label", "probability", "text", "hash"]
    assert inputs["label"].dtype == np.int64
    assert list(EXPERIMENT.show_worst(inputs, True)) == ["label", "probability", "text"]


@pytest.mark.parametrize(("tokens", "seen"), [("words", False), ("characters", True)])
def test_seen_texts_are_found_by_the_models_own_tokens(tokens: str, seen: bool) -> None:
    """By characters, "mybill" is what the model gets of "my bill"; the key of a row is the same for each model."""
    keys = leaks.digest_words(leaks.split_words(["mybill"], tokens), 20)
    rows = pd.DataFrame({"words": keys, "split": "train"})
    rows.attrs["maxlen"] = 20
    part = MadeUp(TWO, (1, 0, 1, 0))
    pieces = predict.predict(
        Answers(ODDS),
        part,
        TrainedOn(rows, metadata={"labels": ["no", "yes"], "tokens": tokens}),  # type: ignore[arg-type]
    )
    table = pd.concat([table for table, _ in pieces])
    assert table["seen"].tolist() == [seen, False, False, False]
    assert table["key"].tolist() == leaks.digest_words(leaks.split_words(TEXTS)).tolist()


@pytest.mark.parametrize(
    ("outputs", "classes", "message"),
    [
        (
            [0.5, 0.5],
            THREE,
            "the model's output for 3 texts has the shape [3, 2], not a column for each of its 3 labels",
        ),
        (0.5, THREE, "the model's output for 3 texts has the shape [3], not a column for each of its 3 labels"),
        ([0.5, 0.4, 0.099], THREE, "does not give probabilities between 0 and 1 with a sum of 1"),
        ([1.5, -0.5, 0.0], THREE, "does not give probabilities between 0 and 1 with a sum of 1"),
        ([np.nan] * 3, THREE, "does not give probabilities between 0 and 1 with a sum of 1"),
        ([0.5, 0.3, 0.2], TWO, "does not give a probability between 0 and 1 for each text"),
        (1.1, TWO, "does not give a probability between 0 and 1 for each text"),
    ],
)
def test_predict_with_an_output_that_does_not_fit_fails(outputs: Any, classes: Classes, message: str) -> None:
    with pytest.raises(RunFailed) as failed:
        run(dict.fromkeys(OUTPUTS, outputs), MadeUp(classes, (0, 1, 1, 0)))
    assert message in str(failed.value)
    assert "\n" not in str(failed.value)


def test_predict_of_a_sum_within_rounding_is_accepted() -> None:
    table, _ = run({text: [0.5, 0.4, 0.1 + 5e-7] for text in OUTPUTS}, MadeUp(THREE, (0, 1, 1, 0)))
    assert table["predicted_label"].tolist() == [0] * 4


@pytest.mark.parametrize(
    ("labels", "difference"),
    [
        (["bill", "card"], "2 -> 3 labels, 'other' only in the second"),
        (["bill", "card", "loan"], "3 labels each, 'loan' only in the first and 'other' only in the second"),
        (["card", "bill", "other"], "another order"),
    ],
)
def test_predict_of_other_labels_than_the_models_fails_before_a_row(labels: list[str], difference: str) -> None:
    with pytest.raises(RunFailed) as failed:
        predict.predict(Answers({}), MadeUp(THREE, (0, 1, 1, 0)), TrainedOn(metadata={"labels": labels}))  # type: ignore[arg-type]
    assert str(failed.value) == f"the labels of made up were read as others than the model's ({difference})"


@pytest.mark.parametrize(
    ("own", "others", "reason"),
    [
        ({}, {}, ""),
        ({}, {"labels": ["0", "1"]}, ""),
        ({"labels": ["a", "b", "c"]}, {"labels": ["a", "b", "c"]}, ""),
        (
            {"labels": ["no", "yes"]},
            {},
            "their labels differ (2 labels each, 'no', 'yes' only in the first and '0', '1' only in the second)",
        ),
        (
            {"labels": ["no", "yes"]},
            {"labels": ["yes", "no"]},
            "their labels differ (another positive label: 'yes' -> 'no')",
        ),
        (
            {"labels": list("abcdefg")},
            {"labels": ["a", "b"]},
            "their labels differ (7 -> 2 labels, 'c', 'd', 'e', 'f', 'g' only in the first)",
        ),
    ],
)
def test_models_of_other_labels_cannot_be_compared(own: dict[str, Any], others: dict[str, Any], reason: str) -> None:
    found = EXPERIMENT.explain_incomparable(own, others)
    assert found.partition("; allowed: ")[0] == reason
    assert found.endswith("train others under another model_name") == bool(reason)


def test_names_of_copies_are_not_those_of_labels_that_end_with_a_number() -> None:
    names = predict.name_rows(["h", "h", "h"], ["x", "x", "x-1"], [0, 1, 0], named=True)
    assert len(set(names)) == 3
    assert predict.name_rows(["h", "h"], [0, 0], [0, 1], named=False) == ["h-0", "h-0-1"]
