import keras
import numpy as np

from imdb_conv1d import model
from imdb_conv1d.config import TrainParameters


def test_the_network_is_the_articles() -> None:
    network = model.build(TrainParameters())
    kinds = [type(layer).__name__ for layer in network.layers]
    assert kinds == [
        "Embedding", "Dropout", "Conv1D", "GlobalMaxPooling1D", "Dense", "Dropout", "Activation", "Dense", "Activation",
    ]  # fmt: skip
    # By hand: 5000·50, then 3·50·250 + 250, then 250·250 + 250, then 250 + 1.
    assert [layer.count_params() for layer in network.layers if layer.count_params()] == [250000, 37750, 62750, 251]
    assert network.input_shape == (None, 400)
    assert network.output_shape == (None, 1)
    settings = {layer.name: layer.get_config() for layer in network.layers}
    assert [config["rate"] for name, config in settings.items() if "dropout" in name] == [0.2, 0.2]
    assert [config["activation"] for name, config in settings.items() if "activation" in name] == ["relu", "sigmoid"]
    convolution = network.layers[2].get_config()
    assert (convolution["padding"], convolution["activation"], convolution["strides"]) == ("valid", "relu", (1,))


def test_it_is_compiled_as_in_the_article() -> None:
    network = model.build(TrainParameters())
    assert isinstance(network.optimizer, keras.optimizers.Adam)
    assert float(network.optimizer.learning_rate) == np.float32(0.001)
    assert network.loss == "binary_crossentropy"
    results = network.evaluate(np.zeros((4, 400), np.int32), np.ones(4, np.float32), verbose=0, return_dict=True)
    assert set(results) == {"loss", "accuracy"}
