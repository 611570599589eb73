"""Effects of n-grams beside Keras: the network's own logits, and those with one value set to 0."""

from collections.abc import Sequence

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.gated import build_network, fit_ngrams, make_parameters
from imdb_conv1d import gated_explainer
from imdb_conv1d.effects import Effects
from imdb_conv1d.gated_explainer import GatedWeights
from imdb_conv1d.ngram_lookup import NgramLookup

CASES = [(members, classes) for members in (1, 2) for classes in (2, 3)]


class Subject:
    """A network, its lookup, and its weights as they are stored."""

    def __init__(self, members: int, classes: int) -> None:
        self.parameters = make_parameters(members)
        model = fit_ngrams(self.parameters, classes)
        self.network = build_network(self.parameters, model)
        self.to_logits = keras.Model(self.network.inputs, self.network.layers[-2].output)
        self.lookup = NgramLookup(model, self.parameters.max_features, self.parameters.ngrams)
        self.arrays = [np.asarray(variable) for variable in self.network.trainable_variables]
        self.weights = GatedWeights.of(self.arrays, *self.tables)

    @property
    def tables(self) -> list[np.ndarray]:
        return [np.asarray(table) for table in (self.lookup.keys, self.lookup.ratios, self.lookup.weights)]

    def pad(self, ids: Sequence[int]) -> np.ndarray:
        maxlen = self.parameters.maxlen
        return np.array([*[0] * (maxlen - len(ids)), *ids][-maxlen:], np.int32)

    def explain(self, ids: np.ndarray) -> Effects:
        return gated_explainer.compute_effects(self.weights, ids)


@pytest.fixture(scope="module")
def subjects() -> dict[tuple[int, int], Subject]:
    return {case: Subject(*case) for case in CASES}


TEXTS = ([1], [1, 3], [1, 3, 4, 3, 4, 3, 4], [1, 3, 4, 5, 6, 7, 2, 3, 4, 3, 3], [5, 4, 3] * 4)


def of_class(logits: np.ndarray, code: int) -> np.ndarray:
    """The logit of a class in rows of logits."""
    if logits.shape[-1] == 1:
        return logits[..., 0] if code else -logits[..., 0]
    return logits[..., code]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("ids", TEXTS)
def test_effect_of_each_ngram_is_the_networks_change_without_its_value_and_with_its_gates(
    subjects: dict[tuple[int, int], Subject], case: tuple[int, int], ids: list[int]
) -> None:
    subject = subjects[case]
    padded = subject.pad(ids)
    values = np.asarray(subject.lookup(padded[np.newaxis]))
    found = subject.explain(padded)
    logits = np.asarray(subject.to_logits([padded[np.newaxis], values]))[0]
    np.testing.assert_allclose(found.logits, logits, rtol=1e-4, atol=1e-5)
    known = values[0] != 0 if values.ndim == 3 else (values[0] != 0).any(axis=-1)
    places = {(int(start), int(length)) for start, length in zip(found.starts, found.lengths, strict=True)}
    assert {(int(place), int(shorter) + 1) for place, shorter in np.argwhere(known)} <= places
    assert len(places) == len(found.starts)
    without = np.repeat(values, len(found.starts), axis=0)
    without[np.arange(len(without)), found.starts, found.lengths - 1] = 0
    changed = compute_with_gates_of(subject, padded, values, without)
    own = of_class(changed, found.predicted)
    np.testing.assert_allclose(found.logit - own, found.effects, atol=2e-5)
    probabilities = 1 / (1 + np.exp(-own)) if len(logits) == 1 else np.exp(own) / np.exp(changed).sum(axis=1)
    np.testing.assert_allclose(found.probabilities, probabilities, atol=1e-5)


def compute_with_gates_of(subject: Subject, ids: np.ndarray, values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Compute logits of other values with a text's gates, by the network's own layers: [n, outputs]."""
    dense = [layer for layer in subject.network.layers if isinstance(layer, keras.layers.Dense)]
    gates = [layer.output for layer in dense if layer.activation is keras.activations.sigmoid]
    by_length = [layer for layer in dense if not layer.use_bias]
    last = [layer for layer in dense if layer.use_bias and layer.activation is keras.activations.linear]
    assert len(gates) == len(by_length) == len(last) == subject.parameters.members
    logits = []
    for gate, weigh, answer in zip(gates, by_length, last, strict=True):
        found = 2 * np.asarray(keras.Model(subject.network.inputs, gate)([ids[np.newaxis], values]))[0]
        if others.ndim == 3:
            sums = np.asarray(weigh(found * others)).sum(axis=1)
        else:
            sums = np.asarray(weigh(np.einsum("ln,blnc->bcn", found, others)))[..., 0]
        logits.append(np.asarray(answer(sums)))
    return np.mean(logits, axis=0)


@given(ids=st.lists(st.integers(2, 7), max_size=20), case=st.sampled_from(CASES))
def test_effects_and_positions_add_up_to_the_logit_less_the_intercept(
    subjects: dict[tuple[int, int], Subject], ids: list[int], case: tuple[int, int]
) -> None:
    subject = subjects[case]
    found = subject.explain(subject.pad([1, *ids]))
    assert found.intercept is not None
    assert found.gates is not None
    assert found.intercept + found.effects.sum() == pytest.approx(found.logit, abs=1e-9)
    assert found.add_up(subject.parameters.maxlen).sum() == pytest.approx(found.effects.sum(), abs=1e-9)
    assert ((found.gates >= 0) & (found.gates <= 2)).all()
    assert (np.diff(np.abs(found.effects)) <= 0).all()
    assert (found.held, found.shares) == (None, None)


def test_word_gets_its_share_of_each_ngram() -> None:
    none = np.zeros(0)
    found = Effects(none, 1, 3.0, 0.9, np.array([2, 3]), np.array([3, 1]), np.array([3.0, -0.5]), none, intercept=0.5)
    assert found.add_up(6).tolist() == [0, 0, 1.0, 0.5, 1.0, 0]


def test_text_without_a_known_ngram_has_the_intercept_for_its_logit() -> None:
    subject = Subject(1, 2)
    keys, ratios, weights = subject.tables
    others = GatedWeights.of(subject.arrays, keys[-1:], ratios[-2:], weights[-2:])  # that of one trigram
    found = gated_explainer.compute_effects(others, subject.pad([1, 2]))
    assert (len(found.effects), found.logit) == (0, found.intercept)
    assert abs(found.logits[0]) == pytest.approx(abs(float(subject.arrays[-1][0])))
    assert not found.add_up(12).any()


def test_ngram_counts_where_it_stands_first(subjects: dict[tuple[int, int], Subject]) -> None:
    found = subjects[1, 2].explain(subjects[1, 2].pad([1, 3, 3, 3, 3, 3]))
    assert sorted(found.starts[found.lengths == 1].tolist()) == [6, 7]


@pytest.mark.parametrize("spoil", range(16))
def test_weights_of_another_network_are_refused(subjects: dict[tuple[int, int], Subject], spoil: int) -> None:
    subject = subjects[2, 3]
    with pytest.raises(ValueError, match="are of another network"):
        GatedWeights.of([one for number, one in enumerate(subject.arrays) if number != spoil], *subject.tables)
    spoiled = [np.zeros(np.add(one.shape, number == spoil)) for number, one in enumerate(subject.arrays)]
    with pytest.raises(ValueError, match="are of another network"):
        GatedWeights.of(spoiled, *subject.tables)
    with pytest.raises(ValueError, match="are of another network"):
        GatedWeights.of([], *subject.tables)
