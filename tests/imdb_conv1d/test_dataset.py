import hashlib
import random
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.reviews import index_of, make_reviews, read_part
from helpers.shown_progress import record_progress
from imdb_conv1d import dataset, text_index
from imdb_conv1d.parameters import TrainParameters
from imdb_conv1d.sources import Source
from imdb_conv1d.splitting import REASONS, assign_parts
from imdb_conv1d.text_index import TextIndex, hash_texts, to_hex
from tracked.console.errors import RunFailed, UserError
from tracked.experiment import PARTS


def source_of(table: pd.DataFrame, pieces: int = 7) -> Source:
    if "split" not in table:
        table = table.assign(split="")
    return Source("made up", "", lambda: (table.iloc[at : at + pieces] for at in range(0, len(table), pieces)))


def rows_of(labels: st.SearchStrategy[str]) -> st.SearchStrategy[pd.DataFrame]:
    row = st.tuples(st.sampled_from("abcdefghijkl"), labels, st.sampled_from(["", "train", "validation", "test"]))
    rows = st.lists(row, min_size=1, max_size=40)
    return rows.map(lambda rows: pd.DataFrame(rows, columns=["text", "label", "split"]))


ROWS = rows_of(st.sampled_from("01"))
MANY = rows_of(st.sampled_from(["ant", "bee", "cat", "dog"]))
NAMES = [*PARTS, *REASONS.values()]


def index(table: pd.DataFrame) -> TextIndex:
    labels = ("0", "1") if set(table["label"]) <= {"0", "1"} else ("ant", "bee", "cat", "dog")
    return index_of(source_of(table, 50), labels)


def parts_of(table: pd.DataFrame, validation_split: float, test_split: float = 0.2) -> pd.Series:
    return pd.Series([NAMES[code] for code in assign_parts(index(table), validation_split, test_split)], dtype=object)


def expected_parts(table: pd.DataFrame, validation_split: float) -> pd.Series:
    """Assign parts by the rules in words, as the first version of the project did: with tables of texts."""
    rows = table.assign(hash=[hashlib.sha256(text.encode()).hexdigest() for text in table["text"]])
    given_split, hashes = rows["split"], rows["hash"]
    part = pd.Series("train", index=rows.index, dtype=object)
    is_test = given_split == "test"
    part[is_test] = "test"
    part[~is_test & hashes.isin(hashes[is_test])] = "copies of test texts"
    free = rows[part == "train"]
    part[free.index[free.groupby("hash")["label"].transform("nunique") > 1]] = "texts with both labels"
    free = rows[part == "train"].sort_values("split", ascending=False, kind="stable")
    part[free.index[free.duplicated("hash")]] = "copies"
    part[(part == "train") & (given_split == "validation")] = "validation"
    for name, share, taken in (
        ("test", 0.2, is_test.any()), ("validation", validation_split, (given_split == "validation").any())
    ):  # fmt: skip
        for _, group in rows[part == "train"].sort_values("hash").groupby("label"):
            size = max(round(len(group) * share), 1) if len(group) > 1 else 0
            part[group.index[: 0 if taken else size]] = name
    return part


@given(st.one_of(ROWS, MANY), st.floats(0.05, 0.95))
def test_assign_parts_equals_the_rules_of_the_first_version(rows: pd.DataFrame, validation_split: float) -> None:
    assert parts_of(rows, validation_split).tolist() == expected_parts(rows, validation_split).tolist()


@given(ROWS, st.floats(0.05, 0.95))
def test_assign_parts_puts_no_text_in_two_parts(rows: pd.DataFrame, validation_split: float) -> None:
    part = parts_of(rows, validation_split)
    for _, group in rows.assign(part=part).groupby("text"):
        kept = group[group["part"].isin(PARTS)]
        assert kept["part"].nunique() <= 1
        if "test" not in set(kept["part"]):
            assert len(kept) <= 1
    given_test = rows["split"] == "test"
    if given_test.any():  # a test part of the source stays as it is
        assert ((part == "test") == given_test).all()
    if (rows["split"] == "validation").any():
        assert (part[rows["split"] != "validation"] != "validation").all()


@given(st.one_of(ROWS, MANY), st.randoms(use_true_random=False))
def test_assign_parts_of_reordered_rows_gives_the_same_parts(rows: pd.DataFrame, chance: random.Random) -> None:
    mixed = rows.sample(frac=1, random_state=chance.randrange(2**31)).reset_index(drop=True)
    columns = ["text", "label", "split", "part"]
    one = rows.assign(part=parts_of(rows, 0.3))[columns].sort_values(columns)
    other = mixed.assign(part=parts_of(mixed, 0.3))[columns].sort_values(columns)
    assert one.to_numpy().tolist() == other.to_numpy().tolist()
    assert index(rows).digest() == index(mixed).digest()


def made_up(rows: int, seed: int, splits: list[str]) -> pd.DataFrame:
    """Make rows with copies, texts under both labels and splits of their own."""
    chance = random.Random(seed)
    texts = [f"text {chance.randrange(rows)} é" for _ in range(rows)]
    labels = [int(chance.random() < 0.4) for _ in texts]
    return pd.DataFrame({"text": texts, "label": labels, "split": [chance.choice(splits) for _ in texts]})


LITERALS = {  # of a version that held whole tables: digest, rows of each part, dropped rows, digest of the test rows
    "plain": (
        "b722d4a1f7e23a3618105bfc6f9e5cc03ce30e97a1199f0949d93bef1c41a7b5",
        [28, 12, 10],
        {},
        "58dba464af69d0be378fb566f630e1e3bdc8612b7252b43334be0a747fe03b33",
    ),
    "copies": (
        "dddc5b86d6a6894ed48e0d555c6ad02c2f023adb0b922a4604de22b83eb77420",
        [86, 36, 31],
        {"copies": 41, "texts with both labels": 106},
        "a269d358857d369a3f6d713582fd8266e374815e61483502fee8e26e60d96a89",
    ),
    "splits": (
        "402915bcd0b8644c4ddb3567c84498bacd52369c4e8bb605835dad7c4bb7428a",
        [49, 38, 83],
        {"copies": 24, "copies of test texts": 56, "texts with both labels": 50},
        "ed86e0d28464a809892dec46f630698fade42b147bc6dd079cba7ffdb89b18df",
    ),
    "no test": (
        "498d0cac21b4b9b8717fd5a1c840248bb1bd92c81146d4b1bf2caa12998855e9",
        [47, 79, 12],
        {"copies": 46, "texts with both labels": 116},
        "0e7b7c7596177573c456548c68604f78d6e926d48e0210804bb06da138a594b7",
    ),
}


@pytest.mark.parametrize("name", LITERALS)
def test_digests_and_parts_of_zero_and_one_stay_those_of_earlier_versions(name: str) -> None:
    table = {
        "plain": make_reviews(50),
        "copies": made_up(300, 1, [""]),
        "splits": made_up(300, 2, ["", "train", "validation", "test"]),
        "no test": made_up(300, 3, ["train", "validation"]),
    }[name]
    texts = dataset.load(source_of(table), 0.3)
    test_rows = texts.index.digest(texts.assigned == PARTS.index("test"), with_splits=False)
    assert (texts.digest, list(texts.counts.values()), texts.dropped, test_rows) == LITERALS[name]


def test_digest_of_other_labels_cannot_be_taken_for_another_table() -> None:
    """Joined without marks, the label "a" with the split "test" would be the label "atest" without one."""
    one = pd.DataFrame({"text": list("xyz"), "label": ["a", "b", "b"], "split": ["test", "", ""]})
    other = one.assign(label=["atest", "b", "b"], split="")
    assert index_of(source_of(one), ("a", "b")).digest() != index_of(source_of(other), ("atest", "b")).digest()


def test_digest_depends_on_labels_and_not_on_their_codes() -> None:
    source = source_of(make_reviews(50))
    assert index_of(source, ("0", "1")).digest() == index_of(source, ("1", "0")).digest()
    named = source_of(make_reviews(50).replace({"label": {0: "no", 1: "yes"}}))
    assert index_of(named, ("no", "yes")).digest() == index_of(named, ("yes", "no")).digest()
    assert index_of(named, ("no", "yes")).digest() != index_of(source).digest()


def test_hashes_that_end_in_zero_bytes_keep_them() -> None:
    text = next(text for text in map(str, range(2000)) if hashlib.sha256(text.encode()).digest()[-1] == 0)
    hashes = hash_texts(["before", text, "after"])
    assert to_hex(hashes) == [hashlib.sha256(one.encode()).hexdigest() for one in ("before", text, "after")]
    assert to_hex(hashes[1:2]) == [hashlib.sha256(text.encode()).hexdigest()]


def test_assign_parts_gives_each_part_its_share_of_each_label() -> None:
    reviews = dataset.load(source_of(make_reviews(1000)), 0.25)
    assert reviews.counts == {"train": 600, "validation": 200, "test": 200}
    assert all(reviews.labels(part).mean() == 0.5 for part in PARTS)
    assert reviews.dropped == {}


def test_test_part_depends_on_the_texts_alone() -> None:
    table = make_reviews(300)
    parts = [set(read_part(dataset.load(source_of(table), split), "test")["text"]) for split in (0.1, 0.5, 0.9)]
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
    for part in PARTS:
        pd.testing.assert_frame_equal(read_part(one, part), read_part(other, part))
    assert one.digest == other.digest


def test_load_shows_how_far_the_reading_is(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = record_progress(monkeypatch, text_index)
    dataset.load(source_of(make_reviews(80), 50), 0.2)
    assert shown == ["reading: 50 texts, 50.0 a minute", "reading: 80 texts, 30.0 a minute"]


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
    assert reviews.summary == (
        f"{reviews.counts['train']} train, {reviews.counts['validation']} validation, 21 test; "
        "dropped: 3 copies, 2 copies of test texts, 2 texts with both labels"
    )


def test_digest_changes_with_every_text_and_label() -> None:
    table = make_reviews(50)
    digests = {index_of(source_of(table)).digest()}
    for row in (0, 25, 49):
        for change in ({"text": "another text"}, {"label": 1 - table["label"][row]}):
            changed = table.copy()
            for name, value in change.items():
                changed.loc[row, name] = value
            digests.add(index_of(source_of(changed)).digest())
    assert len(digests) == 7
    assert dataset.load(source_of(table), 0.2).digest in digests


def tickets(rows: int = 120) -> pd.DataFrame:
    labels = [("billing", "refund", "login")[row % 3] for row in range(rows)]
    return pd.DataFrame({"text": [f"ticket {row} on {label}" for row, label in enumerate(labels)], "label": labels})


def test_load_of_three_labels_codes_them_in_sorted_order() -> None:
    texts = dataset.load(source_of(tickets()), 0.25)
    assert texts.classes.names == ("billing", "login", "refund")
    assert texts.counts == {"train": 72, "validation": 24, "test": 24}
    for part in PARTS:
        table = read_part(texts, part)
        assert [text.split()[-1] for text in table["text"]] == [texts.classes.names[code] for code in table["label"]]
        assert np.bincount(table["label"]).tolist() == [len(table) // 3] * 3
    assert texts.summary.endswith("; dropped: nothing; labels: 'billing', 'login', 'refund'")
    assert texts.columns == {"text": "string", "label": "string"}


def test_summary_shortens_long_labels() -> None:
    table = tickets().query("label != 'login'").replace("refund", "r" * 9000)
    assert len(dataset.load(source_of(table), 0.25).summary) < 300  # it becomes a tag and a description


def test_positive_label_of_two_gets_code_1() -> None:
    table = tickets().query("label != 'login'")
    for positive, names in {"auto": ("billing", "refund"), "billing": ("refund", "billing")}.items():
        texts = dataset.load(source_of(table), 0.25, 0.2, positive)
        assert texts.classes.names == names
        assert f"labels: '{names[0]}', '{names[1]}' (positive)" in texts.summary
        train = read_part(texts, "train")
        assert {(text.split()[-1], code) for text, code in zip(train["text"], train["label"], strict=True)} == {
            (names[0], 0), (names[1], 1)
        }  # fmt: skip
    long = table.replace({"label": {"refund": "refund" * 1000}})
    assert len(dataset.load(source_of(long), 0.25).summary) < 200


@pytest.mark.parametrize("table", [make_reviews(40), tickets()], ids=["numbers", "names"])
def test_table_has_labels_as_the_data_and_is_sorted_by_hash(table: pd.DataFrame) -> None:
    texts = dataset.load(source_of(table), 0.25)
    expected = table.assign(hash=[hashlib.sha256(text.encode()).hexdigest() for text in table["text"]])
    expected = expected.sort_values(["hash", "label"], ignore_index=True)
    assert texts.table["hash"].tolist() == expected["hash"].tolist()
    assert texts.table["label"].tolist() == expected["label"].tolist()
    numbers = {part: texts.positions(part) for part in PARTS}
    assert all(number in numbers[part] for number, part in zip(texts.table.index, texts.table["split"], strict=True))


def test_test_split_of_zero_leaves_no_test_part() -> None:
    texts = dataset.load(source_of(tickets()), 0.25, 0)
    assert texts.counts == {"train": 90, "validation": 30, "test": 0}
    given_test = tickets().assign(split=["test"] * 30 + [""] * 90)
    assert dataset.load(source_of(given_test), 0.25, 0).counts["test"] == 30


def test_labels_too_small_for_each_part_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    table = pd.concat([tickets(), pd.DataFrame({"text": ["one", "two a", "two b"], "label": ["rare", "few", "few"]})])
    texts = dataset.load(source_of(table), 0.25)
    assert capsys.readouterr().out.splitlines() == [
        "data: no review in the validation part has 'few', 'rare'",
        "data: no review in the test part has 'rare'",
    ]
    assert len(texts.classes) == 5


def test_read_texts_gives_each_row_of_the_parts_once_and_nothing_else() -> None:
    table = made_up(300, 4, ["", "train"])
    texts = dataset.load(source_of(table), 0.25)
    seen = [
        (number, text) for numbers, piece in texts.read_texts() for number, text in zip(numbers, piece, strict=True)
    ]
    assert sorted(number for number, _ in seen) == list(range(texts.counts["train"] + texts.counts["validation"]))
    hashes = texts.hashes("train") + texts.hashes("validation")
    assert all(hashes[number] == hashlib.sha256(text.encode()).hexdigest() for number, text in seen)


CHANGES = {
    "a text": (lambda table: table.replace({"text": {table["text"][12]: "other"}}), "row 13 differs"),
    "a label": (lambda table: table.assign(label=[*table["label"][:-1], "refund"]), "row 120 differs"),
    "a new label": (lambda table: table.assign(label=[*table["label"][:-1], "new"]), "row 120: label 'new' is new"),
    "longer": (lambda table: pd.concat([table, table[:1]]), "more than 120 rows"),
    "shorter": (lambda table: table[:100], "rows: 120 -> 100"),
    "invalid": (lambda table: table.assign(text=[*table["text"][:-1], ""]), "row 120: text is not allowed"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_read_texts_of_data_that_have_changed_fails(change: str) -> None:
    changed, message = CHANGES[change]
    first = tickets().assign(split="", label=[*tickets()["label"][:-1], "billing"])
    readings: Iterator[pd.DataFrame] = iter([first, changed(first)])

    def tables() -> Iterator[pd.DataFrame]:
        table = next(readings)
        yield from (table[start : start + 50] for start in range(0, len(table), 50))

    texts = dataset.load(Source("made up", "", tables), 0.25)
    with pytest.raises(RunFailed, match=r"^data: made up changed while it was read \(.*\); start again$") as failed:
        list(texts.read_texts())
    assert message in str(failed.value)


def test_rows_have_a_key_for_each_text_that_the_training_sees() -> None:
    texts = dataset.load(source_of(make_reviews(40)), 0.25)
    seen = texts.hashes("train") + texts.hashes("validation")
    texts.keys = np.array([f"key of {digits[:20]}".encode() for digits in seen])
    rows = texts.rows(TrainParameters())
    assert list(rows) == ["hash", "label", "split", "words"]
    assert rows["hash"].is_monotonic_increasing
    assert rows.index.tolist() == list(range(40))
    assert rows.attrs["maxlen"] == 400
    expected = [f"key of {digits[:20]}" if digits in seen else "" for digits in rows["hash"]]
    assert rows["words"].tolist() == expected
    assert (rows["words"] == "").tolist() == (rows["split"] == "test").tolist()


def test_index_of_many_rows_needs_little_memory() -> None:
    """Reads 4,000 texts of 10,000 characters, which are 40 MB, in an eighth of their size."""

    def tables() -> Iterator[pd.DataFrame]:
        for start in range(0, 4000, 100):
            texts = [f"{row} {'x' * 10_000}" for row in range(start, start + 100)]
            yield pd.DataFrame({"text": texts, "label": [row % 5 for row in range(100)], "split": ""})

    tracemalloc.start()
    try:
        texts = dataset.load(Source("made up", "", tables), 0.25)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert texts.counts == {"train": 2400, "validation": 800, "test": 800}
    assert peak < 5e6, f"{peak / 1e6:.0f} MB"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (make_reviews(40).query("label == 1"), "made up leaves no review of label 0 in the train part"),
        (make_reviews(2), "leaves no review of label"),
        (make_reviews(40).assign(split="test"), "leaves no review of label 0 in the train part"),
        (make_reviews(40).iloc[:0], "made up has no rows"),
        (make_reviews(40).assign(text=" "), r"made up, row 1: text is not allowed; allowed: a text that is not empty"),
        (make_reviews(40).assign(label="positive"), "made up: the column label has one label only, 'positive'; "),
        (make_reviews(40).assign(label=0.5), r"row 1: label '0.5' is not allowed; allowed: a text or a whole number"),
        (make_reviews(40).assign(split="dev"), r"row 1: split 'dev' is not allowed; allowed: train, validation, test"),
        (make_reviews(40).assign(text=1), "the column text holds int64; allowed: texts"),
        (tickets().assign(split=["test"] * 119 + [""]), "leaves reviews of 1 label in the train part; allowed: data"),
        (tickets()[:6], r"leaves reviews of 0 labels in the validation part; allowed: data and a validation_spl"),
        (tickets().query("label != 'login'").assign(split=["test"] * 79 + [""]),
         "leaves no review of label 'billing' in the train part; allowed: data and a validation_split with both"),
    ],
)  # fmt: skip
def test_load_of_unusable_data_is_refused(table: pd.DataFrame, message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        dataset.load(source_of(table), 0.2)
    assert "\n" not in str(refused.value)
