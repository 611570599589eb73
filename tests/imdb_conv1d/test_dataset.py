import hashlib

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.reviews import make_reviews
from imdb_conv1d import dataset
from imdb_conv1d.sources import Source
from tracked.console.errors import UserError
from tracked.experiment import PARTS


def source_of(table: pd.DataFrame, pieces: int = 7) -> Source:
    if "split" not in table:
        table = table.assign(split="")
    return Source("made up", "", lambda: (table.iloc[at : at + pieces] for at in range(0, len(table), pieces)))


ROWS = st.lists(
    st.tuples(st.sampled_from("abcdefghijkl"), st.integers(0, 1), st.sampled_from(["", "train", "validation", "test"])),
    min_size=1,
    max_size=40,
)


def index_of(rows: list[tuple[str, int, str]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["text", "label", "split"])
    return table.assign(hash=[hashlib.sha256(text.encode()).hexdigest() for text in table["text"]])


@given(ROWS, st.floats(0.05, 0.95))
@settings(max_examples=300, deadline=None)
def test_assign_parts_puts_no_text_in_two_parts(rows: list[tuple[str, int, str]], validation_split: float) -> None:
    index = index_of(rows)
    part = dataset.assign_parts(index, validation_split)
    for _, group in index.assign(part=part).groupby("hash"):
        kept = group[group["part"].isin(PARTS)]
        assert kept["part"].nunique() <= 1
        if "test" not in set(kept["part"]):
            assert len(kept) <= 1
    given_test = index["split"] == "test"
    if given_test.any():  # a test part of the source stays as it is
        assert ((part == "test") == given_test).all()
    if (index["split"] == "validation").any():
        assert (part[index["split"] != "validation"] != "validation").all()


@given(ROWS, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_assign_parts_of_reordered_rows_gives_the_same_parts(rows: list[tuple[str, int, str]], chance: object) -> None:
    index = index_of(rows)
    mixed = index.sample(frac=1, random_state=chance.randrange(2**31))  # type: ignore[attr-defined]
    columns = ["hash", "label", "split", "part"]
    one = index.assign(part=dataset.assign_parts(index, 0.3))[columns].sort_values(columns)
    other = mixed.assign(part=dataset.assign_parts(mixed, 0.3))[columns].sort_values(columns)
    assert one.to_numpy().tolist() == other.to_numpy().tolist()
    assert dataset.digest_rows(index) == dataset.digest_rows(mixed)


def test_assign_parts_gives_each_part_its_share_of_each_label() -> None:
    reviews = dataset.load(source_of(make_reviews(1000)), 0.25)
    assert reviews.counts == {"train": 600, "validation": 200, "test": 200}
    assert all(reviews.part(part)["label"].mean() == 0.5 for part in PARTS)
    assert reviews.dropped == {}


def test_test_part_depends_on_the_texts_alone() -> None:
    table = make_reviews(300)
    parts = [set(dataset.load(source_of(table), split).part("test")["text"]) for split in (0.1, 0.5, 0.9)]
    assert parts[0] == parts[1] == parts[2]


def test_assign_parts_holds_out_the_smallest_hashes() -> None:
    reviews = dataset.load(source_of(make_reviews(100)), 0.25).table
    for _, group in reviews.groupby("label"):
        bounds = group.groupby("split")["hash"].agg(["min", "max"])
        assert bounds.loc["test", "max"] < bounds.loc["validation", "min"]
        assert bounds.loc["validation", "max"] < bounds.loc["train", "min"]


def test_load_of_any_order_and_pieces_gives_the_same_table() -> None:
    table = make_reviews(90)
    one = dataset.load(source_of(table, 90), 0.2)
    other = dataset.load(source_of(table.iloc[::-1], 4), 0.2)
    pd.testing.assert_frame_equal(one.table, other.table)
    assert one.digest == other.digest


def test_load_counts_dropped_rows_by_reason() -> None:
    table = make_reviews(60).assign(split="train")
    table.loc[:19, "split"] = "test"
    extra = [
        *(table.iloc[row].to_dict() for row in (30, 31, 31)),  # copies within training
        *(table.iloc[row].to_dict() | {"split": "train"} for row in (0, 1)),  # copies of test texts
        table.iloc[40].to_dict() | {"label": 1 - table.iloc[40]["label"]},  # a text with both labels
        table.iloc[2].to_dict(),  # a copy within the test part, which stays
    ]
    reviews = dataset.load(source_of(pd.concat([table, pd.DataFrame(extra)], ignore_index=True)), 0.25)
    assert reviews.dropped == {"copies": 3, "copies of test texts": 2, "texts with both labels": 2}
    assert reviews.counts["test"] == 21


def test_digest_changes_with_every_text_and_label() -> None:
    table = make_reviews(50)
    digests = {dataset.digest_rows(dataset.index_rows(source_of(table)))}
    for row in (0, 25, 49):
        for change in ({"text": "another text"}, {"label": 1 - table["label"][row]}):
            changed = table.copy()
            for name, value in change.items():
                changed.loc[row, name] = value
            digests.add(dataset.digest_rows(dataset.index_rows(source_of(changed))))
    assert len(digests) == 7
    assert dataset.load(source_of(table), 0.2).digest in digests


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (make_reviews(40).query("label == 1"), "made up leaves no review of label 0 in the train part"),
        (make_reviews(2), "leaves no review of label"),
        (make_reviews(40).assign(split="test"), "leaves no review of label 0 in the train part"),
        (make_reviews(40).iloc[:0], "made up has no rows"),
        (make_reviews(40).assign(text=" "), r"made up, row 1: text is not allowed; allowed: a text that is not empty"),
        (make_reviews(40).assign(label=[0] * 20 + [2] * 20), r"row 21: label '2' is not allowed; allowed: 0 or 1"),
        (make_reviews(40).assign(label="positive"), r"row 1: label 'positive' is not allowed"),
        (make_reviews(40).assign(label=0.5), r"row 1: label '0.5' is not allowed"),
        (make_reviews(40).assign(split="dev"), r"row 1: split 'dev' is not allowed; allowed: train, validation, test"),
        (make_reviews(40).assign(text=1), "the column text holds int64; allowed: texts"),
    ],
)
def test_load_of_unusable_data_is_refused(table: pd.DataFrame, message: str) -> None:
    with pytest.raises(UserError, match=message):
        dataset.load(source_of(table), 0.2)
