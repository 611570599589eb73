"""Package a plain Keras network for the registry."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from mlflow.pyfunc import PyFuncModel

from tracked.experiment import Package


def package_keras(
    checkpoint: Path,
    validation: tuple[np.ndarray, np.ndarray],
    loss: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> Package:
    """Package a checkpoint of a network with one input and one output.

    Args:
        validation: inputs [n, …] and targets [n, …]; the stored model is checked on these.
        loss: takes targets and outputs, returns the loss of each row, [n]. Its mean must be the network's val_loss
            without the regularizers' penalty.
    """
    inputs, targets = validation
    model = keras.saving.load_model(checkpoint)

    def mean_loss(loaded: PyFuncModel) -> float:
        penalty = sum(map(float, model.losses))  # Keras adds it to val_loss
        return float(np.mean(loss(targets, np.asarray(loaded.predict(inputs))))) + penalty

    return Package(
        model,
        inputs=(inputs.dtype, (-1, *inputs.shape[1:])),
        outputs=(np.dtype(model.outputs[0].dtype), (-1, *model.outputs[0].shape[1:])),
        example=np.zeros((2, *inputs.shape[1:]), inputs.dtype),
        loss=mean_loss,
        checked=f"the {len(inputs):,} rows of the validation part",
    )
