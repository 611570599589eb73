from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from imdb_conv1d import tokenizer


def words_of(review: str) -> list[str]:
    return [word.decode() for word in tokenizer.tokenize(tf.constant([review]))[0].numpy()]


@pytest.mark.parametrize(
    ("review", "expected"),
    [
        ("A Film.<br /><br />Great!", ["a", "film", "great"]),
        ("don't, 'quoted' it’s", ["don't", "'quoted'", "it's"]),
        ("one<br>two<BR/>three", ["one", "two", "three"]),
        ("7/10 -- co-op (1999)", ["7", "10", "co", "op", "1999"]),
        ("Café ÉCOLE Дом 日本", ["café", "école", "дом", "日本"]),
        ("  \t\n  ", []),
        ("!?", []),
        ("[unknown]", ["unknown"]),
        ("one\0two \0 Three\0", ["one", "two", "three"]),
        ("\0\0", []),
        ("don\0t ΟΔΟΣ\0Α", ["don", "t", "οδος", "α"]),
    ],
)
def test_tokenize_gives_the_words_of_each_text(review: str, expected: list[str]) -> None:
    assert words_of(review) == expected


def former_words(texts: tf.Tensor) -> tf.RaggedTensor:
    """The tokenizer of models registered before a NUL counted as a blank."""
    texts = tf.strings.lower(texts, encoding="utf-8")
    texts = tf.strings.regex_replace(texts, r"<br\s*/?>", " ")
    texts = tf.strings.regex_replace(texts, r"[’ʼ]", "'")
    return tf.strings.split(tf.strings.regex_replace(texts, r"[^\p{L}\p{M}\p{N}']+", " "))


PIECES = st.sampled_from(
    ["Don’t", "’ʼ'", "<BR />", "<br", "/>", "ΟΔΟΣ.Α", "İI", "ß", "e\u0301", "\u200d", " ", "é", "\x01", "\0"]
)


@given(st.lists(st.one_of(st.text(), st.lists(PIECES).map("".join), st.binary()), min_size=1, max_size=5))
def test_tokenize_of_a_nul_treats_it_as_a_blank(
    texts: list[str | bytes],
) -> None:
    raw = [one.encode() if isinstance(one, str) else one for one in texts]
    blank = tf.constant([one.replace(b"\0", b" ") for one in raw])
    expected = former_words(blank).to_list()
    assert tokenizer.tokenize(blank).to_list() == expected
    assert tokenizer.tokenize(tf.constant(raw)).to_list() == expected


def test_tokenize_agrees_with_the_articles_tokenizer() -> None:
    review = 'It\'s a "must-see" film: 10/10, (really)! #1; a_b @c *d* 100% ~ok~ {x} [y] a+b=c <br /> the end...'
    filters = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
    cleaned = review.replace("<br />", " ").lower().translate(str.maketrans(filters, " " * len(filters)))
    assert words_of(review) == cleaned.split()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> tf.lookup.StaticHashTable:
    path = tmp_path_factory.mktemp("words") / "vocabulary.txt"
    tokenizer.write_vocabulary(path, ["[padding]", "[start]", "[unknown]", "good", "bad", "é"])
    return tokenizer.make_lookup(path)


IDS = {"good": 3, "bad": 4, "é": 5}


@given(
    st.lists(st.lists(st.sampled_from(["good", "bad", "é", "other"]), max_size=12), min_size=1, max_size=5),
    st.integers(1, 10),
)
def test_to_ids_of_reviews_equals_pad_sequences(
    table: tf.lookup.StaticHashTable, reviews: list[list[str]], maxlen: int
) -> None:
    sequences = [[tokenizer.START, *(IDS.get(word, tokenizer.UNKNOWN) for word in review)] for review in reviews]
    expected = keras.utils.pad_sequences(sequences, maxlen=maxlen)
    split = tokenizer.tokenize(tf.constant([" ".join(review) for review in reviews]))
    found = tokenizer.to_ids(split, table, maxlen).numpy()
    assert found.dtype == np.int32
    assert np.array_equal(found, expected)


def test_write_vocabulary_puts_each_word_on_the_line_of_its_id(tmp_path: Path) -> None:
    tokenizer.write_vocabulary(tmp_path / "v.txt", ["[padding]", "[start]", "[unknown]", "é"])
    assert (tmp_path / "v.txt").read_text("utf-8").splitlines()[3] == "é"


def test_keep_vocabulary_with_changed_data_returns_the_existing_file(tmp_path: Path) -> None:
    """Weights belong to their vocabulary."""
    first = tokenizer.keep_vocabulary(tmp_path, lambda: [*tokenizer.RESERVED, "good"])
    assert tokenizer.keep_vocabulary(tmp_path, lambda: [*tokenizer.RESERVED, "bad"]) == first
    assert first.read_text().split() == [*tokenizer.RESERVED, "good"]
    first.write_text("damaged")
    again = tokenizer.keep_vocabulary(tmp_path, lambda: [*tokenizer.RESERVED, "bad"])
    assert again.read_text().split() == [*tokenizer.RESERVED, "bad"]
