"""The best checkpoint becomes a version of the registered model: stored, loaded back, compared, then registered."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import mlflow
import numpy as np
from mlflow.entities import LoggedModel
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

from tracked.console.errors import RunFailed
from tracked.console.lines import one_line, say
from tracked.experiment import Package
from tracked.models import loader
from tracked.runs import versions
from tracked.runs.connection import single_calls
from tracked.runs.outbox import with_retries
from tracked.runs.schema import CANDIDATE, STORED_BY
from tracked.training.reproducibility import model_requirements

# Of the loss, relative to it where it is more than 1: what float32 and another batch size can explain, and no more.
TOLERANCE = 1e-5


def store_model(
    name: str, package: Package, checkpoint: Path, step: int, parameters: dict[str, str], metadata: Mapping[str, object]
) -> str:
    """Store what an experiment has packaged as a model, with the checkpoint beside it; returns the model's id.

    The active run is the model's source.

    Args:
        metadata: goes into the model, so that it is known even if the run is gone.

    Raises:
        RunFailed: if it cannot be stored; what was stored in part is deleted.
    """
    active = mlflow.active_run()
    inputs, outputs = (Schema([TensorSpec(np.dtype(kind), shape)]) for kind, shape in (package.inputs, package.outputs))

    def attempt() -> str:
        info = mlflow.tensorflow.log_model(
            package.model,
            # What a registered model's name may have, and a stored one's may not.
            name=re.sub(r"[/:.%\"']", "-", name),
            signature=ModelSignature(inputs=inputs, outputs=outputs),
            input_example=package.example,
            pip_requirements=model_requirements(),
            extra_files=[str(checkpoint)],
            params=parameters,
            metadata=dict(metadata),
            tags={STORED_BY: active.info.run_id} if active else None,  # part of the model's creation
            step=step,
        )
        return str(info.model_id)

    model_id = ""
    try:
        model_id = with_retries("storing the model", attempt)
    finally:
        with suppress(RunFailed):  # the store may be what failed
            with_retries("deleting what was stored in part", partial(_delete_others, model_id), seconds=10)
    return model_id


def _delete_others(model_id: str) -> None:
    """Delete what the active training has stored beside this model: tries that broke off, or whose answer was lost.

    What others have logged at its run stays, and what a version holds.
    """
    client, active = mlflow.MlflowClient(), mlflow.active_run()
    if active is not None:
        own = f"tags.{STORED_BY} = '{active.info.run_id}'"
        for model in client.search_logged_models([active.info.experiment_id], own):
            if model.model_id != model_id and not _is_held(client, model):
                client.delete_logged_model(model.model_id)


def _is_held(client: mlflow.MlflowClient, model: LoggedModel) -> bool:
    """Whether a version of any name holds a stored model; a copy of a version names that one, and has its files."""
    of_run = client.search_model_versions(f"run_id = '{model.source_run_id}'")
    if model.artifact_location in [client.get_model_version_download_uri(one.name, one.version) for one in of_run]:
        return True
    return bool(client.search_model_versions(f"source_path = 'models:/{model.model_id}'"))


def require_same_loss(model_id: str, package: Package, logged: float) -> None:
    """Load the stored model back and score the validation part; a model that differs is deleted.

    Args:
        logged: the loss of the checkpoint's epoch.

    Raises:
        RunFailed: if the loss differs by more than ``TOLERANCE``, or the experiment finds another fault.
    """
    uri = f"models:/{model_id}"
    model = with_retries("loading the stored model", partial(loader.load, uri))
    try:
        loss = package.loss(model)
        if not abs(loss - logged) <= TOLERANCE * max(1.0, abs(logged)):
            raise ValueError(f"scores the validation part with a loss of {loss:.7f}, not {logged:.7f} as in training")
    except (ValueError, MlflowException) as error:
        with suppress(Exception):
            mlflow.MlflowClient().delete_logged_model(model_id)
        raise RunFailed(f"the stored model {one_line(error)}; nothing is registered") from error
    say(f"loaded back, the stored model scores {package.checked} with a loss of {loss:.7f}")


def find_registered(name: str, run_id: str) -> str:
    """The id of the stored model that a training has registered before; empty if it has not."""
    find = partial(_version_of, name, run_id)
    version = with_retries(f"looking for a version of {name}", find)
    return (version.source or "").removeprefix("models:/") if version else ""


def _version_of(name: str, run_id: str) -> ModelVersion | None:
    """A training's first version: of this name, or else of the one that the registered model was renamed to."""
    found = versions.find_versions(run_id)
    return min(found, key=lambda one: (one.name != name, int(one.version)), default=None)


def register(name: str, model_id: str, run_id: str, description: str, tags: dict[str, str]) -> ModelVersion:
    """Make a stored model the next version of ``name`` and its candidate; returns the version.

    The alias comes last, so that what it names is complete. Each step can be repeated: an answer may have been lost.

    Args:
        tags: with all of ``schema.OF_VERSIONS``.

    Raises:
        RunFailed: naming the step that failed.
    """
    client = mlflow.MlflowClient()
    source = f"models:/{model_id}"

    def create_version() -> ModelVersion:
        if found := _version_of(name, run_id):
            return found
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        return client.create_model_version(name, source, run_id, tags, description=description, model_id=model_id)

    with single_calls():
        made = with_retries(f"registering a version of {name}", create_version)
    name, version = made.name, str(made.version)

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

    # As mlflow.register_model does, which takes no description: the UI's tables find the version by it.
    named = {MLFLOW_MODEL_VERSIONS: json.dumps([{"name": name, "version": int(version)}])}
    with_retries(f"linking {name} version {version}", partial(client.set_logged_model_tags, model_id, named))
    with_retries(f"{name} version {version} is registered, but giving it the alias {CANDIDATE}", move_alias)

    def delete_others() -> None:
        others = [one for one in versions.find_versions(run_id) if one.name == name and str(one.version) != version]
        aliased = set(map(str, client.get_registered_model(name).aliases.values())) if others else set()
        for other in others:
            if str(other.version) not in aliased:
                client.delete_model_version(name, other.version)

    # A call that the client had given up may have been answered by a second version since.
    with_retries(f"looking for other versions of run {run_id}", delete_others)
    return made
