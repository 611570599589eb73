import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from imdb_conv1d import networks
from imdb_conv1d.batches import balance_classes
from imdb_conv1d.ids import EncodedPart
from imdb_conv1d.parameters import TrainParameters

KINDS = [
    "Embedding", "Dropout", "Conv1D", "GlobalMaxPooling1D", "Dense", "Dropout", "Activation", "Dense", "Activation",
]  # fmt: skip
SMALL = TrainParameters(maxlen=20, max_features=30, embedding_dims=22, filters=5, hidden_dims=6, learning_rate=0.01)


def test_build_with_defaults_makes_the_articles_network() -> None:
    network = networks.build(TrainParameters()).plain
    assert [type(layer).__name__ for layer in network.layers] == KINDS
    # By hand: 5000·50, then 3·50·250 + 250, then 250·250 + 250, then 250 + 1.
    assert [layer.count_params() for layer in network.layers if layer.count_params()] == [250000, 37750, 62750, 251]
    assert network.input_shape == (None, 400)
    assert network.output_shape == (None, 1)
    settings = {layer.name: layer.get_config() for layer in network.layers}
    assert [config["rate"] for name, config in settings.items() if "dropout" in name] == [0.2, 0.2]
    assert [config["activation"] for name, config in settings.items() if "activation" in name] == ["relu", "sigmoid"]
    convolution = network.layers[2].get_config()
    assert (convolution["padding"], convolution["activation"], convolution["strides"]) == ("valid", "relu", (1,))


@pytest.mark.parametrize("fused", [True, False])
def test_build_compiles_both_networks_as_in_the_article(fused: bool) -> None:
    network = networks.build(TrainParameters(fused=fused))
    for model in (network.plain, network.trained):
        assert isinstance(model.optimizer, keras.optimizers.Adam)
        assert float(model.optimizer.learning_rate) == np.float32(0.001)
        assert model.loss == "binary_crossentropy"
        results = model.evaluate(np.zeros((4, 400), np.int32), np.ones(4, np.float32), verbose=0, return_dict=True)
        assert set(results) == {"loss", "accuracy"}


@pytest.mark.slow
@pytest.mark.parametrize("fused", [True, False])
def test_save_after_training_writes_plain_layers_with_the_trained_state(fused: bool, tmp_path: Path) -> None:
    network = networks.build(SMALL.model_copy(update={"fused": fused}))
    ids = np.random.default_rng(0).integers(1, 30, (64, 20)).astype(np.int32)
    labels = (ids[:, 0] > 15).astype(np.float32)
    network.trained.fit(tf.data.Dataset.from_tensor_slices((ids, labels)).batch(8), epochs=2, verbose=0)
    path = tmp_path / "best.keras"
    network.save(path)
    with zipfile.ZipFile(path) as archive:
        assert "imdb_conv1d" not in archive.read("config.json").decode().replace('"name": "imdb_conv1d"', "")
    loaded = keras.saving.load_model(path, safe_mode=True)
    assert [type(layer).__name__ for layer in loaded.layers] == KINDS
    np.testing.assert_allclose(loaded.predict(ids, verbose=0), network.trained.predict(ids, verbose=0), atol=1e-6)
    assert type(loaded.optimizer) is keras.optimizers.Adam
    assert int(loaded.optimizer.iterations) == 16
    assert len(loaded.optimizer.variables) == len(network.trained.optimizer.variables)
    for saved, trained in zip(loaded.optimizer.variables, network.trained.optimizer.variables, strict=True):
        assert np.array_equal(np.asarray(saved), np.asarray(trained)), trained.path
    loaded.fit(ids, labels, verbose=0)  # training can continue
    assert int(loaded.optimizer.iterations) == 18


MANY = 5
NUMBERS = np.random.default_rng(0)
IDS, CODES = NUMBERS.integers(1, 30, (64, 20)).astype(np.int32), NUMBERS.integers(0, MANY, 64)


@pytest.fixture(scope="module")
def many() -> networks.Network:
    """A network of five classes."""
    return networks.build(SMALL, classes=MANY)


def test_build_of_more_than_two_classes_ends_in_a_softmax(many: networks.Network) -> None:
    assert [type(layer).__name__ for layer in many.plain.layers] == KINDS
    assert many.plain.layers[-1].get_config()["activation"] == "softmax"
    for model in (many.plain, many.trained):
        assert model.output_shape == (None, MANY)
        assert model.loss == "sparse_categorical_crossentropy"
        results = model.evaluate(IDS, CODES, verbose=0, return_dict=True)
        probabilities = model.predict(IDS, verbose=0).astype(float)
        assert set(results) == {"loss", "accuracy"}
        assert results["loss"] == pytest.approx(-np.log(probabilities[np.arange(64), CODES]).mean(), rel=1e-5)
        assert results["accuracy"] == pytest.approx((probabilities.argmax(axis=1) == CODES).mean())


@pytest.mark.parametrize("classes", [2, MANY])
def test_loss_of_certain_mistakes_is_not_cut_off(classes: int) -> None:
    """Keras finds the logits behind the probabilities; clipped probabilities would give a loss of 16."""
    network = networks.build(SMALL, classes=classes).plain
    bias = network.layers[-2].bias
    bias.assign([60.0] if classes == 2 else [60.0, *[0.0] * (classes - 1)])
    wrong = np.full(64, 0 if classes == 2 else 3)
    assert network.evaluate(IDS, wrong, verbose=0)[0] == pytest.approx(60, abs=2)


@pytest.mark.slow
def test_balanced_class_weights_weigh_the_training_loss_alone() -> None:
    """A learning rate of almost zero: the epoch's loss is that of the initial weights, without dropout's effect."""
    parameters = SMALL.model_copy(update={"learning_rate": 1e-30, "batch_size": 8})
    codes = np.array([0] * 40 + [1] * 16 + [2] * 8)
    logs: dict[str, dict[str, float]] = {}
    part, weights = EncodedPart.from_padded(IDS), balance_classes(codes, 3)
    assert weights.tolist() == pytest.approx([64 / (3 * 40), 64 / (3 * 16), 64 / (3 * 8)])
    for chosen in ("none", "balanced"):
        network = networks.build(parameters, classes=3)
        for layer in network.trained.layers:
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0
        network.plain.layers[-2].bias.assign([1.0, 0.0, -1.0])
        network.plain.layers[-2].kernel.assign(np.zeros(network.plain.layers[-2].kernel.shape))
        own = weights if chosen == "balanced" else None
        trainee = networks.NetworkTrainee(network, parameters, (part, codes), (part, codes), own)
        logger = keras.callbacks.History()
        trainee.fit([logger], 0, 1)
        logs[chosen] = {name: values[0] for name, values in logger.history.items()}
    losses = np.log(np.exp([1.0, 0.0, -1.0]).sum()) - np.array([1.0, 0.0, -1.0])[codes]
    assert logs["none"]["loss"] == pytest.approx(losses.mean(), rel=1e-5)
    assert logs["balanced"]["loss"] == pytest.approx((losses * weights[codes]).mean(), rel=1e-5)
    for name in ("val_loss", "accuracy", "val_accuracy"):
        assert logs["balanced"][name] == pytest.approx(logs["none"][name])


def test_class_weights_leave_out_classes_without_rows() -> None:
    weights = balance_classes(np.array([0, 0, 0, 2]), 4)
    assert weights[[0, 2]].tolist() == pytest.approx([2 / 3, 2])


@pytest.mark.parametrize("classes", [2, MANY])
def test_build_on_a_gpu_trains_plain_layers(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks.reproducibility, "count_gpus", lambda: 1)
    network = networks.build(SMALL, classes=classes)
    assert [type(layer).__name__ for layer in network.trained.layers] == KINDS
    assert not network.fused


@pytest.mark.parametrize(
    ("classes", "maxlen", "embedding_dims", "layer"),
    [
        (2, 20, 22, "FusedConvolution"),
        (2, 20, 4, "Conv1D"),
        (MANY, 32, 4, "ShortConvolution"),
        (MANY, 33, 22, "FusedConvolution"),
        (MANY, 33, 4, "Conv1D"),
    ],
)
def test_build_chooses_the_layers_by_classes_and_lengths(
    classes: int, maxlen: int, embedding_dims: int, layer: str
) -> None:
    network = networks.build(
        SMALL.model_copy(update={"maxlen": maxlen, "embedding_dims": embedding_dims}), classes=classes
    )
    assert layer in [type(one).__name__ for one in network.trained.layers]
    assert network.fused == (layer != "Conv1D") == (not network.note)


@pytest.mark.parametrize(("batch_size", "steps"), [(1, 16), (32, 16), (128, 4), (512, 1), (100000, 1)])
def test_build_with_large_batches_has_fewer_steps_per_call(batch_size: int, steps: int) -> None:
    network = networks.build(SMALL.model_copy(update={"batch_size": batch_size}))
    assert network.trained.steps_per_execution == steps
