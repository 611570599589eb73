"""A table of numbers as data: which rows are in which part, whatever their order, and what they are called."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tracked.console.errors import UserError
from tracked.experiment import PARTS, TrainedOn
from tracked.training.table_dataset import TableDataset

NUMBERS = st.one_of(st.sampled_from([0.0, -0.0, 1.0, 2.0]), st.floats(-1e6, 1e6, width=32))
SHARES = st.floats(0.15, 0.6)


@st.composite
def tables(draw: st.DrawFn) -> np.ndarray:
    """Rows of three numbers, some of them several times."""
    values = draw(arrays.arrays(np.float64, (draw(st.integers(10, 30)), 3), elements=NUMBERS, fill=st.nothing()))
    copies = draw(st.lists(st.integers(0, len(values) - 1), max_size=10))
    signs = draw(st.sampled_from([1.0, -1.0]))  # -0 equals 0
    more = np.where(values[copies] == 0, signs * values[copies], values[copies])
    return np.concatenate([values, more])


TABLES = tables()


def frame(values: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(values, columns=["a", "b", "y"])


def dataset(table: pd.DataFrame, test: float = 0.2, validation: float = 0.2) -> TableDataset:
    """The data; where a part has no row, the example is another one."""
    try:
        return TableDataset("made up", table, "y", test, validation)
    except UserError:
        assume(False)
        raise


def distinct(rows: int, seed: int = 0) -> pd.DataFrame:
    return frame(np.random.default_rng(seed).normal(size=(rows, 3)))


@given(TABLES, SHARES, SHARES, st.integers(0, 2**32 - 1), st.sampled_from(["labels go along", "new", "all the same"]))
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_rows_changes_nothing(
    values: np.ndarray, test: float, validation: float, seed: int, labels: str
) -> None:
    one = dataset(frame(values), test, validation)
    mixed = frame(values).sample(frac=1, random_state=seed)
    if labels == "new":
        mixed = mixed.reset_index(drop=True)
    elif labels == "all the same":  # as of tables that were put together
        mixed = mixed.set_axis(np.zeros(len(mixed), dtype=int))
    other = dataset(mixed, test, validation)
    assert other.digest == one.digest
    assert other.counts == one.counts
    rows = [made.rows(None).sort_values("id", ignore_index=True) for made in (one, other)]
    assert rows[0]["split"].tolist() == rows[1]["split"].tolist()
    assert rows[0]["id"].tolist() == rows[1]["id"].tolist()
    for name in PARTS:
        for mine, theirs in zip(one.arrays(name), other.arrays(name), strict=True):
            assert mine.dtype == theirs.dtype == np.float32
            np.testing.assert_array_equal(mine, theirs)
        first, second = one.part(name), other.part(name)
        assert (first.ids, first.rows_digest, first.count) == (second.ids, second.rows_digest, second.count)
        np.testing.assert_array_equal(first.inputs.to_numpy(), second.inputs.to_numpy())


@given(TABLES, SHARES, SHARES)
@settings(max_examples=60, deadline=None)
def test_equal_rows_are_in_one_part_and_each_row_has_its_own_name(
    values: np.ndarray, test: float, validation: float
) -> None:
    made = dataset(frame(values), test, validation)
    assert made.ids.is_unique
    assert set(made.split) == set(PARTS)
    table = frame(values).assign(split=made.split)
    assert (table.groupby(["a", "b", "y"])["split"].nunique() == 1).all()  # to pandas, -0 is 0
    names = made.ids.str[:64]
    assert names.nunique() == len(table.groupby(["a", "b", "y"]))


@given(TABLES, SHARES, SHARES)
@settings(max_examples=60, deadline=None)
def test_the_arrays_of_the_parts_are_the_table(values: np.ndarray, test: float, validation: float) -> None:
    made = dataset(frame(values), test, validation)
    parts = [np.hstack(made.arrays(name)) for name in PARTS]
    assert [len(part) for part in parts] == list(made.counts.values()) == [made.part(name).count for name in PARTS]
    found, expected = np.concatenate(parts), values.astype(np.float32)
    assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, expected.tolist()))
    for name in PARTS:
        np.testing.assert_array_equal(made.part(name).inputs.to_numpy(dtype=np.float32), parts[PARTS.index(name)])


@given(st.integers(5, 300), SHARES, SHARES, st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_each_part_has_its_share_of_rows_that_differ(rows: int, test: float, validation: float, seed: int) -> None:
    held = round(rows * test)
    expected = {"test": held, "validation": round((rows - held) * validation)}
    expected["train"] = rows - sum(expected.values())
    if min(expected.values()) == 0:
        with pytest.raises(UserError, match="made up has no rows in its"):
            TableDataset("made up", distinct(rows, seed), "y", test, validation)
        return
    assert TableDataset("made up", distinct(rows, seed), "y", test, validation).counts == expected


@given(TABLES, SHARES, SHARES)
@settings(max_examples=60, deadline=None)
def test_copies_on_the_border_of_two_parts_make_the_former_larger_by_less_than_their_number(
    values: np.ndarray, test: float, validation: float
) -> None:
    made = dataset(frame(values), test, validation)
    most = int(made.ids.str[:64].value_counts().max())
    held = round(len(values) * test)
    assert held <= made.counts["test"] < held + most
    both = held + round((len(values) - held) * validation)
    assert both <= made.counts["test"] + made.counts["validation"] < both + most


def test_more_rows_leave_those_that_were_there_in_their_order() -> None:
    """A row's place follows from what is in it: only the borders move."""
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
def test_too_few_rows_are_refused_in_one_line(rows: int, test: float, validation: float, part: str) -> None:
    with pytest.raises(UserError) as refused:
        TableDataset("made up", distinct(rows), "y", test, validation)
    assert str(refused.value) == f"data: made up has no rows in its {part} part; allowed: data with more rows"


def test_a_table_of_one_row_many_times_cannot_be_divided() -> None:
    with pytest.raises(UserError, match=r"made up has no rows in its train part; allowed: data with more rows"):
        TableDataset("made up", frame(np.ones((100, 3))), "y")


def test_the_digest_sees_every_number_and_every_name() -> None:
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
    assert TableDataset("elsewhere", table, "y").digest in digests  # the place is none of its content


def test_what_a_model_has_seen_is_told_by_the_rows_and_not_by_their_data() -> None:
    table = distinct(50)
    trained = TableDataset("made up", table, "y")
    known = TrainedOn(trained.rows(None))
    assert not any(trained.part("test").seen(known))
    assert all(trained.part("train").seen(known))
    assert all(trained.part("validation").seen(known))
    # The same rows with copies, among others: a second copy is seen as well, and of others it is not known.
    more = TableDataset("more", pd.concat([table, table, distinct(50, seed=1)]), "y")
    there, own = set(trained.ids), set(trained.rows(None).query("split != 'test'")["id"])
    parts = [more.part(part) for part in PARTS]
    found = {name: seen for part in parts for name, seen in zip(part.ids, part.seen(known), strict=True)}
    assert found == {name: name[:64] in own if name[:64] in there else None for name in more.ids}
    assert sum(seen is True for seen in found.values()) == 2 * len(own) == 80


@pytest.mark.parametrize("rows", [None, pd.DataFrame({"id": ["a"]}), pd.DataFrame({"split": ["train"]})])
def test_what_a_model_has_seen_is_unknown_without_the_table_of_its_rows(rows: pd.DataFrame | None) -> None:
    assert TableDataset("made up", distinct(50), "y").part("test").seen(TrainedOn(rows)) == [None] * 10


def test_a_row_that_the_trainings_table_lacks_is_not_known_to_be_unseen() -> None:
    table = distinct(50)
    trained = TableDataset("made up", table, "y")
    rounded = TableDataset("made up", table + 1e-9, "y").part("test")
    assert set(rounded.seen(TrainedOn(trained.rows(None)))) == {None}
    assert set(trained.part("test").seen(TrainedOn(trained.rows(None)))) == {False}


def test_equal_rows_have_one_key() -> None:
    table = pd.concat([distinct(50)] * 3, ignore_index=True)
    part = TableDataset("made up", table, "y").part("test")
    assert len(set(part.ids)) == part.count == 3 * len(set(part.keys))


def test_the_share_that_validates_leaves_the_digest_as_it_is() -> None:
    first, second = (TableDataset("made up", distinct(50), "y", validation=share) for share in (0.2, 0.5))
    assert first.digest == second.digest
    assert first.part("test").ids == second.part("test").ids
    assert first.digest != TableDataset("made up", distinct(50), "y", test=0.4).digest
