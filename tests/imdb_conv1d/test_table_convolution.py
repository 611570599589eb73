"""The convolution by tables gives what the network's own layers give."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from imdb_conv1d import networks
from imdb_conv1d.parameters import TrainParameters
from imdb_conv1d.table_convolution import TableConvolution


def build(kernel_size: int, maxlen: int = 9, seed: int = 0) -> keras.Model:
    parameters = TrainParameters(
        maxlen=maxlen, max_features=12, embedding_dims=4, filters=5, hidden_dims=3, kernel_size=kernel_size
    )
    network = networks.build(parameters).plain
    chance = np.random.default_rng(seed)
    network.set_weights([chance.normal(size=weight.shape) for weight in network.get_weights()])
    return network


NETWORKS = {width: build(width) for width in (1, 2, 3, 9)}


@given(
    st.sampled_from(sorted(NETWORKS)),
    st.lists(st.lists(st.integers(1, 11), min_size=1, max_size=9), min_size=1, max_size=6),
)
def test_maxima_of_any_ids_are_those_of_the_network(width: int, texts: list[list[int]]) -> None:
    network = NETWORKS[width]
    convolution, rest = TableConvolution.find(network, 9) or pytest.fail("not found")
    ids = np.array([[0] * (9 - len(text)) + text for text in texts], np.int32)
    found = convolution(tf.constant(ids), convolution.make_tables()).numpy()
    pooled = keras.Model(network.inputs, network.layers[3].output)
    np.testing.assert_allclose(found, pooled([ids], training=False), rtol=1e-5, atol=1e-5)
    assert rest == network.layers[4:]


def test_network_without_a_convolution_has_no_tables() -> None:
    layers = keras.layers
    network = keras.Sequential([keras.Input((9,)), layers.Embedding(12, 4), layers.Dropout(0.1), layers.Flatten()])
    assert TableConvolution.find(network, 9) is None


def test_network_whose_tables_would_be_large_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    network = NETWORKS[3]
    convolution, _ = TableConvolution.find(network, 9) or pytest.fail("not found")
    assert convolution.table_bytes == 4 * 3 * 12 * 5
    monkeypatch.setattr("imdb_conv1d.table_convolution.MAX_BYTES", convolution.table_bytes - 1)
    assert TableConvolution.find(network, 9) is None
