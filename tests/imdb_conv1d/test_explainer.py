"""Effects of windows beside brute force in Keras: each window in turn is masked before the maximum."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imdb_conv1d.explainer import Weights, compute_effects

IDS, DIMS, FILTERS, UNITS = 9, 4, 6, 5
CASES = [(kernel_size, outputs) for kernel_size in range(1, 6) for outputs in (1, 5)]


def make_weights(kernel_size: int, outputs: int, seed: int = 0) -> list[np.ndarray]:
    chance = np.random.default_rng(seed)
    shapes = [(IDS, DIMS), (kernel_size, DIMS, FILTERS), (FILTERS,), (FILTERS, UNITS), (UNITS,), (UNITS, outputs)]
    return [chance.normal(size=shape) for shape in (*shapes, (outputs,))]


def mask_each_window(arrays: list[np.ndarray], ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the logits with all windows, [outputs], and without each of them, [windows, outputs], in Keras."""
    layers = [
        keras.layers.Embedding(IDS, DIMS, dtype="float64"),
        keras.layers.Conv1D(FILTERS, len(arrays[1]), padding="valid", dtype="float64"),
        keras.layers.Dense(UNITS, activation="relu", dtype="float64"),
        keras.layers.Dense(arrays[5].shape[1], dtype="float64"),
    ]
    embedding, convolution, hidden, output = layers
    words = embedding(ids[np.newaxis])
    convolution.build(words.shape)
    hidden.build((1, FILTERS))
    output.build((1, UNITS))
    embedding.set_weights(arrays[:1])
    for layer, start in ((convolution, 1), (hidden, 3), (output, 5)):
        layer.set_weights(arrays[start : start + 2])
    activations = np.asarray(convolution(embedding(ids[np.newaxis])))[0]
    pooled = [activations.max(axis=0)]
    for window in range(len(activations)):
        masked = activations.copy()
        masked[window] = -np.inf
        pooled.append(masked.max(axis=0))
    logits = np.asarray(output(hidden(np.maximum(pooled, 0.0))))
    return logits[0], logits[1:]


def assert_equals_brute_force(arrays: list[np.ndarray], ids: np.ndarray) -> None:
    found = compute_effects(Weights.of(arrays), ids)
    logits, without = mask_each_window(arrays, ids)
    np.testing.assert_allclose(found.logits, logits, atol=1e-9)
    if len(logits) == 1:
        code, sign = int(logits[0] > 0), 1 if logits[0] > 0 else -1
        own, others = sign * logits[0], sign * without[:, 0]
        probabilities = 1 / (1 + np.exp(-np.array([own, *others])))
    else:
        code = int(logits.argmax())
        own, others = logits[code], without[:, code]
        powers = np.exp(np.array([logits, *without]))
        probabilities = powers[:, code] / powers.sum(axis=1)
    assert found.predicted == code
    assert found.logit == pytest.approx(own, abs=1e-9)
    assert found.probability == pytest.approx(probabilities[0], abs=1e-9)
    expected = own - others
    effects = np.zeros(len(others))
    effects[found.starts] = found.effects
    np.testing.assert_allclose(effects, expected, atol=1e-9)  # those that are left out have none
    np.testing.assert_allclose(found.probabilities, probabilities[1:][found.starts], atol=1e-9)
    assert len(set(found.starts.tolist())) == len(found.starts)
    assert (np.diff(np.abs(found.effects)) <= 0).all()
    assert 0 <= found.held.sum() <= FILTERS
    assert (found.held > 0).all()


def pad(ids: list[int], maxlen: int) -> np.ndarray:
    return np.array([*[0] * (maxlen - len(ids)), *ids][-maxlen:])


@pytest.mark.parametrize(("kernel_size", "outputs"), CASES)
def test_effects_equal_brute_force_for_short_full_and_cut_texts(kernel_size: int, outputs: int) -> None:
    for seed, length in enumerate((1, 2, 8, 12, 30)):
        ids = [1, *np.random.default_rng(seed).integers(2, IDS, length - 1).tolist()]
        assert_equals_brute_force(make_weights(kernel_size, outputs, seed), pad(ids, 12))


@given(
    ids=st.lists(st.integers(0, 4), min_size=5, max_size=12),  # few words: windows occur several times
    kernel_size=st.integers(1, 5),
    outputs=st.sampled_from([1, 2, 5]),
    seed=st.integers(0, 9),
)
def test_effects_equal_brute_force_for_any_ids(ids: list[int], kernel_size: int, outputs: int, seed: int) -> None:
    assert_equals_brute_force(make_weights(kernel_size, outputs, seed), np.array(ids))


def test_effects_of_a_text_as_long_as_one_window_are_those_of_an_empty_maximum() -> None:
    arrays = make_weights(5, 1)
    assert_equals_brute_force(arrays, np.array([1, 2, 3, 4, 5]))
    found = compute_effects(Weights.of(arrays), np.array([1, 2, 3, 4, 5]))
    empty = np.maximum(arrays[4], 0) @ arrays[5] + arrays[6]
    sign = 1 if found.predicted else -1
    assert found.starts.tolist() == [0]
    assert found.effects[0] == pytest.approx(sign * float(found.logits[0] - empty[0]))


def test_window_that_occurs_twice_has_no_effect() -> None:
    arrays = make_weights(2, 1)
    arrays[1] = np.abs(arrays[1])
    arrays[0][:] = 0.1
    arrays[0][3] = 5.0  # every filter takes the window 3 3
    arrays[2][:] = 0.0
    once = compute_effects(Weights.of(arrays), np.array([1, 2, 3, 3, 4, 2]))
    assert (once.starts.tolist(), once.held.tolist()) == ([2], [FILTERS])
    assert abs(once.effects[0]) > 0.1
    twice = compute_effects(Weights.of(arrays), np.array([3, 3, 4, 2, 3, 3]))
    assert (len(twice.starts), len(twice.effects), len(twice.held)) == (0, 0, 0)
    assert_equals_brute_force(arrays, np.array([3, 3, 4, 2, 3, 3]))


def test_different_windows_with_equal_values_have_no_effect() -> None:
    arrays = make_weights(1, 5)
    arrays[0][3] = arrays[0][4]
    assert_equals_brute_force(arrays, np.array([0, 3, 4, 0]))
    assert not {1, 2} & set(compute_effects(Weights.of(arrays), np.array([0, 3, 4, 0])).starts.tolist())


def test_filters_below_zero_hold_no_window() -> None:
    arrays = make_weights(3, 1)
    arrays[2][:] = -1e3
    found = compute_effects(Weights.of(arrays), np.arange(8))
    assert found.starts.tolist() == []
    assert_equals_brute_force(arrays, np.arange(8))


def test_extreme_logits_give_probabilities_without_overflow() -> None:
    for outputs in (1, 3):
        arrays = make_weights(2, outputs)
        arrays[-1] = np.linspace(-5000, -4000, outputs)
        found = compute_effects(Weights.of(arrays), np.arange(8))
        assert found.probability == 1.0
        assert np.isfinite(found.effects).all()
        assert (found.probabilities <= 1).all()


@pytest.mark.parametrize("spoil", [0, 1, 2, 3, 4, 5, 6])
def test_weights_of_another_network_are_refused(spoil: int) -> None:
    arrays = make_weights(3, 2)
    with pytest.raises(ValueError, match="are of another network"):
        Weights.of([array for number, array in enumerate(arrays) if number != spoil])
    arrays[spoil] = np.zeros(np.add(arrays[spoil].shape, 1))
    with pytest.raises(ValueError, match="are of another network"):
        Weights.of(arrays)


def test_explanation_of_a_long_text_takes_milliseconds() -> None:
    chance = np.random.default_rng(0)
    shapes = [(5000, 50), (3, 50, 250), (250,), (250, 250), (250,), (250, 1), (1,)]
    weights = Weights.of([chance.normal(size=shape) for shape in shapes])
    found = compute_effects(weights, chance.integers(1, 5000, 400))
    assert found.held.sum() == 250
