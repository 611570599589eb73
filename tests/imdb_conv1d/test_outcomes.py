"""Outcomes read from predictions of labels 0 and 1, of two named ones and of more."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from imdb_conv1d.outcomes import Outcomes


def make_predictions(label: list[int], probability: list[float], **columns: Any) -> pd.DataFrame:
    """Make a table of predictions; each row is a text of its own unless ``key`` says otherwise."""
    n = len(label)
    table = {"id": [f"row {i}" for i in range(n)], "loss": [0.5] * n, "key": [f"text {i}" for i in range(n)]}
    return pd.DataFrame(table | {"label": label, "probability": probability} | columns)


def test_labels_0_and_1_need_no_names() -> None:
    found = Outcomes.of(make_predictions([0, 1, 1], [0.5, 0.51, 0.2]))
    assert (found.classes.names, found.is_binary) == (("0", "1"), True)
    assert (found.true.tolist(), found.predicted.tolist()) == ([0, 1, 1], [0, 1, 0])
    assert found.right.tolist() == [True, True, False]


def test_two_named_labels_keep_their_codes_when_one_is_never_predicted() -> None:
    table = make_predictions([1, 0], [0.9, 0.8], **{"class": ["yes", "no"], "predicted": ["yes", "yes"]})
    found = Outcomes.of(table)
    assert (found.classes.names, found.codes.tolist()) == (("no", "yes"), [0, 1])
    assert (found.true.tolist(), found.predicted.tolist(), found.is_binary) == ([1, 0], [1, 1], True)


def test_classes_of_many_are_those_that_occur_by_code() -> None:
    table = make_predictions(
        [7, 3, 300], [0.9, 0.8, 0.1], predicted_label=[7, 12, 3],
        **{"class": ["seven", "a", "z"], "predicted": ["seven", "-12", "a"]},
    )  # fmt: skip
    found = Outcomes.of(table)
    assert found.classes.names == ("a", "seven", "-12", "z")
    assert found.codes.tolist() == [3, 7, 12, 300]
    assert (found.true.tolist(), found.predicted.tolist()) == ([1, 0, 3], [1, 2, 0])
    assert not found.is_binary


def test_two_classes_of_many_are_not_binary() -> None:
    table = make_predictions(
        [1, 2], [0.9, 0.8], predicted_label=[1, 2], **{"class": ["a", "b"], "predicted": ["a", "b"]}
    )
    assert not Outcomes.of(table).is_binary


def test_some_rows_are_read_like_all() -> None:
    """As for the unseen rows, whose index has gaps."""
    table = make_predictions([0, 1, 1, 0], [0.1, 0.9, 0.2, 0.7])[1:].iloc[::2]
    found = Outcomes.of(table)
    assert (found.true.tolist(), found.predicted.tolist(), found.ids.tolist()) == ([1, 0], [1, 1], ["row 1", "row 3"])


@pytest.mark.parametrize("label", [np.int8, np.int64])
def test_copies_are_counted_by_text(label: type) -> None:
    table = make_predictions([0, 0, 0, 1], [0.1, 0.1, 0.9, 0.9], key=["a", "a", "b", "b"])
    counts = Outcomes.of(table.astype({"label": label})).by_text
    assert counts.to_dict("list") == {
        "class": [0, 0, 1], "text": [0, 1, 1], "support": [2, 1, 1], "predicted": [2, 0, 2], "hits": [2, 0, 1],
        "either": [2, 1, 2],
    }  # fmt: skip
