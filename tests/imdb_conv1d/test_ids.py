"""Texts to ids as a stream, against a plain way of the same."""

import gc
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from helpers.shown_progress import record_progress
from imdb_conv1d import ids, leaks, tokenizer, words
from imdb_conv1d.ids import EncodedPart, Encoding, encode_parts
from imdb_conv1d.tokenizer import RESERVED, START, UNKNOWN
from tracked.console.errors import RunFailed

Pieces = Iterator[tuple[np.ndarray, list[str]]]


def divide(texts: Sequence[str], order: np.ndarray, size: int) -> Pieces:
    """The texts of these rows, in pieces."""
    for at in range(0, len(order), size):
        rows = order[at : at + size]
        yield rows, [texts[row] for row in rows]


def encode(
    texts: Sequence[str], folder: Path, train: int, max_features: int = 6, maxlen: int = 5, tokens: str = "words"
) -> Encoding:
    """Encode texts, given in another order; the first ones are the training part."""
    order = np.random.default_rng(0).permutation(len(texts))
    positions = [np.arange(train), np.arange(train, len(texts))]
    return encode_parts(divide(texts, order, 3), positions, folder, max_features, maxlen, tokens)


def expect_vocabulary(train: Sequence[str], max_features: int, tokens: str) -> list[str]:
    counts = Counter(word for text in train for word in words.split_words(text, tokens))
    ordered = sorted(counts, key=lambda word: (-counts[word], word.encode()))
    return [*RESERVED, *ordered][:max_features]


def expect_ids(texts: Sequence[str], vocabulary: list[str], maxlen: int, tokens: str) -> np.ndarray:
    numbers = {word: number for number, word in enumerate(vocabulary)}
    rows = [[START, *(numbers.get(word, UNKNOWN) for word in words.split_words(text, tokens))] for text in texts]
    return keras.utils.pad_sequences(rows, maxlen=maxlen)


WORDS = st.sampled_from(
    ["a", "b", "c", "Film", "film", "é", "e\u0301", "ﬁlm", "日本", "ΑΣ", "[start]", "<br />", ".", "𝔸"]
)
TEXTS = st.lists(st.lists(WORDS, max_size=9).map(" ".join), min_size=2, max_size=12)


@given(TEXTS, st.integers(4, 12), st.integers(1, 9), st.sampled_from(["words", "characters"]), st.data())
def test_encode_parts_equals_counting_and_padding_one_by_one(
    tmp_path_factory: pytest.TempPathFactory,
    texts: list[str],
    max_features: int,
    maxlen: int,
    tokens: str,
    data: st.DataObject,
) -> None:
    train = data.draw(st.integers(1, len(texts) - 1))
    found = encode(texts, tmp_path_factory.mktemp("run"), train, max_features, maxlen, tokens)
    vocabulary = expect_vocabulary(texts[:train], max_features, tokens)
    assert found.vocabulary.read_text("utf-8").splitlines() == vocabulary
    lookup = tokenizer.make_lookup(found.vocabulary)
    for part, of_part in zip(found.parts, (texts[:train], texts[train:]), strict=True):
        padded = part.to_padded()
        assert padded.dtype == np.int32
        assert np.array_equal(padded, expect_ids(of_part, vocabulary, maxlen, tokens))
        # The registered model's ids are the same.
        split = tokenizer.tokenize(tf.constant(of_part), tokens)
        assert np.array_equal(padded, tokenizer.to_ids(split, lookup, maxlen).numpy())
    keys = leaks.digest_words(leaks.split_words(texts, tokens), maxlen)
    assert found.keys.astype(str).tolist() == keys.tolist()


def test_encode_parts_shows_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = record_progress(monkeypatch, ids)
    encode(["a", "b", "c", "d"], tmp_path, 2)
    assert shown == [
        "words to ids: 3 of 4 texts, 3.0 a minute, 20.0 seconds left",
        "words to ids: 4 of 4 texts, 1.0 a minute, 0.0 seconds left",
    ]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(1, 40))
def test_choose_words_of_many_ties_equals_sorting_all(counts: list[int], size: int) -> None:
    names = [f"w{number * 7 % 31:02}" for number in range(len(counts))]
    ordered = sorted((name for name, count in zip(names, counts, strict=True) if count),
                     key=lambda name: (-counts[names.index(name)], name))  # fmt: skip
    found = ids.choose_words(names, np.array([0, *counts]), size + len(RESERVED))
    assert found == [*RESERVED, *ordered[:size]]


def test_encode_parts_counts_words_before_the_last_maxlen_and_not_those_of_validation(tmp_path: Path) -> None:
    found = encode(["early early early late late", "other other other other"], tmp_path, 1, maxlen=2)
    assert found.vocabulary.read_text().split()[3:] == ["early", "late"]
    assert [part.to_padded().tolist() for part in found.parts] == [[[4, 4]], [[UNKNOWN, UNKNOWN]]]


def test_encode_parts_of_more_texts_than_a_chunk_keeps_their_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ids, "CHUNK", 7)
    monkeypatch.setattr(ids, "CHUNK_OF_IDS", 13)
    texts = ["good " * (row % 5) for row in range(100)]
    positions = [np.arange(0, 100, 2), np.arange(1, 100, 2)]
    found = encode_parts(divide(texts, np.arange(100)[::-1], 40), positions, tmp_path, 10, 6)
    for part, rows in zip(found.parts, positions, strict=True):
        assert (part.to_padded() == len(RESERVED)).sum(axis=1).tolist() == [row % 5 for row in rows]


@pytest.mark.parametrize(("max_features", "kind"), [(ids.MAX_SHORT, np.uint16), (ids.MAX_SHORT + 1, np.int32)])
def test_ids_are_16_bits_where_they_fit(tmp_path: Path, max_features: int, kind: type) -> None:
    names = [f"w{number:06}" for number in range(ids.MAX_SHORT + 5)]
    found = encode([" ".join(names), " ".join(reversed(names))], tmp_path, 1, max_features, maxlen=len(names) + 1)
    assert found.parts[0].values.dtype == kind
    expected = [START, *(number if number < max_features else UNKNOWN for number in range(3, len(names) + 3))]
    assert found.parts[0].to_padded()[0].tolist() == expected
    assert found.parts[1].to_padded()[0, 1:].tolist() == expected[:0:-1]


def test_encode_parts_with_a_vocabulary_in_the_folder_uses_it(tmp_path: Path) -> None:
    first = encode(["good film", "bad"], tmp_path, 1)
    again = encode(["bad bad bad", "good"], tmp_path, 1)
    assert again.vocabulary == first.vocabulary
    assert first.parts[0].to_padded()[0].tolist() == [0, 0, START, 4, 3]
    assert [part.to_padded()[0].tolist() for part in again.parts] == [[0, START, *[UNKNOWN] * 3], [0, 0, 0, START, 4]]


def test_encode_parts_of_a_missing_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 rows have no text"):
        encode_parts(iter([(np.array([0]), ["a"])]), [np.array([0]), np.array([1])], tmp_path, 10, 5)


def test_ids_that_cannot_be_written_are_told_in_one_line(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(RunFailed, match=f"^the ids of the words cannot be written to {gone} .*; free or mend the disk"):
        encode(["a", "b"], gone, 1)


def test_ids_lie_in_a_file_without_a_name_that_only_its_owner_reads(tmp_path: Path) -> None:
    modes = []

    def pieces() -> Pieces:
        yield np.array([0]), ["secret words"]
        links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
        ours = [link for link in links if os.path.lexists(link) and os.readlink(link).startswith(str(tmp_path))]
        modes.extend(stat.S_IMODE(os.stat(link).st_mode) for link in ours)
        assert list(tmp_path.iterdir()) == []
        yield np.array([1]), ["more of them"]

    found = encode_parts(pieces(), [np.array([0]), np.array([1])], tmp_path, 10, 5)
    assert modes == [0o600]
    assert list(tmp_path.iterdir()) == [found.vocabulary]
    maps = Path("/proc/self/maps")
    assert str(tmp_path) in maps.read_text()
    del found
    gc.collect()
    assert str(tmp_path) not in maps.read_text()


@given(st.lists(st.integers(1, 8), min_size=1, max_size=9))
def test_from_padded_and_to_padded_are_inverse(lengths: list[int]) -> None:
    padded = keras.utils.pad_sequences([np.arange(1, length + 1) for length in lengths], maxlen=8)
    part = EncodedPart.from_padded(padded)
    assert part.lengths.tolist() == lengths
    assert (len(part), part.maxlen) == (len(lengths), 8)
    assert np.array_equal(part.to_padded(), padded)
