"""The Python tokenizer: equal to TensorFlow's on every text."""

import os
import subprocess
from pathlib import Path

import pytest
import tensorflow as tf
from hypothesis import example, given
from hypothesis import strategies as st

from helpers import SRC, warm
from imdb_conv1d import tokenizer, words

# What TensorFlow and Python treat in different ways, and what only works together with its neighbours.
PIECES = st.sampled_from(
    [
        "Don’t", "’ʼ'", "<BR />", "<br", "<Br\t/", "/>", ">", "<", "br", " ", "\0", "\v", "\x1c", "\x85", "\xa0",
        "Σ", "ΟΔΟΣ", "ς", "ΑΣ", "\u02b0", ".", "\u00ad", "\u2003", "\u0130", "I\u0307", "Í", "Ĩ", "ı", "ǅ", "ẞ", "ß",
        "\u212a", "\ufb01", "e\u0301", "\u0345", "\u200d", "\u0e31", "\uac00", "1", "½", "\u0663", "Ⅷ", "\u2c2f",
        "\ua7c0", "\U00010400", "😀", "\U0010ffff",
    ]
)  # fmt: skip
HTML = st.lists(PIECES, max_size=30).map("".join)
TEXTS = st.lists(st.one_of(st.text(), HTML, st.text(st.characters(codec="ascii"))), max_size=5)


def split_in_tensorflow(texts: list[str], tokens: str) -> list[list[str]]:
    split = tokenizer.tokenize(tf.constant(texts, tf.string, shape=[len(texts)]), tokens).to_list()
    return [[word.decode() for word in text] for text in split]


@given(TEXTS, st.sampled_from(["words", "characters"]))
@example(["<br<br />/>", "<br\0/>", "<bR\v>", "aΣ<br>a", "Σ\0Α ΑΣ\0Α", ""], "words")
def test_split_words_of_any_text_equals_tensorflows(texts: list[str], tokens: str) -> None:
    expected = split_in_tensorflow(texts, tokens)
    assert [words.split_words(text, tokens) for text in texts] == expected
    split = words.split_many(texts, tokens)
    assert [text.split(" ") if text else [] for text in split.joined] == expected
    assert split.lengths.tolist() == list(map(len, expected))
    assert [split.distinct[at] for at in split.indices] == [word for text in expected for word in text]


def test_split_words_of_each_character_alone_and_within_a_word_equals_tensorflows() -> None:
    every = [chr(code) for code in range(words.CODE_POINTS) if not 0xD800 <= code < 0xE000]
    # Neighbours that other characters could change: a capital before, and digits that part the words.
    texts = ["7".join(f"A{one} {one}B" for one in every[at : at + 5000]) for at in range(0, len(every), 5000)]
    for text, expected in zip(texts, split_in_tensorflow(texts, "words"), strict=True):
        assert words.split_words(text) == expected


@pytest.mark.parametrize(
    ("text", "tokens", "expected"),
    [
        ("A Film.<br /><BR/>It’s I\0İ", "words", ["a", "film", "it's", "i", "i\u0307"]),
        ("ΟΔΟΣ. ΣΑΣ", "words", ["οδος", "σας"]),
        ("这部电影, 很好!", "characters", list("这部电影很好")),
        ("शानदार", "characters", ["श", "ा", "न", "द", "ा", "र"]),  # a mark is a token of its own
        ("فيلم رائع", "words", ["فيلم", "رائع"]),
        ("lone \ud800 surrogate\udfff", "words", ["lone", "surrogate"]),
        (" \n", "characters", []),
    ],
)
def test_split_words_gives_the_words_of_each_text(text: str, tokens: str, expected: list[str]) -> None:
    assert words.split_words(text, tokens) == expected


IN_ANOTHER_LOCALE = """
import tensorflow as tf
from helpers import SRC, warm
from imdb_conv1d import tokenizer, words

assert tf.strings.lower(["I"], encoding="utf-8").numpy()[0].decode() == "ı"  # the locale is in effect
text = "I İ Í Ĩ Ì Į J\u0300 ΑΣ I\u0307 Ií DIŞ"
expected = "i i\u0307 í ĩ ì į j\u0300 ας i\u0307 ií diş".split()
assert [word.decode() for word in tokenizer.tokenize([text])[0].numpy()] == expected
assert words.split_words(text) == expected
"""


def test_words_in_a_turkish_locale_are_the_same(tmp_path: Path) -> None:
    """TensorFlow lowers letters by the locale of its process."""
    (tmp_path / "check.py").write_text(IN_ANOTHER_LOCALE)
    environment = {**os.environ, "LC_ALL": "tr_TR.UTF-8", "PYTHONPATH": str(SRC)}
    found = subprocess.run([warm.python(), tmp_path / "check.py"], env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
