"""N-grams of ids, against counting them one by one."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imdb_conv1d import id_ngrams
from imdb_conv1d.id_ngrams import NONE, choose_keys, compute_offset, divide, find_ngrams, number_ngrams
from imdb_conv1d.ids import EncodedPart

SIZE = 6
texts_of_ids = st.lists(st.lists(st.integers(1, SIZE - 1), min_size=1, max_size=9), min_size=1, max_size=8)


def part_of(texts: list[list[int]], kind: type = np.uint16) -> EncodedPart:
    """A part whose texts lie in the file in reverse order, with ids of another part between them."""
    values, starts = [3], []
    for text in texts[::-1]:
        starts.append(len(values))
        values += [*text, 2]
    lengths = np.array([len(text) for text in texts], np.int32)
    return EncodedPart(np.array(values, kind), np.array(starts[::-1], np.int64), lengths, 9)


def ngrams_at(text: list[int], longest: int) -> list[list[tuple[int, ...]]]:
    """The n-grams that begin at each place, each only where it occurs first; else an empty one."""
    seen = set[tuple[int, ...]]()
    found = []
    for place in range(len(text)):
        row = []
        for length in range(1, longest + 1):
            ngram = tuple(text[place : place + length])
            row.append(ngram if len(ngram) == length and ngram not in seen else ())
            seen.add(ngram)
        found.append(row)
    return found


def key_of(ngram: tuple[int, ...], size: int = SIZE) -> int:
    code = 0
    for number in ngram:
        code = code * size + number
    return code + sum(size**power for power in range(1, len(ngram)))


@given(texts=texts_of_ids, longest=st.integers(1, 4), data=st.data())
def test_numbers_are_those_of_each_ngrams_first_occurrence(
    texts: list[list[int]], longest: int, data: st.DataObject
) -> None:
    part, rows = part_of(texts), np.array(data.draw(st.permutations(range(len(texts)))))
    every = [ngrams_at(texts[row], longest) for row in rows]
    keys, numbers = find_ngrams(part, rows, SIZE, longest)
    present = {ngram for text in every for place in text for ngram in place if ngram}
    assert keys.tolist() == sorted(map(key_of, present))
    assert len(keys) == len(present)  # no two n-grams share a key
    expected = [[key_of(ngram) if ngram else NONE for ngram in place] for text in every for place in text]
    assert np.where(numbers > NONE, np.append(keys, 0)[numbers], NONE).tolist() == expected
    chosen = keys[data.draw(st.integers(0, 2)) :: 2]
    found = number_ngrams(part, rows, SIZE, longest, chosen)
    assert found.dtype == np.int32
    places = {key: number for number, key in enumerate(chosen.tolist())}
    assert found.tolist() == [[places.get(key, NONE) for key in place] for place in expected]


@given(
    texts=texts_of_ids, longest=st.integers(1, 4), least=st.integers(1, 3), limit=st.integers(1, 12),
    places=st.integers(1, 30),
)  # fmt: skip
def test_choice_is_the_most_frequent_by_texts_and_of_equal_ones_the_least_keys(
    texts: list[list[int]], longest: int, least: int, limit: int, places: int
) -> None:
    counts = Counter(
        key_of(ngram)
        for text in texts
        for ngram in {ngram for place in ngrams_at(text, longest) for ngram in place if ngram}
    )
    ordered = sorted((-count, key) for key, count in counts.items() if count >= least)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(id_ngrams, "PLACES", places)  # whatever the pieces
        found = choose_keys(part_of(texts), np.arange(len(texts)), SIZE, longest, least, limit)
    assert found.dtype == np.int64
    assert found.tolist() == sorted(key for _, key in ordered[:limit])


@given(texts=texts_of_ids, places=st.integers(1, 30))
def test_pieces_have_all_rows_in_order_and_no_more_places_than_one_text_beyond(
    texts: list[list[int]], places: int
) -> None:
    part, rows = part_of(texts), np.arange(len(texts))[::-1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(id_ngrams, "PLACES", places)
        pieces = list(divide(part, rows))
        assert list(divide(part, rows[:0])) == []
    assert np.concatenate(pieces).tolist() == rows.tolist()
    assert all(part.lengths[piece[:-1]].sum() < places for piece in pieces)


def test_keys_of_the_longest_ngrams_do_not_overflow() -> None:
    size = 2**31 - 1
    part = part_of([[size - 1, size - 1, 1], [size - 2, size - 1]], np.int64)
    keys, numbers = find_ngrams(part, np.arange(2), size, 2)
    pair = (size - 1) * size + size - 1 + compute_offset(size, 2)
    assert keys.max() == pair < 2**63
    assert keys[numbers[0, 1]] == pair
    assert len(keys) == len(set(keys.tolist())) == 3 + 3
    assert all(compute_offset(4, low) + 4**low - 1 < compute_offset(4, high) for low, high in pairwise(range(1, 31)))
    assert compute_offset(4, 31) + 4**31 - 1 < 2**63
