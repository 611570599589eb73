"""Keys of texts: equal for equal words, whatever the bytes."""

import hashlib
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imdb_conv1d import leaks, words

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


@given(st.lists(st.text(max_size=30), min_size=1, max_size=8), st.sampled_from(["words", "characters"]))
def test_digest_split_gives_the_keys_that_an_evaluation_computes(texts: list[str], tokens: str) -> None:
    """A training computes keys from the words of the original texts, an evaluation from normalized texts."""
    texts = [*texts, unicodedata.normalize("NFD", TEXT), TEXT]
    split = words.split_many(texts, tokens)
    for maxlen in (1, 3, 400):
        expected = leaks.digest_words(leaks.split_words(texts, tokens), maxlen)
        assert leaks.digest_split(texts, split, maxlen, tokens) == expected.tolist()


def test_digest_words_of_a_text_is_a_hash_of_its_words() -> None:
    """Stored by earlier versions."""
    assert keys("Caf\u0065\u0301, ﬁlm!") == [hashlib.sha256("café film".encode()).hexdigest()[:32]]


def test_read_seen_of_a_stored_table_has_train_and_validation_keys(tmp_path: Path) -> None:
    rows = pd.DataFrame(
        {"hash": list("abc"), "label": 1, "split": ["train", "validation", "test"], "text": ["a", "b", "c"]}
    )
    seen = np.array([1, 0])
    table = leaks.make_rows(rows, seen, np.array(keys("b", "a"), "S32"), 5)
    assert table["words"].tolist() == [*keys("a", "b"), ""]
    assert list(table.columns) == ["hash", "label", "split", "words"]
    table.to_parquet(tmp_path / "rows.parquet")
    found = leaks.read_seen(pd.read_parquet(tmp_path / "rows.parquet"))
    assert found == leaks.Seen(frozenset(keys("a", "b")), 5)
    assert leaks.read_seen(rows[["hash", "label", "split"]]) is None
