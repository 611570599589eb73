import gc
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from helpers import SRC
from imdb_conv1d import batches, networks
from imdb_conv1d.batches import (
    MULTIPLE,
    POOL,
    VALIDATION_BATCH,
    balance_classes,
    make_training_batches,
    make_validation_batches,
)
from imdb_conv1d.ids import EncodedPart, encode_parts
from imdb_conv1d.parameters import TrainParameters

Batch = tuple[np.ndarray, ...]
MAXLEN, KERNEL = 40, 3


def reviews(rows: int, seed: int = 0) -> Batch:
    """Padded reviews of 1 to MAXLEN words, whose last id is the row number, and labels."""
    sizes = np.random.default_rng(seed).integers(1, MAXLEN + 1, rows)
    words = [np.append(np.full(size - 1, rows + 1), row + 1) for row, size in enumerate(sizes)]
    return keras.utils.pad_sequences(words, maxlen=MAXLEN), np.arange(rows, dtype=np.float32) % 2


def encoded(rows: int) -> tuple[EncodedPart, np.ndarray]:
    ids, labels = reviews(rows)
    return EncodedPart.from_padded(ids), labels


def epoch(number: int, rows: int = 103, batch_size: int = 4, seed: int = 7, kernel_size: int = KERNEL) -> list[Batch]:
    variable = tf.Variable(number, dtype=tf.int64)
    batches = make_training_batches(*encoded(rows), batch_size, kernel_size, seed, variable)
    return list(batches.as_numpy_iterator())


def order(batches: list[Batch]) -> list[int]:
    return [int(row) - 1 for ids, _ in batches for row in ids[:, -1]]


def former_batches(
    ids: np.ndarray, labels: np.ndarray, batch_size: int, kernel_size: int, seed: int, number: int
) -> list[Batch]:
    """The batches of versions that held all ids padded."""
    lengths = tf.constant((ids != 0).sum(axis=1), tf.int64)
    order = batches._order_rows(lengths, batch_size, seed, tf.constant(number, tf.int64)).numpy()
    return [former_cut(ids, labels, kernel_size, order[at : at + batch_size]) for at in range(0, len(ids), batch_size)]


def former_cut(ids: np.ndarray, labels: np.ndarray, kernel_size: int, rows: np.ndarray) -> Batch:
    batch, maxlen = ids[rows], ids.shape[1]
    longest = (batch != 0).sum(axis=1).max()
    length = min(-(-(longest + kernel_size) // MULTIPLE) * MULTIPLE, maxlen)
    return batch[:, maxlen - length :].astype(np.int32), labels[rows]


def same(ours: list[Batch], theirs: list[Batch]) -> bool:
    pairs = [(a, b) for batches in zip(ours, theirs, strict=True) for a, b in zip(*batches, strict=True)]
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


@pytest.mark.slow
@given(
    rows=st.integers(1, 300),
    batch_size=st.integers(1, 50),
    kernel_size=st.integers(1, 9),
    seed=st.integers(0, 2**32 - 1),
    number=st.integers(1, 10**6),
)
def test_batches_equal_those_of_padded_ids(
    rows: int, batch_size: int, kernel_size: int, seed: int, number: int
) -> None:
    ids, labels = reviews(rows)
    assert same(
        epoch(number, rows, batch_size, seed, kernel_size),
        former_batches(ids, labels, batch_size, kernel_size, seed, number),
    )
    order = np.argsort((ids != 0).sum(axis=1), kind="stable")
    found = make_validation_batches(EncodedPart.from_padded(ids), labels, kernel_size)
    assert same(
        list(found.as_numpy_iterator()),
        [
            former_cut(ids, labels, kernel_size, order[at : at + VALIDATION_BATCH])
            for at in range(0, rows, VALIDATION_BATCH)
        ],
    )


def test_batches_of_mapped_ids_equal_those_of_padded_ones(tmp_path: Path) -> None:
    texts = [" ".join(f"w{word}" for word in range(row % 23)) for row in range(150)]
    rows = np.arange(150)
    positions = [np.sort(rows[rows % 3 > 0]), rows[rows % 3 == 0]]
    parts = encode_parts(iter([(rows[::-1], texts[::-1])]), positions, tmp_path, 15, 20).parts
    labels = [(part % 7).astype(np.int32) for part in positions]
    for part, of_part in zip(parts, labels, strict=True):
        for number in (1, 2):
            found = make_training_batches(part, of_part, 8, KERNEL, 7, tf.Variable(number, dtype=tf.int64))
            assert same(
                list(found.as_numpy_iterator()), former_batches(part.to_padded(), of_part, 8, KERNEL, 7, number)
            )


def resident() -> int:
    """Bytes of this process's memory that belong to no file."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


def test_batches_do_not_copy_the_mapped_ids(tmp_path: Path) -> None:
    size = 40_000_000
    with (tmp_path / "ids").open("wb") as file:
        file.truncate(size * 2)
    values = np.memmap(tmp_path / "ids", np.uint16, "c")
    part = EncodedPart(values, np.arange(0, size, size // 100), np.full(100, 30, np.int32), 30)
    labels = np.zeros(100, np.float32)
    variable = tf.Variable(1, dtype=tf.int64)
    next(iter(make_training_batches(*encoded(100), 4, KERNEL, 7, variable)))
    grown = []
    for _ in range(3):  # threads of earlier tests may allocate meanwhile; a copy would show each time
        before = resident()
        training = make_training_batches(part, labels, 4, KERNEL, 7, variable)
        for data in (training, make_validation_batches(part, labels, KERNEL)) * 2:
            assert sum(len(batch[1]) for batch in data) == 100
        grown.append(resident() - before)
        del training, data
        gc.collect()
    assert min(grown) < size // 4, grown


def test_class_weights_weigh_each_row_by_its_label() -> None:
    part, _ = encoded(103)
    labels = (np.arange(103) % 3 == 0).astype(np.int32) + (np.arange(103) % 50 == 0)
    weights = balance_classes(labels, 3)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights[labels].mean(), 1, rtol=1e-6)
    np.testing.assert_allclose([weights[labels][labels == code].sum() for code in range(3)], 103 / 3, rtol=1e-6)
    variable = tf.Variable(1, dtype=tf.int64)
    weighted = list(make_training_batches(part, labels, 4, KERNEL, 7, variable, weights).as_numpy_iterator())
    plain = list(make_training_batches(part, labels, 4, KERNEL, 7, variable).as_numpy_iterator())
    assert same([batch[:2] for batch in weighted], plain)
    for _, codes, of_rows in weighted:
        assert codes.dtype == np.int32
        assert of_rows.dtype == np.float32
        assert np.array_equal(of_rows, weights[codes])


@pytest.mark.slow
@given(rows=st.integers(1, 300), batch_size=st.integers(1, 50), number=st.integers(1, 10**6))
def test_training_batches_have_every_row_once_with_its_label(rows: int, batch_size: int, number: int) -> None:
    batches = epoch(number, rows, batch_size)
    assert [len(labels) for _, labels in batches[:-1]] == [batch_size] * ((rows - 1) // batch_size)
    assert sorted(order(batches)) == list(range(rows))
    all_ids, all_labels = reviews(rows)
    for ids, labels in batches:
        for row, label in zip(ids, labels, strict=True):
            index = row[-1] - 1
            assert label == all_labels[index]
            assert np.array_equal(row, all_ids[index, -len(row) :])  # only padding is cut, at the front
            assert not all_ids[index, : MAXLEN - len(row)].any()


@pytest.mark.slow
@given(batch_size=st.integers(1, 20), kernel_size=st.integers(1, 9), number=st.integers(1, 100))
def test_cut_batch_keeps_padding_for_the_kernel(batch_size: int, kernel_size: int, number: int) -> None:
    for ids, _ in epoch(number, 103, batch_size, kernel_size=kernel_size):
        length = ids.shape[1]
        longest = (ids != 0).sum(axis=1).max()
        assert length == min(MAXLEN, -(-(longest + kernel_size) // MULTIPLE) * MULTIPLE)


def test_training_batches_with_the_largest_batch_size_and_seed_have_every_row() -> None:
    (batch,) = epoch(1, 103, batch_size=2**31 - 1, seed=2**32 - 1)
    assert sorted(order([batch])) == list(range(103))


@pytest.mark.slow
def test_training_batches_of_other_epochs_and_seeds_have_other_orders() -> None:
    variable, seen = tf.Variable(0, dtype=tf.int64), set()
    for seed in (7, 8):
        batches = make_training_batches(*encoded(103), 4, KERNEL, seed, variable)
        for number in range(1, 21):
            variable.assign(number)
            seen.add(tuple(order(list(batches.as_numpy_iterator()))))
    assert len(seen) == 40


def test_order_of_an_epoch_is_independent_of_earlier_epochs() -> None:
    variable = tf.Variable(1, dtype=tf.int64)
    batches = make_training_batches(*encoded(103), 4, KERNEL, 7, variable)
    for number in (1, 2, 5, 2):
        variable.assign(number)
        assert order(list(batches.as_numpy_iterator())) == order(epoch(number))


def test_training_batches_have_similar_lengths_in_random_order() -> None:
    rows, batch_size = 4000, 16
    batches = epoch(1, rows, batch_size)
    assert rows % batch_size == 0
    spread = [np.ptp((ids != 0).sum(axis=1)) for ids, _ in batches]
    assert np.median(spread) <= np.ceil(MAXLEN / POOL) + 1
    longest = [(ids != 0).sum(axis=1).max() for ids, _ in batches]
    assert abs(np.corrcoef(longest[1:], longest[:-1])[0, 1]) < 0.2
    # Which reviews share a batch changes from epoch to epoch.
    sets = [{frozenset(ids[:, -1].tolist()) for ids, _ in epoch(number, rows, batch_size)} for number in (1, 2)]
    assert not sets[0] & sets[1]


@pytest.mark.slow
def test_order_in_another_process_is_the_same() -> None:
    code = "import test_batches as t; print([t.order(t.epoch(number)) for number in (1, 2)])"
    here = Path(__file__).parent
    path = {"PYTHONPATH": f"{here}:{here.parent}:{SRC}", "TF_CPP_MIN_LOG_LEVEL": "3"}
    found = subprocess.run([sys.executable, "-c", code], env=path, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str([order(epoch(number)) for number in (1, 2)])


def test_validation_batches_have_every_row_once_and_repeat() -> None:
    ids, labels = reviews(600)
    batches = make_validation_batches(EncodedPart.from_padded(ids), labels, KERNEL)
    first, second = (list(batches.as_numpy_iterator()) for _ in range(2))
    assert sorted(order(first)) == list(range(600))
    assert all(np.array_equal(ours[0], theirs[0]) for ours, theirs in zip(first, second, strict=True))
    assert all((values == labels[batch[:, -1] - 1]).all() for batch, values in first)
    assert [batch.shape[1] for batch, _ in first] == sorted(batch.shape[1] for batch, _ in first)


@pytest.mark.parametrize(("limit", "cuts"), [(103 * MAXLEN * 4, 1), (103 * MAXLEN * 4 - 1, 2)])
def test_validation_batches_are_cut_once_if_they_fit_in_memory(
    limit: int, cuts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, make_cutter = [], batches._make_cutter

    def make_counting_cutter(*arguments: object, lookup: None) -> Callable[[tf.Tensor], Batch]:
        cut = make_cutter(*arguments)  # type: ignore[arg-type]

        def count_and_cut(rows: tf.Tensor) -> Batch:
            tf.py_function(lambda: made.append("a batch"), [], [])
            return cut(rows)

        return count_and_cut

    monkeypatch.setattr(batches, "MAX_CACHED", limit)
    monkeypatch.setattr(batches, "_make_cutter", make_counting_cutter)
    found = make_validation_batches(*encoded(103), KERNEL)
    first, second = list(found.as_numpy_iterator()), list(found.as_numpy_iterator())
    ids, labels = reviews(103)
    expected = former_cut(ids, labels, KERNEL, np.argsort((ids != 0).sum(axis=1), kind="stable"))
    assert same(first, [expected])
    assert same(second, first)
    assert len(made) == cuts


@pytest.mark.slow
@pytest.mark.parametrize("kernel_size", [1, 3, 7])
def test_cut_batch_scores_like_the_full_length(kernel_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Includes the cases where padding has the largest or the smallest embedding."""
    parameters = TrainParameters(
        maxlen=MAXLEN, max_features=700, embedding_dims=64, filters=32, hidden_dims=8, kernel_size=kernel_size
    )
    monkeypatch.setattr(batches, "VALIDATION_BATCH", 1)  # cut each review alone
    monkeypatch.setattr(batches, "MULTIPLE", 1)  # and as short as allowed
    ids, labels = reviews(80)
    part = EncodedPart.from_padded(ids)
    words = (ids != 0).sum(axis=1)
    for padding in (-3.0, 0.0, 3.0):
        network = networks.build(parameters)
        table = network.plain.layers[0].get_weights()[0]
        table[0] = padding
        network.plain.layers[0].set_weights([table])
        full = network.plain.predict(ids, verbose=0)[:, 0]
        for batch, _ in make_validation_batches(part, labels, kernel_size).as_numpy_iterator():
            row = batch[0, -1] - 1
            assert batch.shape[1] == min(words[row] + kernel_size, MAXLEN)
            cut = network.trained.predict_on_batch(batch)[:, 0]
            np.testing.assert_allclose(cut, full[row], rtol=1e-5)
    # With one position of padding less, no window of padding alone remains, and scores differ.
    row = int(np.flatnonzero((words >= kernel_size) & (words + kernel_size < MAXLEN))[0])
    shorter = ids[row : row + 1, MAXLEN - words[row] - kernel_size + 1 :]
    assert not np.allclose(network.trained.predict_on_batch(shorter)[0, 0], full[row], rtol=1e-5)
