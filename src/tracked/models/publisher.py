"""Store a training's best checkpoint as a model, load it back and check its loss, then register it as a version."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import mlflow.tensorflow
import numpy as np
from mlflow.entities import LoggedModel
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

from tracked.console.errors import NameRefused, RunFailed
from tracked.console.lines import one_line, say, warn
from tracked.experiment import Package
from tracked.models import loader
from tracked.runs import versions
from tracked.runs.connection import registry_uri, single_calls
from tracked.runs.credentials import explain_unknown, is_denied, name_user, read_status
from tracked.runs.outbox import with_retries
from tracked.runs.schema import CANDIDATE, STORED_BY
from tracked.runs.writer import PATIENCE
from tracked.training.reproducibility import model_requirements

# Of the stored model's loss: relative where the loss is above 1, absolute below. Covers float32 and other batch sizes.
TOLERANCE = 1e-5


def store_model(
    name: str, package: Package, checkpoint: Path, step: int, parameters: dict[str, str], metadata: Mapping[str, object]
) -> str:
    """Store an experiment's package and its checkpoint as a model of the active run; returns the model's id.

    Models that earlier attempts of this training stored are deleted, unless a version holds them.

    Args:
        metadata: stored with the model, so that it outlives the run.

    Raises:
        RunFailed: if the model cannot be stored; partly stored models are deleted.
    """
    active = mlflow.active_run()
    inputs = Schema([TensorSpec(np.dtype(package.inputs[0]), package.inputs[1])])
    outputs = Schema([TensorSpec(np.dtype(package.outputs[0]), package.outputs[1], package.output_name or None)])

    def attempt() -> str:
        info = Model.log(
            artifact_path=None,  # which the name has replaced
            # A registered model's name may have these characters, a stored model's may not.
            name=re.sub(r"[/:.%\"']", "-", name),
            flavor=_FLAVOR,
            validate_serving_input=False,  # require_same_loss predicts the example
            model=package.model,
            signature=ModelSignature(inputs=inputs, outputs=outputs),
            input_example=package.example,
            pip_requirements=model_requirements(),
            extra_files=[str(checkpoint)],
            params=parameters,
            metadata=dict(metadata),
            tags={STORED_BY: active.info.run_id} if active else None,  # set when the model is created, so none lacks it
            step=step,
        )
        return str(info.model_id)

    model_id = ""
    try:
        model_id = with_retries("storing the model", attempt, seconds=PATIENCE)
    finally:
        with suppress(RunFailed):  # the store itself may have failed
            with_retries("deleting partly stored models", partial(_delete_others, model_id), seconds=10)
    return model_id


def _save(*, validate_serving_input: bool = False, **settings: Any) -> None:
    """Save a model; ``validate_serving_input`` is for ``Model.log`` alone, which passes all on."""
    mlflow.tensorflow.save_model(**settings)


# MLflow's flavor for TensorFlow, whose own log_model cannot switch off that the model is loaded once more.
_FLAVOR = SimpleNamespace(__name__=mlflow.tensorflow.__name__, save_model=_save)


def _delete_others(model_id: str) -> None:
    """Delete the other models that the active training stored: attempts that broke off or whose answer was lost.

    Models without ``STORED_BY`` stay, since others logged them; and so do models that a version holds.
    """
    client, active = mlflow.MlflowClient(), mlflow.active_run()
    if active is None:
        return
    own, models, token = f"tags.{STORED_BY} = '{active.info.run_id}'", list[LoggedModel](), None
    while token != "":
        page = client.search_logged_models([active.info.experiment_id], own, page_token=token)
        models += page
        token = page.token or ""
    for model in models:
        if model.model_id != model_id and not _is_held(client, model):
            client.delete_logged_model(model.model_id)


def _is_held(client: mlflow.MlflowClient, model: LoggedModel) -> bool:
    """True if a version of any registered model holds a stored model, directly or as the copy of a version."""
    # A copy names the copied version as its source, and has the model's files.
    of_run = client.search_model_versions(f"run_id = '{model.source_run_id}'")
    if model.artifact_location in [client.get_model_version_download_uri(one.name, one.version) for one in of_run]:
        return True
    return bool(client.search_model_versions(f"source_path = 'models:/{model.model_id}'"))


def require_same_loss(model_id: str, package: Package, logged: float) -> None:
    """Load the stored model back and compare its validation loss with the one that training logged.

    It predicts its input example as it is stored, too; a warning says that it cannot.

    Args:
        logged: the loss of the checkpoint's epoch.

    Raises:
        RunFailed: if the losses differ by more than ``TOLERANCE`` × max(1, ``logged``), or the experiment finds another
            fault; the model is deleted.
    """
    uri = f"models:/{model_id}"
    model = with_retries("loading the stored model", partial(loader.load, uri))
    try:
        model.predict(model.metadata.load_input_example(uri))
    except Exception as error:
        warn(f"the stored model cannot predict its input example, which package made ({one_line(error)})")
    try:
        loss = package.loss(model)
        if not abs(loss - logged) <= TOLERANCE * max(1.0, abs(logged)):
            raise ValueError(f"has a validation loss of {loss:.7f}, but training logged {logged:.7f}")
    except (ValueError, MlflowException) as error:
        with suppress(Exception):
            mlflow.MlflowClient().delete_logged_model(model_id)
        advice = "nothing is registered; compare the loss in package with the one in build, then resume"
        raise RunFailed(f"the stored model {one_line(error)}; {advice}") from error
    say(f"loaded back, the stored model scores {package.checked} with a loss of {loss:.7f}")


def find_registered(name: str, run_id: str) -> str:
    """Return the id of the model that a training has already registered; empty if none."""
    find = partial(_version_of, name, run_id)
    version = with_retries(f"looking for a version of {name}", find)
    return (version.source or "").removeprefix("models:/") if version else ""


def _version_of(name: str, run_id: str) -> ModelVersion | None:
    """Return a training's first version: of this name, or of the name that the registered model was renamed to."""
    registered = versions.find_versions(run_id)
    return min(registered, key=lambda one: (one.name != name, int(one.version)), default=None)


def register(name: str, model_id: str, run_id: str, description: str, tags: dict[str, str]) -> ModelVersion:
    """Register a stored model as the next version of ``name`` and move the alias candidate to it.

    The alias moves after the version is complete. Each step may be repeated, since an answer may be lost; a training
    gets one version, however often it is registered.

    Args:
        tags: of the version, with all of ``schema.OF_VERSIONS``.

    Raises:
        RunFailed: naming the step that failed.
    """
    client = mlflow.MlflowClient()
    source = f"models:/{model_id}"

    def create_version() -> ModelVersion:
        if registered := _version_of(name, run_id):
            return registered
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        return client.create_model_version(name, source, run_id, tags, description=description, model_id=model_id)

    try:
        with single_calls():
            created = with_retries(f"registering a version of {name}", create_version)
    except RunFailed as error:
        if (status := read_status(error.__cause__)) == 401:
            raise RunFailed(f"{explain_unknown(registry_uri())}; all that was trained is kept") from error
        if status != 403:
            raise
        raise NameRefused(
            f"model_name: {name_user(registry_uri())} may not add a version to {name!r} (403); all that was trained is "
            "kept: resume it with another model_name, or once the right is given back"
        ) from error
    name, version = created.name, str(created.version)

    def move_alias() -> None:
        try:
            newest = client.get_model_version_by_alias(name, CANDIDATE)
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            newest = None
        # A training that is resumed after its registration must not take the alias from a newer version.
        if newest is None or int(newest.version) < int(version):
            client.set_registered_model_alias(name, CANDIDATE, version)

    # The UI's tables find the version by this tag; mlflow.register_model sets it, but takes no description.
    link = {MLFLOW_MODEL_VERSIONS: json.dumps([{"name": name, "version": int(version)}])}
    with_retries(f"linking {name} version {version}", partial(client.set_logged_model_tags, model_id, link))
    with_retries(f"{name} version {version} is registered, but moving the alias {CANDIDATE} to it", move_alias)

    def delete_others() -> None:
        others = [one for one in versions.find_versions(run_id) if one.name == name and str(one.version) != version]
        aliased = set(map(str, client.get_registered_model(name).aliases.values())) if others else set()
        for other in others:
            if str(other.version) not in aliased:
                try:
                    client.delete_model_version(name, other.version)
                except MlflowException as error:
                    if not is_denied(error):
                        raise
                    # Who may add versions may not always delete one.
                    warn(f"version {other.version} of {name} is of the same run, and may not be deleted (403)")

    # The server may have carried out a call that the client gave up and repeated.
    with_retries(f"deleting other versions of run {run_id}", delete_others)
    return created
