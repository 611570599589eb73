"""A table of numbers as a dataset: the parts and ids of rows, whatever their order."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tracked.console.errors import UserError
from tracked.experiment import PARTS, TrainedOn
from tracked.training.table_dataset import TableDataset

pytestmark = pytest.mark.unit

NUMBERS = st.one_of(st.sampled_from([0.0, -0.0, 1.0, 2.0]), st.floats(-1e6, 1e6, width=32))
SHARES = st.floats(0.15, 0.6)


@st.composite
def tables(draw: st.DrawFn) -> np.ndarray:
    """Rows of three numbers, some repeated."""
    values = draw(arrays.arrays(np.float64, (draw(st.integers(10, 30)), 3), elements=NUMBERS, fill=st.nothing()))
    copies = draw(st.lists(st.integers(0, len(values) - 1), max_size=10))
    signs = draw(st.sampled_from([1.0, -1.0]))  # -0 equals 0
    repeated = np.where(values[copies] == 0, signs * values[copies], values[copies])
    return np.concatenate([values, repeated])


TABLES = tables()


def frame(values: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(values, columns=["a", "b", "y"])


def dataset(table: pd.DataFrame, test: float = 0.2, validation: float = 0.2) -> TableDataset:
    """Make the dataset; Hypothesis draws again if a part has no row."""
    try:
        return TableDataset("made up", table, "y", test, validation)
    except UserError:
        assume(False)
        raise


def distinct(rows: int, seed: int = 0) -> pd.DataFrame:
    return frame(np.random.default_rng(seed).normal(size=(rows, 3)))


@given(TABLES, SHARES, SHARES, st.integers(0, 2**32 - 1), st.sampled_from(["labels go along", "new", "all the same"]))
def test_dataset_with_rows_in_another_order_is_equal(
    values: np.ndarray, test: float, validation: float, seed: int, labels: str
) -> None:
    first = dataset(frame(values), test, validation)
    mixed = frame(values).sample(frac=1, random_state=seed)
    if labels == "new":
        mixed = mixed.reset_index(drop=True)
    elif labels == "all the same":  # as in concatenated tables
        mixed = mixed.set_axis(np.zeros(len(mixed), dtype=int))
    other = dataset(mixed, test, validation)
    assert other.digest == first.digest
    assert other.counts == first.counts
    rows = [data.rows(None).sort_values("id", ignore_index=True) for data in (first, other)]
    assert rows[0]["split"].tolist() == rows[1]["split"].tolist()
    assert rows[0]["id"].tolist() == rows[1]["id"].tolist()
    for name in PARTS:
        for a, b in zip(first.arrays(name), other.arrays(name), strict=True):
            assert a.dtype == b.dtype == np.float32
            np.testing.assert_array_equal(a, b)
        part, other_part = first.part(name), other.part(name)
        assert (part.ids, part.rows_digest, part.count) == (other_part.ids, other_part.rows_digest, other_part.count)
        np.testing.assert_array_equal(part.inputs.to_numpy(), other_part.inputs.to_numpy())


@given(TABLES, SHARES, SHARES)
def test_equal_rows_are_in_one_part_and_have_different_ids(values: np.ndarray, test: float, validation: float) -> None:
    data = dataset(frame(values), test, validation)
    assert data.ids.is_unique
    assert set(data.split) == set(PARTS)
    table = frame(values).assign(split=data.split)
    assert (table.groupby(["a", "b", "y"])["split"].nunique() == 1).all()  # to pandas, -0 is 0
    keys = data.ids.str[:64]
    assert keys.nunique() == len(table.groupby(["a", "b", "y"]))


@given(TABLES, SHARES, SHARES)
def test_arrays_of_all_parts_are_the_table(values: np.ndarray, test: float, validation: float) -> None:
    data = dataset(frame(values), test, validation)
    parts = [np.hstack(data.arrays(name)) for name in PARTS]
    assert [len(part) for part in parts] == list(data.counts.values()) == [data.part(name).count for name in PARTS]
    rows, expected = np.concatenate(parts), values.astype(np.float32)
    assert sorted(map(tuple, rows.tolist())) == sorted(map(tuple, expected.tolist()))
    for name in PARTS:
        np.testing.assert_array_equal(data.part(name).inputs.to_numpy(dtype=np.float32), parts[PARTS.index(name)])


@given(st.integers(5, 300), SHARES, SHARES, st.integers(0, 1000))
def test_parts_of_different_rows_have_their_shares(rows: int, test: float, validation: float, seed: int) -> None:
    tested = round(rows * test)
    expected = {"test": tested, "validation": round((rows - tested) * validation)}
    expected["train"] = rows - sum(expected.values())
    if min(expected.values()) == 0:
        with pytest.raises(UserError, match="made up has no rows in its"):
            TableDataset("made up", distinct(rows, seed), "y", test, validation)
        return
    assert TableDataset("made up", distinct(rows, seed), "y", test, validation).counts == expected


@given(TABLES, SHARES, SHARES)
def test_copies_at_the_border_of_two_parts_enlarge_the_former_by_less_than_their_number(
    values: np.ndarray, test: float, validation: float
) -> None:
    data = dataset(frame(values), test, validation)
    max_copies = int(data.ids.str[:64].value_counts().max())
    tested = round(len(values) * test)
    assert tested <= data.counts["test"] < tested + max_copies
    both = tested + round((len(values) - tested) * validation)
    assert both <= data.counts["test"] + data.counts["validation"] < both + max_copies


def test_split_with_more_rows_keeps_the_order_of_the_earlier_rows() -> None:
    """A row's position follows from its values: only the borders of the parts move."""
    table = distinct(100)
    before = TableDataset("made up", table.iloc[:80], "y").rows(None)
    after = TableDataset("made up", table, "y").rows(None).iloc[:80]
    assert before["id"].tolist() == after["id"].tolist()
    order = {"test": 0, "validation": 1, "train": 2}
    for rows in (before, after):
        assert rows.sort_values("id")["split"].map(order).is_monotonic_increasing


@pytest.mark.parametrize(
    ("rows", "test", "validation", "part"),
    [(1, 0.5, 0.5, "validation"), (3, 0.1, 0.5, "test"), (4, 0.5, 0.1, "validation"), (2, 0.9, 0.5, "train"),
     (0, 0.2, 0.2, "train")],
)  # fmt: skip
def test_dataset_with_too_few_rows_is_refused_in_one_line(rows: int, test: float, validation: float, part: str) -> None:
    with pytest.raises(UserError) as error:
        TableDataset("made up", distinct(rows), "y", test, validation)
    assert str(error.value) == f"data: made up has no rows in its {part} part; allowed: data with more rows"


def test_dataset_of_one_repeated_row_is_refused() -> None:
    with pytest.raises(UserError, match=r"made up has no rows in its train part; allowed: data with more rows"):
        TableDataset("made up", frame(np.ones((100, 3))), "y")


def test_dataset_with_an_unknown_target_or_texts_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^target: 'digit' is not a column of made up$"):
        TableDataset("made up", distinct(30), "digit")
    with pytest.raises(ValueError, match=r"^made up: column 'y' is not numeric; convert it to numbers$"):
        TableDataset("made up", distinct(30).astype({"y": str}), "y")


def test_digest_after_any_change_of_values_or_names_differs() -> None:
    table = distinct(30)
    digests = {TableDataset("made up", table, "y").digest}
    for row in (0, 29):
        for column in table:
            changed = table.copy()
            changed.loc[row, column] = np.nextafter(changed.loc[row, column], np.inf)
            digests.add(TableDataset("made up", changed, "y").digest)
    digests.add(TableDataset("made up", table.rename(columns={"a": "c"}), "y").digest)
    digests.add(TableDataset("made up", pd.concat([table, table[:1]]), "y").digest)
    assert len(digests) == 9
    assert TableDataset("elsewhere", table, "y").digest in digests  # the source is not content


def test_seen_rows_in_another_dataset_are_recognized() -> None:
    table = distinct(50)
    trained = TableDataset("made up", table, "y")
    known = TrainedOn(trained.rows(None))
    assert not any(trained.part("test").seen(known))
    assert all(trained.part("train").seen(known))
    assert all(trained.part("validation").seen(known))
    # The same rows with copies, among others: a copy is seen as well, and other rows are unknown.
    larger = TableDataset("larger", pd.concat([table, table, distinct(50, seed=1)]), "y")
    ids, seen_ids = set(trained.ids), set(trained.rows(None).query("split != 'test'")["id"])
    parts = [larger.part(part) for part in PARTS]
    seen = {name: flag for part in parts for name, flag in zip(part.ids, part.seen(known), strict=True)}
    assert seen == {name: name[:64] in seen_ids if name[:64] in ids else None for name in larger.ids}
    assert sum(flag is True for flag in seen.values()) == 2 * len(seen_ids) == 80


@pytest.mark.parametrize("rows", [None, pd.DataFrame({"id": ["a"]}), pd.DataFrame({"split": ["train"]})])
def test_seen_without_the_trainings_rows_is_unknown(rows: pd.DataFrame | None) -> None:
    assert TableDataset("made up", distinct(50), "y").part("test").seen(TrainedOn(rows)) == [None] * 10


def test_seen_of_a_row_that_the_training_lacks_is_unknown() -> None:
    table = distinct(50)
    trained = TableDataset("made up", table, "y")
    rounded = TableDataset("made up", table + 1e-9, "y").part("test")
    assert set(rounded.seen(TrainedOn(trained.rows(None)))) == {None}
    assert set(trained.part("test").seen(TrainedOn(trained.rows(None)))) == {False}


def test_equal_rows_have_equal_keys() -> None:
    table = pd.concat([distinct(50)] * 3, ignore_index=True)
    part = TableDataset("made up", table, "y").part("test")
    assert len(set(part.ids)) == part.count == 3 * len(set(part.keys))


def test_digest_with_another_validation_share_is_equal() -> None:
    first, second = (TableDataset("made up", distinct(50), "y", validation=share) for share in (0.2, 0.5))
    assert first.digest == second.digest
    assert first.part("test").ids == second.part("test").ids
    assert first.digest != TableDataset("made up", distinct(50), "y", test=0.4).digest
