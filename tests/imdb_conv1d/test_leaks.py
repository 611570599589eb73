"""Keys of texts: equal for equal words, whatever the bytes."""

import unicodedata
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imdb_conv1d import leaks, tokenizer
from tracked.experiment import SEEN_PARTS

TEXT = "The café's film — wasn't it fun? Two friends."


def keys(*texts: str, maxlen: int | None = None) -> list[str]:
    return leaks.digest_words(leaks.split_words(texts), maxlen).tolist()


@pytest.mark.parametrize(
    "other",
    [
        f"{TEXT}\n",
        f"  {TEXT}<br /><br />",
        TEXT.upper(),
        TEXT.replace("'", "’"),
        TEXT.replace(" — ", ", "),
        unicodedata.normalize("NFD", TEXT),
        TEXT.replace("fun", "ｆｕｎ"),
    ],
)
def test_digest_words_of_equal_words_gives_equal_keys(other: str) -> None:
    assert other != TEXT
    first, second = keys(TEXT, other)
    assert first == second
    assert len(first) == leaks.DIGITS


@pytest.mark.parametrize("other", [TEXT.replace("fun", "funny"), f"{TEXT} Good.", TEXT.replace("Two friends", "")])
def test_digest_words_of_another_word_gives_another_key(other: str) -> None:
    assert len(set(keys(TEXT, other))) == 2


def test_digest_words_with_maxlen_ignores_earlier_words() -> None:
    assert len(set(keys("a b c d", "x b c d", maxlen=3))) == 1
    assert len(set(keys("a b c d", "x b c d", maxlen=4))) == 2
    assert len(set(keys("a b c d", "b c d", maxlen=3))) == 1


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=8))
def test_make_rows_gives_the_keys_that_an_evaluation_computes(texts: list[str]) -> None:
    """A training computes keys from the words of the original texts, an evaluation from normalized texts."""
    texts = [*texts, unicodedata.normalize("NFD", TEXT), TEXT]
    rows = pd.DataFrame({"hash": [str(n) for n in range(len(texts))], "label": 1, "split": "train", "text": texts})
    table = leaks.make_rows(rows, [rows], [tokenizer.split_words(texts)], 400)
    assert table["words"].tolist() == keys(*texts, maxlen=400)


def test_read_seen_of_a_stored_table_has_train_and_validation_keys(tmp_path: Path) -> None:
    rows = pd.DataFrame(
        {"hash": list("abc"), "label": 1, "split": ["train", "validation", "test"], "text": ["a", "b", "c"]}
    )
    parts = [rows[rows["split"] == name] for name in SEEN_PARTS]
    leaks.make_rows(rows, parts, [tokenizer.split_words(part["text"]) for part in parts], 5).to_parquet(
        tmp_path / "rows.parquet"
    )
    found = leaks.read_seen(pd.read_parquet(tmp_path / "rows.parquet"))
    assert found == leaks.Seen(frozenset(keys("a", "b")), 5)
    assert leaks.read_seen(rows[["hash", "label", "split"]]) is None
