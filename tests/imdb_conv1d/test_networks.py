import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from imdb_conv1d import networks
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


def test_build_on_a_gpu_trains_plain_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks.reproducibility, "count_gpus", lambda: 1)
    network = networks.build(SMALL)
    assert [type(layer).__name__ for layer in network.trained.layers] == KINDS
    assert not network.fused


@pytest.mark.parametrize(("batch_size", "steps"), [(1, 16), (32, 16), (128, 4), (512, 1), (100000, 1)])
def test_build_with_large_batches_has_fewer_steps_per_call(batch_size: int, steps: int) -> None:
    network = networks.build(SMALL.model_copy(update={"batch_size": batch_size}))
    assert network.trained.steps_per_execution == steps
