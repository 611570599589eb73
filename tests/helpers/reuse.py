"""What the verbs of a test process share, as it takes most of their time: traced networks, and pictures."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

PICTURES = 10
_stored: list[int] = []
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
        return _share(key, lambda: build(parameters, *arguments), lambda network: [network.plain, network.trained])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "build", build_once)
        yield


@contextmanager
def shared_trainees(experiment: Any) -> Iterator[None]:
    """Within the block, the second experiment's trainee is built once for equal parameters and data, likewise."""
    from diabetes import Diabetes

    build = experiment.build

    def build_once(parameters: Any, dataset: Any, *arguments: Any) -> Any:
        own = parameters.model_copy(update={"patience": 0, "epochs": 1, "model_name": "shared"})
        key = (*own.as_strings().values(), dataset.digest)
        return _share(key, lambda: build(parameters, dataset, *arguments), lambda trainee: [trainee.model])

    with pytest.MonkeyPatch.context() as patch:
        if type(experiment).build is Diabetes.build:
            patch.setattr(experiment, "build", build_once)
        yield


@contextmanager
def plain_pictures() -> Iterator[None]:
    """Within the block, figures are drawn, but stored without content once the process has stored ``PICTURES``."""
    from matplotlib.figure import Figure

    store = Figure.savefig

    def store_plain(figure: Figure, *arguments: Any, **named: Any) -> None:
        _stored.append(1)
        if len(_stored) > PICTURES:
            figure.set_layout_engine("none")
            figure.clear()
        store(figure, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", store_plain)
        yield


def _share(key: tuple[Any, ...], build: Callable[[], Any], models_of: Callable[[Any], list[Any]]) -> Any:
    """Build a thing with Keras models the first time that ``key`` is asked for, and reset its models later on."""
    if key not in _built:
        made = build()
        _built[key] = made, [variable.numpy() for variable in _variables(models_of(made))]
        return made
    made, initial = _built[key]
    for variable, value in zip(_variables(models_of(made)), initial, strict=True):
        variable.assign(value)
    for model in models_of(made):
        model.stop_training = False
        model._eval_epoch_iterator = None  # an interrupted fit leaves that of its data
    return made


def _variables(models: list[Any]) -> list[Any]:
    """All that a training changes; the optimizers get their variables here."""
    for model in models:
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
    return [variable for model in models for variable in (*model.variables, *model.optimizer.variables)]
