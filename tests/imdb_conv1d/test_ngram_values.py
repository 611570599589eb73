"""Values of n-grams in training and in the registered model: the same numbers."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from imdb_conv1d import id_ngrams
from imdb_conv1d.batches import bound_rows, make_training_batches, make_validation_batches
from imdb_conv1d.id_ngrams import NONE
from imdb_conv1d.ids import EncodedPart
from imdb_conv1d.ngram_lookup import NgramLookup
from imdb_conv1d.ngram_model import NgramModel
from imdb_conv1d.ngram_values import NgramValues, number_in_file
from tracked.console.errors import RunFailed

SIZE, LONGEST = 7, 3


def make_texts(rows: int, longest_text: int = 9, seed: int = 0) -> EncodedPart:
    """Texts of 1 to ``longest_text`` ids that come again and again."""
    chance = np.random.default_rng(seed)
    ids = np.zeros((rows, longest_text), np.int32)
    for row in ids:
        length = chance.integers(1, longest_text + 1)
        row[-length:] = chance.integers(1, SIZE, length)
    return EncodedPart.from_padded(ids)


def make_model(part: EncodedPart, outputs: int, seed: int = 0) -> NgramModel:
    """A model of half of the n-grams of a part, one with a ratio of 0."""
    keys = id_ngrams.choose_keys(part, np.arange(len(part)), SIZE, LONGEST, 1, 10**6)[::2]
    chance, count = np.random.default_rng(seed), len(keys)
    ratios = chance.normal(size=(6, count)).astype(np.float32)
    ratios[:, 0] = 0
    weights = chance.normal(size=(6, count, outputs)).astype(np.float32)
    return NgramModel(keys, ratios, weights, np.zeros((6, outputs), np.float32))


def compute_by_hand(model: NgramModel, text: list[int], number: int) -> np.ndarray:
    """Values of one text, [length, longest, outputs]."""
    places = {key: place for place, key in enumerate(model.keys.tolist())}
    values, square, seen = np.zeros((len(text), LONGEST, model.outputs)), 0.0, set[tuple[int, ...]]()
    for at in range(len(text)):
        for length in range(1, LONGEST + 1):
            ngram = tuple(text[at : at + length])
            key = 0
            for one in ngram:
                key = key * SIZE + one
            place = places.get(key + id_ngrams.compute_offset(SIZE, length))
            if len(ngram) == length and place is not None and ngram not in seen:
                values[at, length - 1] = model.weights[number, place]
                square += float(model.ratios[number, place]) ** 2
            seen.add(ngram)
    return values / (np.sqrt(square) or 1)


@pytest.mark.parametrize("outputs", [1, 3])
def test_values_are_those_of_each_texts_model_and_of_the_lookup(outputs: int, tmp_path: Path) -> None:
    part, model = make_texts(60), make_model(make_texts(30, seed=1), outputs)
    numbers = number_in_file([part], SIZE, LONGEST, model.keys, tmp_path)
    models = np.arange(len(part), dtype=np.int32) % 6
    values, lookup = NgramValues(part, model, numbers, models), NgramLookup(model, SIZE, LONGEST)
    assert values.width == lookup.width == LONGEST * outputs
    labels, variable = np.arange(len(part), dtype=np.float32), tf.Variable(2, dtype=tf.int64)
    batches = list(make_training_batches(part, labels, 7, 1, 3, variable, None, values).as_numpy_iterator())
    assert sorted(np.concatenate([rows for _, rows in batches])) == labels.tolist()
    for (ids, found), rows in batches:
        assert found.dtype == np.float32
        assert found.shape == (*ids.shape, LONGEST, *([outputs] if outputs > 1 else []))
        looked_up = lookup(tf.constant(ids)).numpy().reshape(*ids.shape, LONGEST, outputs)
        for row, row_ids, row_values, from_lookup in zip(
            rows.astype(int), ids, found.reshape(looked_up.shape), looked_up, strict=True
        ):
            text = row_ids[row_ids > 0].tolist()
            padding = len(row_ids) - len(text)
            assert not row_values[:padding].any()
            expected = compute_by_hand(model, text, models[row])
            np.testing.assert_allclose(row_values[padding:], expected, rtol=1e-5, atol=1e-6)
            assert not from_lookup[:padding].any()
            np.testing.assert_allclose(from_lookup[padding:], compute_by_hand(model, text, 0), rtol=1e-5, atol=1e-6)
            if models[row] == 0:
                np.testing.assert_allclose(from_lookup, row_values, rtol=1e-6, atol=0)


@given(seed=st.integers(0, 10**6), padding=st.integers(0, 5), outputs=st.sampled_from([1, 2]))
def test_padding_in_front_changes_no_value(seed: int, padding: int, outputs: int) -> None:
    part = make_texts(4, seed=seed)
    lookup, ids = NgramLookup(make_model(part, outputs), SIZE, LONGEST), part.to_padded()
    found = lookup(tf.constant(np.pad(ids, ((0, 0), (padding, 0))))).numpy()
    assert not found[:, :padding].any()
    np.testing.assert_allclose(found[:, padding:], lookup(tf.constant(ids)).numpy(), rtol=1e-6)


def test_validation_values_are_those_of_the_model_of_all_whatever_the_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = make_texts(50)
    model = make_model(part, 2)
    values = NgramValues(part, model, number_in_file([part], SIZE, LONGEST, model.keys, tmp_path), np.zeros(50, int))
    lookup, labels = NgramLookup(model, SIZE, LONGEST), np.arange(50)
    for limit, rows in ((1 << 26, 50), (4 * 9 * values.width * 8, 8), (1, 1)):
        monkeypatch.setattr("imdb_conv1d.batches.MAX_VALUES", limit)
        batches = list(make_validation_batches(part, labels, 1, values).as_numpy_iterator())
        assert [len(numbers) for _, numbers in batches] == [rows] * (50 // rows) + ([50 % rows] if 50 % rows else [])
        for (ids, found), _ in batches:
            np.testing.assert_allclose(found, lookup(tf.constant(ids)).numpy(), rtol=1e-6)


def test_rows_of_a_batch_are_bounded_by_their_values() -> None:
    assert bound_rows(256, 1000, 3) == 256
    assert bound_rows(256, 1000, 600) == (1 << 26) // 2_400_000
    assert bound_rows(256, 10**6, 10**4) == 1


def test_numbers_in_the_file_are_those_of_all_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(id_ngrams, "PLACES", 20)
    both = make_texts(30)
    parts = [EncodedPart(both.values, both.starts[rows], both.lengths[rows], 9) for rows in (slice(1, 30, 2), [4, 0])]
    keys = id_ngrams.choose_keys(both, np.arange(30), SIZE, LONGEST, 1, 10)
    numbers = number_in_file(parts, SIZE, LONGEST, keys, tmp_path)
    assert (numbers.shape, numbers.dtype) == ((len(both.values), LONGEST), np.int32)
    expected = id_ngrams.number_ngrams(both, np.arange(30), SIZE, LONGEST, keys)
    ends = np.cumsum(both.lengths)
    for row in range(30):
        span = slice(ends[row] - both.lengths[row], ends[row])
        known = row % 2 or row in (0, 4)
        assert np.array_equal(numbers[span], expected[span] if known else np.full_like(expected[span], NONE))
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_told_before_the_file_is_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hole in a mapped file that the disk cannot fill would end the process by a signal."""
    part = make_texts(5)
    keys = id_ngrams.choose_keys(part, np.arange(5), SIZE, LONGEST, 1, 10)
    mapped = []
    monkeypatch.setattr(
        "imdb_conv1d.ngram_values.mmap.mmap", lambda descriptor, size: mapped.append(os.fstat(descriptor))
    )
    with pytest.raises(TypeError):  # frombuffer of None
        number_in_file([part], SIZE, LONGEST, keys, tmp_path)
    (file,) = mapped
    assert file.st_size == len(part.values) * LONGEST * 4
    assert file.st_blocks * 512 >= file.st_size

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("imdb_conv1d.ngram_values.TemporaryFile", fail)
    with pytest.raises(RunFailed, match=r"the numbers of the n-grams cannot be written to .* free or mend the disk"):
        number_in_file([part], SIZE, LONGEST, keys, tmp_path)
