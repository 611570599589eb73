import decimal

import numpy as np
import pandas as pd
import pytest

from imdb_conv1d.labels import MAX_CLASSES, Classes, make_classes, map_to_model
from imdb_conv1d.spellings import BOOLEAN, NOT_ALLOWED, NUMBER, TEXT, spell_labels
from tracked.console.errors import UserError


def names_of(*spellings: str, positive_label: str = "auto") -> tuple[str, ...]:
    return make_classes(dict.fromkeys(spellings, 5), positive_label, "made up")[0].names


@pytest.mark.parametrize(
    ("spellings", "names"),
    [
        (("0", "1"), ("0", "1")),
        ((" 1.0", "False", "0", "True ", "0.0"), ("0", "1")),
        (("1", "True"), ("0", "1")),
        (("True", "False", "unknown"), ("False", "True", "unknown")),
        (("no", "yes"), ("no", "yes")),
        (("b", "A", "a b", "Ä"), ("A", "a b", "b", "Ä")),
        (("10", "9", "-1"), ("-1", "9", "10")),
        (("10", "9", "x"), ("10", "9", "x")),
        (("2.0", "10.0", "1.0"), ("1", "2", "10")),
        (("2.0", "10.5"), ("10.5", "2.0")),
        (("01", "2", "10"), ("01", "10", "2")),
        (("0", "2"), ("0", "2")),
        ((" no", "yes"), (" no", "yes")),
    ],
)
def test_make_classes_names_labels_as_the_table_has_them(spellings: tuple[str, ...], names: tuple[str, ...]) -> None:
    classes, of = make_classes(dict.fromkeys(spellings, 5), "auto", "made up")
    assert classes.names == names
    assert set(of) == set(spellings)
    assert set(of.values()) <= set(names)
    assert make_classes(dict.fromkeys(reversed(spellings), 5), "auto", "made up")[0] == classes


def test_make_classes_puts_the_positive_label_last() -> None:
    assert names_of("no", "yes", positive_label="no") == ("yes", "no")
    assert names_of("no", "yes", positive_label="yes") == ("no", "yes")
    assert names_of("0", "1", positive_label="0") == ("1", "0")
    assert names_of("False", "True", positive_label="False") == ("1", "0")


@pytest.mark.parametrize(
    ("counts", "positive_label", "message"),
    [
        ({"x": 9}, "auto", "data: made up has one label only, 'x'; allowed: two labels or more"),
        ({"Yes": 3, "no": 4, "yes ": 1}, "auto", "data: made up has labels that differ only by blanks, case or '.0': "
         "'Yes' (3 rows) and 'yes ' (1 row); allowed: one spelling of each label"),
        ({"a b": 3, "a  b": 4}, "auto", "data: made up has labels that differ only by blanks, case or '.0': "
         "'a  b' (4 rows) and 'a b' (3 rows); allowed: one spelling of each label"),
        ({"2": 3, "2.0": 4, "3": 3}, "auto", "data: made up has labels that differ only by blanks, case or '.0': "
         "'2' (3 rows) and '2.0' (4 rows); allowed: one spelling of each label"),
        ({"é": 3, "e\u0301": 4, "x": 3}, "auto", "data: made up has labels that differ only by blanks, case or '.0': "
         "'e\u0301' (4 rows) and 'é' (3 rows); allowed: one spelling of each label"),
        ({str(row): 1 for row in range(9)}, "auto", "data: made up has 9 labels in 9 rows, as a column of ids has; "
         "allowed: a label that two rows or more have on average, at most 10,000 labels"),
        (dict.fromkeys(map(str, range(MAX_CLASSES + 1)), 2), "auto", "data: made up has 10,001 labels in 20,002 rows, "
         "as a column of ids has; allowed: a label that two rows or more have on average, at most 10,000 labels"),
        ({"no": 3, "yes": 3}, "maybe",
         "positive_label: 'maybe' is not a label of made up; allowed: auto, 'no', 'yes'"),
        ({"a": 3, "b": 3, "c": 3}, "a", "positive_label: 'a' is not allowed with 3 labels; allowed: auto"),
    ],
)  # fmt: skip
def test_make_classes_refuses_what_cannot_be_classes(counts: dict[str, int], positive_label: str, message: str) -> None:
    with pytest.raises(UserError) as refused:
        make_classes(counts, positive_label, "made up")
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("names", "spellings", "expected"),
    [
        (("0", "1"), ("1.0", " 0", "True"), ("1", "0", "1")),
        (("1", "0"), ("1.0", "0"), ("1", "0")),
        (("no", "yes"), ("yes",), ("yes",)),
        (("1", "2", "10"), ("10.0", "2.0"), ("10", "2")),
        (("0", "1", "2"), ("1.0", "0.0"), ("1", "0")),
        (("False", "True", "x"), ("False", "True"), ("False", "True")),
    ],
)
def test_map_to_model_finds_the_label_of_each_spelling(
    names: tuple[str, ...], spellings: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    found = map_to_model(dict.fromkeys(spellings, 1), Classes(names), "made up")
    assert tuple(found[spelling] for spelling in spellings) == expected


def test_map_to_model_names_and_counts_labels_that_the_model_does_not_know() -> None:
    with pytest.raises(UserError) as refused:
        map_to_model({"refund": 12, "no": 3, "yes ": 1}, Classes(("no", "yes")), "a.csv: the column label")
    assert str(refused.value) == (
        "data: a.csv: the column label has 2 labels that the model does not know: 'refund' (12 rows), 'yes ' (1 row); "
        "allowed: 'no', 'yes'"
    )
    many = Classes(tuple(f"l{number}" for number in range(77)))
    with pytest.raises(
        UserError, match=r"7 labels .*: 'x0' \(1 row\), .* and 2 more; allowed: 'l0', .*, 'l4' and 72 more"
    ):
        map_to_model({f"x{number}": 1 for number in range(7)} | {"l0": 3}, many, "a.csv")
    with pytest.raises(UserError, match=r"1 label that the model does not know: 'x' \(2 rows\); allowed: '0', '1'"):
        map_to_model({"1.0": 3, "x": 2}, Classes(("0", "1")), "a.csv")


@pytest.mark.parametrize(
    ("values", "spelled", "kinds"),
    [
        (pd.Series(["a", " ", ""]), ["a", " ", ""], [TEXT, NOT_ALLOWED, NOT_ALLOWED]),
        (pd.Series(["a", None]), ["a", ""], [TEXT, NOT_ALLOWED]),
        (pd.Series(["a", "\ud800"], dtype=object), ["a", "\ud800"], [TEXT, NOT_ALLOWED]),
        (pd.Series(["a", "b"], dtype="category"), ["a", "b"], [TEXT, TEXT]),
        (pd.Series([3, -2]), ["3", "-2"], [NUMBER, NUMBER]),
        (pd.Series([2**64 - 1], dtype="uint64"), ["18446744073709551615"], [NUMBER]),
        (pd.Series([3, None], dtype="Int64"), ["3", ""], [NUMBER, NOT_ALLOWED]),
        (pd.Series([3.0, 0.5, np.nan, np.inf, -0.0, 1e20]), ["3", "", "", "", "0", "1" + 20 * "0"],
         [NUMBER, NOT_ALLOWED, NOT_ALLOWED, NOT_ALLOWED, NUMBER, NUMBER]),
        (pd.Series([True, False]), ["True", "False"], [BOOLEAN, BOOLEAN]),
        (pd.Series([1, True, "x", None, 2.0, [1]], dtype=object), ["1", "True", "x", "", "2", ""],
         [NUMBER, BOOLEAN, TEXT, NOT_ALLOWED, NUMBER, NOT_ALLOWED]),
        (pd.Series([decimal.Decimal("3.00"), decimal.Decimal("0.1")]), ["3", ""], [NUMBER, NOT_ALLOWED]),
        (pd.Series(pd.to_datetime(["2020-01-01"])), [""], [NOT_ALLOWED]),
    ],
)  # fmt: skip
def test_spell_labels_gives_texts_and_kinds(values: pd.Series, spelled: list[str], kinds: list[int]) -> None:
    found, kinds_found = spell_labels(values)
    assert kinds_found.tolist() == kinds
    assert [value for value, kind in zip(found, kinds, strict=True) if kind != NOT_ALLOWED] == [
        value for value, kind in zip(spelled, kinds, strict=True) if kind != NOT_ALLOWED
    ]
