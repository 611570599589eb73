"""Networks that the trainings of a test process share: tracing one takes half of the time of a tiny training."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

_built: dict[tuple[Any, ...], tuple[Any, list[np.ndarray]]] = {}


@contextmanager
def shared_networks() -> Iterator[None]:
    """Within the block, a network is built once for equal parameters, and starts from its initial state each time."""
    import keras

    from imdb_conv1d import networks

    build = networks.build

    def build_once(parameters: Any, *arguments: Any) -> Any:
        own = parameters.model_copy(update={"data": "", "patience": 0, "epochs": 1, "model_name": "shared"})
        settings = keras.config.dtype_policy().name, networks.MIN_FUSED_WIDTH, networks.reproducibility.count_gpus()
        key = (*own.as_strings().values(), *arguments, *settings)
        if key not in _built:
            network = build(parameters, *arguments)
            _built[key] = network, [variable.numpy() for variable in _variables(network)]
            return network
        network, initial = _built[key]
        for variable, value in zip(_variables(network), initial, strict=True):
            variable.assign(value)
        network.trained.stop_training = False
        network.trained._eval_epoch_iterator = None  # an interrupted fit leaves that of its data
        return network

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "build", build_once)
        yield


def _variables(network: Any) -> list[Any]:
    """All that a training changes; the optimizers get their variables here."""
    for model in (network.plain, network.trained):
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
    models = network.trained, network.plain
    return [variable for model in models for variable in (*model.variables, *model.optimizer.variables)]
