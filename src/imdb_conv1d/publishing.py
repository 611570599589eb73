"""The best checkpoint becomes a version of the registered model: stored, loaded back, compared, then registered."""

import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import keras
import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from sklearn.metrics import log_loss

from imdb_conv1d.console import RunFailed, say
from imdb_conv1d.environment import model_requirements
from imdb_conv1d.registry import scorer
from imdb_conv1d.serving import TextClassifier

CANDIDATE = "candidate"
TOLERANCE = 1e-5  # of the loss in nats: what float32 and another batch size can explain, and no more
EXAMPLE = ("A film to see twice: funny, warm and well played.", "Two hours of my life that I will never get back.")
SIGNATURE = ModelSignature(
    inputs=Schema([TensorSpec(np.dtype(object), (-1,))]),
    outputs=Schema([TensorSpec(np.dtype(np.float32), (-1,))]),
)


def store(name: str, checkpoint: Path, vocabulary: Path, maxlen: int, step: int, parameters: dict[str, str]) -> str:
    """Store the checkpoint as a model that takes text, with the Keras network beside it; returns the model's id.

    The active run is the model's source. The example's texts are made up, so nothing of the data is shown.
    """
    network = keras.saving.load_model(checkpoint)
    info = mlflow.tensorflow.log_model(
        TextClassifier(network, vocabulary, maxlen),
        name=re.sub(r"[/:.%\"']", "-", name),  # what a registered model's name may have, and a stored one's may not
        signature=SIGNATURE,
        input_example=np.array(EXAMPLE, dtype=object),
        pip_requirements=model_requirements(),
        extra_files=[str(checkpoint)],
        params=parameters,
        step=step,
    )
    return str(info.model_id)


def require_same_loss(model_id: str, validation: pd.DataFrame, logged: float) -> None:
    """Load the stored model back and score all validation texts; a model that differs is deleted.

    Args:
        validation: the columns text and label.
        logged: val_loss of the checkpoint's epoch.

    Raises:
        RunFailed: if the loss differs by more than ``TOLERANCE``.
    """
    loss = float(log_loss(validation["label"], scorer(f"models:/{model_id}")(validation["text"])))
    if not abs(loss - logged) <= TOLERANCE:
        mlflow.MlflowClient().delete_logged_model(model_id)
        raise RunFailed(
            f"the stored model scores the validation part with a loss of {loss:.7f}, not {logged:.7f} as in training; "
            "nothing is registered"
        )
    say(f"loaded back, the stored model scores the {len(validation):,} validation reviews with a loss of {loss:.7f}")


def register(
    name: str,
    model_id: str,
    run_id: str,
    description: str,
    tags: dict[str, str],
    held: Callable[[], AbstractContextManager[None]],
) -> str:
    """Make a stored model the next version of ``name`` and its candidate; returns the version.

    The alias comes last, so what it names is complete; ``held`` keeps signals from coming in between.
    """
    client = mlflow.MlflowClient()
    with held():
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        source = f"models:/{model_id}"
        made = client.create_model_version(name, source, run_id, tags, description=description, model_id=model_id)
        # As mlflow.register_model does, which takes no description: the UI's tables find the version by it.
        named = json.dumps([{"name": name, "version": made.version}])
        client.set_logged_model_tags(model_id, {"mlflow.modelVersions": named})
        client.set_registered_model_alias(name, CANDIDATE, made.version)
    return str(made.version)
