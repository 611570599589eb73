"""The best checkpoint becomes a version of the registered model: stored, loaded back, compared, then registered."""

import json
import re
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path

import keras
import mlflow
import numpy as np
import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from scipy.special import expit

from imdb_conv1d import trainings
from imdb_conv1d.console import RunFailed, say
from imdb_conv1d.delivery import persist
from imdb_conv1d.environment import model_requirements
from imdb_conv1d.registry import Record
from imdb_conv1d.serving import TextClassifier
from imdb_conv1d.stores import refuses, single_calls

CANDIDATE = "candidate"
TOLERANCE = 1e-5  # of the loss in nats: what float32 and another batch size can explain, and no more
EXAMPLE = ("A film to see twice: funny, warm and well played.", "Two hours of my life that I will never get back.")
SIGNATURE = ModelSignature(
    inputs=Schema([TensorSpec(np.dtype(object), (-1,))]),
    outputs=Schema([TensorSpec(np.dtype(np.float64), (-1,))]),
)


def store(
    name: str, checkpoint: Path, vocabulary: Path, maxlen: int, step: int, parameters: dict[str, str], record: Record
) -> str:
    """Store the checkpoint as a model that takes text, with the Keras network beside it; returns the model's id.

    The active run is the model's source. The example's texts are made up, so nothing of the data is shown.

    Args:
        record: goes into the model's metadata, so that it is known even if the run is gone.

    Raises:
        RunFailed: if it cannot be stored; what was stored in part is deleted.
    """
    network = keras.saving.load_model(checkpoint)

    def attempt() -> str:
        info = mlflow.tensorflow.log_model(
            TextClassifier(network, vocabulary, maxlen),
            # What a registered model's name may have, and a stored one's may not.
            name=re.sub(r"[/:.%\"']", "-", name),
            signature=SIGNATURE,
            input_example=np.array(EXAMPLE, dtype=object),
            pip_requirements=model_requirements(),
            extra_files=[str(checkpoint)],
            params=parameters,
            metadata=asdict(record),
            step=step,
        )
        return str(info.model_id)

    model_id = ""
    try:
        model_id = persist("storing the model", attempt, refuses)
    finally:
        with suppress(RunFailed):  # the store may be what failed
            persist("deleting what was stored in part", partial(_delete_others, model_id), refuses, seconds=10)
    return model_id


def _delete_others(model_id: str) -> None:
    """Delete what the active run has stored beside this model: tries that broke off, or whose answer was lost."""
    client, active = mlflow.MlflowClient(), mlflow.active_run()
    if active is not None:
        for model in client.search_logged_models([active.info.experiment_id]):
            if model.source_run_id == active.info.run_id and model.model_id != model_id:
                client.delete_logged_model(model.model_id)


def require_same_loss(model_id: str, validation: pd.DataFrame, logged: float) -> None:
    """Load the stored model back and score all validation texts; a model that differs is deleted.

    Args:
        validation: the columns text and label.
        logged: val_loss of the checkpoint's epoch, which Keras computes from logits, as here.

    Raises:
        RunFailed: if the loss differs by more than ``TOLERANCE``, or the probabilities are not those of the logits.
    """
    uri = f"models:/{model_id}"
    model = persist("loading the stored model", lambda: mlflow.pyfunc.load_model(uri), refuses)
    texts, labels = validation["text"].to_numpy(dtype=object), validation["label"].to_numpy()
    logits = model.get_raw_model().logits(texts).numpy().astype(float)
    loss = float(np.mean(np.logaddexp(0, logits) - labels * logits))
    gap = float(np.abs(model.predict(texts) - expit(logits)).max())
    problem = ""
    if not abs(loss - logged) <= TOLERANCE:
        problem = f"scores the validation part with a loss of {loss:.7f}, not {logged:.7f} as in training"
    elif not gap <= TOLERANCE:
        problem = f"gives probabilities that differ by {gap:.7f} from those of its logits"
    if problem:
        with suppress(Exception):
            mlflow.MlflowClient().delete_logged_model(model_id)
        raise RunFailed(f"the stored model {problem}; nothing is registered")
    say(f"loaded back, the stored model scores the {len(validation):,} validation reviews with a loss of {loss:.7f}")


def registered(name: str, run_id: str) -> str:
    """The id of the stored model that a run has registered before under this name; empty if it has not."""
    find = partial(_version_of, name, run_id)
    version = persist(f"looking for a version of {name}", find, refuses)
    return (version.source or "").removeprefix("models:/") if version else ""


def _version_of(name: str, run_id: str) -> ModelVersion | None:
    return next((version for version in trainings.versions(run_id) if version.name == name), None)


def register(name: str, model_id: str, run_id: str, description: str, tags: dict[str, str]) -> str:
    """Make a stored model the next version of ``name`` and its candidate; returns the version.

    The alias comes last, so that what it names is complete. Each step can be repeated: an answer may have been lost.

    Raises:
        RunFailed: naming the step that failed.
    """
    client = mlflow.MlflowClient()
    source = f"models:/{model_id}"

    def create_model() -> None:
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def create_version() -> str:
        if version := _version_of(name, run_id):
            return str(version.version)
        made = client.create_model_version(name, source, run_id, tags, description=description, model_id=model_id)
        return str(made.version)

    def move_alias() -> None:
        try:
            newest = client.get_model_version_by_alias(name, CANDIDATE)
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            newest = None
        # A training that goes on after its registration must not take the alias from one that came after it.
        if newest is None or int(newest.version) < int(version):
            client.set_registered_model_alias(name, CANDIDATE, version)

    with single_calls():
        persist(f"creating the registered model {name}", create_model, refuses)
        version = persist(f"registering a version of {name}", create_version, refuses)
    # As mlflow.register_model does, which takes no description: the UI's tables find the version by it.
    named = {"mlflow.modelVersions": json.dumps([{"name": name, "version": int(version)}])}
    persist(f"linking {name} version {version}", partial(client.set_logged_model_tags, model_id, named), refuses)
    persist(f"{name} version {version} is registered, but giving it the alias {CANDIDATE}", move_alias, refuses)

    def delete_others() -> None:
        for other in trainings.versions(run_id):
            if other.name == name and str(other.version) != version:
                client.delete_model_version(name, other.version)

    # A call that the client had given up may have been answered by a second version since.
    persist(f"looking for other versions of run {run_id}", delete_others, refuses)
    return version
