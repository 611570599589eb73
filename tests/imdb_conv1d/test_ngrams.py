"""Counts of words and runs of tokens: against a count by hand, and whatever the texts are."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imdb_conv1d import ngrams, words


def count_by_hand(tokens: list[str], longest: int) -> Counter[tuple[str, ...]]:
    runs = [tuple(tokens[start : start + n]) for n in range(1, longest + 1) for start in range(len(tokens) - n + 1)]
    return Counter(runs)


@pytest.mark.parametrize(("tokens", "longest"), [("words", 2), ("characters", 3)])
def test_counts_are_those_by_hand_and_runs_end_with_their_text(tokens: str, longest: int) -> None:
    texts = ["a b a b a", "", "b", "a b c d", "ab ba"]
    counts = ngrams.count_ngrams(texts, tokens)
    assert counts.shape == (len(texts), ngrams.COLUMNS)
    for row, text in enumerate(texts):
        expected = count_by_hand(words.split_words(text, tokens), longest)
        assert sorted(counts[row].data.tolist()) == sorted(expected.values())
    alike = ngrams.count_ngrams(["a b a b a"], tokens)
    assert (counts[0] != alike).nnz == 0  # the other texts change nothing


def test_order_of_words_and_length_of_runs_make_other_columns() -> None:
    columns = [set(ngrams.count_ngrams([text], "words").indices.tolist()) for text in ("a b", "b a")]
    assert [len(one) for one in columns] == [3, 3]
    assert len(columns[0] & columns[1]) == 2  # the words, and not the pair


def test_columns_of_many_words_rarely_collide() -> None:
    words = [f"w{number}" for number in range(20_000)]
    assert len(np.unique(ngrams.count_ngrams(words, "words").indices)) > 19_900


@given(st.lists(st.text(max_size=12), min_size=1, max_size=6), st.sampled_from(["words", "characters"]))
def test_any_texts_are_counted_each_by_itself(texts: list[str], tokens: str) -> None:
    together = ngrams.count_ngrams(texts, tokens)
    together.check_format()
    for row, text in enumerate(texts):
        assert (together[row] != ngrams.count_ngrams([text], tokens)).nnz == 0
