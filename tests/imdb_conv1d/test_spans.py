"""Places of words in their text, beside the tokenizer's own words."""

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from imdb_conv1d import tokenizer
from imdb_conv1d.spans import find_spans


def split(text: str) -> list[str]:
    return [word.decode() for word in tokenizer.tokenize(tf.constant([text]))[0].numpy()]


def shown(text: str) -> list[str]:
    spans = find_spans(text, split(text))
    assert spans is not None
    return [text[begin:end] for begin, end in spans]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Good, GOOD!", ["Good", "GOOD"]),
        ("", []),
        ("...", []),
        ("a film<br />Broken <BR>it’s", ["a", "film", "Broken", "it’s"]),
        ("<br/>br <b>r", ["br", "b", "r"]),
        ("ΟΔΟΣ ΣΑΣ", ["ΟΔΟΣ", "ΣΑΣ"]),
        ("İstanbul ẞ e\u0301te\u0301", ["İstanbul", "ẞ", "e\u0301te\u0301"]),
        ("这部电影 很好。", ["这部电影", "很好"]),
        ("فيلم رائع!", ["فيلم", "رائع"]),
        ("यह फ़िल्म", ["यह", "फ़िल्म"]),
        ("\U0001f600 ja\0nein<br\0/>", ["ja", "nein"]),
    ],
)
def test_spans_of_words_give_the_texts_own_spelling(text: str, words: list[str]) -> None:
    assert shown(text) == words


@pytest.mark.parametrize(
    "words", [["good"], ["good", "film", "x"], ["film", "good"], ["goo", "film"], ["goods", "film"]]
)
def test_spans_of_other_words_are_none(words: list[str]) -> None:
    assert find_spans("Good film", words) is None


def test_spans_of_single_characters_are_found() -> None:
    assert find_spans("很好! OK", ["很", "好", "ok"]) == [(0, 1), (1, 2), (4, 6)]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_spans_of_any_text_are_its_words_in_order_or_none(text: str) -> None:
    words = split(text)
    spans = find_spans(text, words)
    if spans is None:
        assert any(ord(letter) > 127 for letter in text)
        return
    assert len(spans) == len(words)
    ends = [0, *(end for _, end in spans)]
    assert all(before <= begin < end for before, (begin, end) in zip(ends[:-1], spans, strict=True))
