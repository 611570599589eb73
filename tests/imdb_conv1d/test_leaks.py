"""Which texts are the same to a model: by the words that it gets, whatever their bytes."""

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
def test_texts_of_the_same_words_have_the_same_key(other: str) -> None:
    assert other != TEXT
    first, second = keys(TEXT, other)
    assert first == second
    assert len(first) == leaks.DIGITS


@pytest.mark.parametrize("other", [TEXT.replace("fun", "funny"), f"{TEXT} Good.", TEXT.replace("Two friends", "")])
def test_a_text_with_another_word_has_another_key(other: str) -> None:
    assert len(set(keys(TEXT, other))) == 2


def test_a_model_that_gets_the_last_words_tells_texts_apart_by_those() -> None:
    assert len(set(keys("a b c d", "x b c d", maxlen=3))) == 1
    assert len(set(keys("a b c d", "x b c d", maxlen=4))) == 2
    assert len(set(keys("a b c d", "b c d", maxlen=3))) == 1


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=8))
def test_what_a_training_records_is_what_an_evaluation_asks_for(texts: list[str]) -> None:
    """A training has the words of the texts as they are, an evaluation those of normalized texts."""
    texts = [*texts, unicodedata.normalize("NFD", TEXT), TEXT]
    rows = pd.DataFrame({"hash": [str(n) for n in range(len(texts))], "label": 1, "split": "train", "text": texts})
    table = leaks.make_rows(rows, [rows], [tokenizer.split_words(texts)], 400)
    assert table["words"].tolist() == keys(*texts, maxlen=400)


def test_what_is_seen_is_of_training_and_validation_and_survives_the_file(tmp_path: Path) -> None:
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
