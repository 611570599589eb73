"""The network of gates: the linear model at first, each member's own loss, the mean of members."""

import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from imdb_conv1d import networks
from imdb_conv1d.networks import Network
from imdb_conv1d.ngram_model import NgramModel
from imdb_conv1d.parameters import TrainParameters

ROWS, LENGTH, LONGEST = 24, 10, 2
SMALL = TrainParameters(
    network="gated", maxlen=LENGTH, max_features=30, embedding_dims=4, hidden_dims=3, ngrams=LONGEST, dropout=0.0,
    kernel_size=1, learning_rate=0.01,
)  # fmt: skip
CASES = [(2, 2), (3, 1)]  # classes, members


def make_model(classes: int, intercept: float = 0.0) -> NgramModel:
    outputs = 1 if classes == 2 else classes
    intercepts = intercept + np.linspace(-0.5, 0.5, 6 * outputs, dtype=np.float32).reshape(6, outputs)
    return NgramModel(
        np.array([5], np.int64), np.ones((6, 1), np.float32), np.ones((6, 1, outputs), np.float32), intercepts
    )


def build(classes: int, members: int, intercept: float = 0.0) -> Network:
    keras.utils.set_random_seed(3)
    parameters = SMALL.model_copy(update={"members": members})
    return networks.build_gated(parameters, make_model(classes, intercept), classes, ROWS)


def make_inputs(classes: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Padded ids and values, which are 0 in the padding; labels as the experiment gives them."""
    chance = np.random.default_rng(0)
    ids = chance.integers(1, 30, (ROWS, LENGTH)).astype(np.int32)
    ids[np.arange(LENGTH) < chance.integers(0, LENGTH, (ROWS, 1))] = 0
    shape = (ROWS, LENGTH, LONGEST) if classes == 2 else (ROWS, LENGTH, LONGEST, classes)
    values = chance.normal(size=shape).astype(np.float32)
    values[ids == 0] = 0
    kind = np.float32 if classes == 2 else np.int32
    return [ids, values], (np.arange(ROWS) % classes).astype(kind)


def logits_of_members(network: Network, inputs: list[np.ndarray]) -> np.ndarray:
    """Each member's logits, [n, members, outputs]."""
    last = [layer for layer in network.plain.layers if layer.name.startswith("dense")]
    outputs = network.plain.output_shape[-1]
    answers = [layer.output for layer in last if layer.output.shape == (None, outputs) and layer.use_bias]
    return np.stack([keras.Model(network.plain.inputs, answer).predict(inputs, verbose=0) for answer in answers], 1)


def to_losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Cross-entropies, [n, members]."""
    if logits.shape[-1] == 1:
        return np.logaddexp(0, logits[..., 0]) - labels[:, np.newaxis] * logits[..., 0]
    sums = np.log(np.exp(logits).sum(axis=-1))
    return np.asarray(sums - logits[np.arange(len(labels)), :, labels.astype(int)])


def count_right(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    chosen = logits[..., 0] > 0 if logits.shape[-1] == 1 else logits.argmax(axis=-1)
    return np.asarray(chosen == labels[:, np.newaxis])


@pytest.mark.parametrize(("classes", "members"), CASES)
def test_network_with_gates_at_one_is_the_linear_model(classes: int, members: int) -> None:
    network, (inputs, _) = build(classes, members), make_inputs(classes)
    opened = [
        layer for layer in network.plain.layers if getattr(layer, "activation", None) is keras.activations.sigmoid
    ]
    gates = [layer for layer in opened if isinstance(layer, keras.layers.Dense)]
    assert len(gates) == members
    for gate in gates:
        gate.set_weights([np.zeros_like(weight) for weight in gate.get_weights()])  # 2 σ(0) = 1
    sums = inputs[1].sum(axis=(1, 2)).reshape(ROWS, -1) + make_model(classes).intercepts[0]
    expected = tf.sigmoid(sums) if classes == 2 else tf.nn.softmax(sums)
    np.testing.assert_allclose(network.plain.predict(inputs, verbose=0), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(logits_of_members(network, inputs), np.repeat(sums[:, None], members, 1), rtol=1e-3,
                               atol=1e-4)  # fmt: skip


@pytest.mark.parametrize(("classes", "members"), CASES)
def test_padding_and_neighbours_change_no_answer(classes: int, members: int) -> None:
    network, (inputs, _) = build(classes, members), make_inputs(classes)
    expected = network.plain.predict(inputs, verbose=0)
    longer = [np.pad(one, ((0, 0), (6, 0), *[(0, 0)] * (one.ndim - 2))) for one in inputs]
    np.testing.assert_allclose(network.trained.predict(longer, verbose=0).reshape(expected.shape), expected, rtol=1e-4)
    for row in (0, 5):
        words = np.count_nonzero(inputs[0][row])
        cut = [one[row : row + 1, LENGTH - words :] for one in inputs]
        np.testing.assert_allclose(network.trained.predict_on_batch(cut)[0], expected[row], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "members"), CASES)
def test_training_is_on_each_members_own_loss_and_validation_on_their_mean(classes: int, members: int) -> None:
    network, (inputs, labels) = build(classes, members), make_inputs(classes)
    logits = logits_of_members(network, inputs)
    assert logits.shape == (ROWS, members, 1 if classes == 2 else classes)
    mean = logits.mean(axis=1, keepdims=True)
    data = tf.data.Dataset.from_tensors((tuple(inputs), labels))
    validation = network.trained.evaluate(data, verbose=0, return_dict=True)
    assert validation["loss"] == pytest.approx(to_losses(mean, labels).mean(), rel=1e-5)
    assert validation["accuracy"] == pytest.approx(count_right(mean, labels).mean())
    weights = np.linspace(0.5, 2, ROWS).astype(np.float32)
    weighted = tf.data.Dataset.from_tensors((tuple(inputs), labels, weights))
    history = network.trained.fit(weighted, verbose=0).history  # one step: before any change
    assert history["loss"][0] == pytest.approx((to_losses(logits, labels).mean(axis=1) * weights).mean(), rel=1e-5)
    assert history["accuracy"][0] == pytest.approx(count_right(logits, labels).mean())  # not weighted
    assert members == 1 or np.ptp(logits, axis=1).max() > 1e-3  # members differ


def test_losses_of_certain_mistakes_are_not_cut_off() -> None:
    network, (inputs, _) = build(2, 2, intercept=60.0), make_inputs(2)
    inputs[1][:] = 0
    data = tf.data.Dataset.from_tensors((tuple(inputs), np.zeros(ROWS, np.float32)))
    assert network.trained.evaluate(data, verbose=0)[0] == pytest.approx(59.5, rel=1e-4)
    assert network.trained.fit(data, verbose=0).history["loss"][0] == pytest.approx(59.5, rel=1e-4)


def test_losses_of_certain_mistakes_in_many_classes_are_not_cut_off() -> None:
    network, (inputs, _) = build(3, 2), make_inputs(3)
    inputs[1][:] = 0
    for layer in network.plain.layers:
        if (
            isinstance(layer, keras.layers.Dense)
            and layer.use_bias
            and layer.units == 3
            and len(layer.get_weights()) == 2
        ):
            kernel, _ = layer.get_weights()
            if kernel.shape == (3, 3) and np.array_equal(kernel, np.eye(3)):
                layer.set_weights([kernel, np.array([50.0, 0.0, 0.0])])
    data = tf.data.Dataset.from_tensors((tuple(inputs), np.ones(ROWS, np.int32)))
    assert network.trained.evaluate(data, verbose=0)[0] == pytest.approx(50, rel=1e-4)
    assert network.trained.fit(data, verbose=0).history["loss"][0] == pytest.approx(50, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "members", "fused"), [(2, 2, True), (3, 1, False)])
def test_saved_network_has_the_trained_state_and_loads_by_keras_alone(
    classes: int, members: int, fused: bool, tmp_path: Path
) -> None:
    keras.utils.set_random_seed(3)
    parameters = SMALL.model_copy(update={"members": members, "fused": fused})
    network = networks.build_gated(parameters, make_model(classes), classes, ROWS)
    assert not network.fused
    for ours, theirs in zip(network.plain.trainable_variables, network.trained.trainable_variables, strict=True):
        assert ours is theirs
    inputs, labels = make_inputs(classes)
    data = tf.data.Dataset.from_tensor_slices((tuple(inputs), labels)).batch(8)
    network.trained.fit(data, epochs=2, verbose=0)
    network.save(tmp_path / "best.keras")
    with zipfile.ZipFile(tmp_path / "best.keras") as archive:
        assert "imdb_conv1d" not in archive.read("config.json").decode()
    loaded = keras.saving.load_model(tmp_path / "best.keras", safe_mode=True)
    expected = network.trained.predict(inputs, verbose=0)
    np.testing.assert_allclose(loaded.predict(inputs, verbose=0), expected, atol=1e-6)
    assert int(loaded.optimizer.iterations) == 6
    for saved, trained in zip(loaded.optimizer.variables, network.trained.optimizer.variables, strict=True):
        assert np.array_equal(np.asarray(saved), np.asarray(trained)), trained.path
