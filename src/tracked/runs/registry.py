"""Find models by their URI, and refuse those of another experiment."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models.model import ModelInfo

from tracked.console.errors import UserError
from tracked.console.lines import one_line
from tracked.experiment import Experiment
from tracked.runs.connection import registry_uri
from tracked.runs.credentials import name_user, read_status
from tracked.runs.outbox import with_retries
from tracked.runs.schema import (
    DATA_DIGEST,
    EXPERIMENT,
    MODEL_ID,
    MODEL_NAME,
    MODEL_URI,
    MODEL_VERSION,
    OF_VERSIONS,
    TRAINING_RUN_ID,
    name_experiment,
    owner_of,
)
from tracked.runs.writer import Run


@dataclass(frozen=True)
class StoredModel:
    """A model found in the registry or at a run.

    ``version`` is empty for a model without a version; ``data_digest`` and ``experiment`` are empty for a model without
    that metadata. ``metadata`` is all that is stored with the model.
    """

    uri: str
    name: str
    version: str
    model_id: str
    run_id: str
    data_digest: str = ""
    experiment: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def title(self) -> str:
        """The name for people."""
        return f"{self.name} version {self.version}" if self.version else self.uri

    @property
    def short(self) -> str:
        """The name with the version first, for the narrow columns of the UI."""
        return f"v{self.version} {self.name}" if self.version else self.uri


def locate_version(version: ModelVersion, model_id: str = "") -> StoredModel:
    """Say where a registered version is, without what is stored with its model."""
    uri = f"models:/{version.name}/{version.version}"
    return StoredModel(uri, version.name, str(version.version), model_id, version.run_id or "")


def find(uri: str) -> StoredModel:
    """Resolve a models:/ or runs:/ URI. An alias is resolved once, so that it may move afterwards.

    Raises:
        UserError: if there is no such model, version, alias or run.
    """
    client = mlflow.MlflowClient()
    try:
        if match := re.fullmatch(r"models:/+([^/@]+)(?:@([^/]+)|/([^/]+))", uri):
            name, alias, number = match.groups()
            registered = client.get_model_version_by_alias(name, alias) if alias else _version(client, name, number)
            version, run_id = str(registered.version), registered.run_id or ""
            exact = f"models:/{name}/{version}"
            info = mlflow.models.get_model_info(exact)
            return StoredModel(exact, name, version, info.model_id or "", run_id, *_trained_on(info))
        info = mlflow.models.get_model_info(uri)
        return StoredModel(uri, "", "", info.model_id or "", info.run_id or "", *_trained_on(info))
    except (MlflowException, OSError) as error:
        if read_status(error) == 403:
            who = name_user(registry_uri())
            raise UserError(
                f"model: {who} may not read {uri!r} or its files (403), or it does not exist; allowed: a model with "
                "READ for this user, on its experiment too"
            ) from None
        raise UserError(f"model: {uri!r} cannot be found ({one_line(error)}); allowed: one that exists") from None


def _version(client: mlflow.MlflowClient, name: str, number: str) -> ModelVersion:
    if number != "latest":
        return client.get_model_version(name, number)
    versions = client.search_model_versions(f"name = '{name}'", max_results=1, order_by=["version_number DESC"])
    if not versions:
        raise MlflowException(f"{name} has no version")
    return versions[0]


def log_model(run: Run, stored: StoredModel) -> None:
    """Log a model as an input of a run, with tags that name it."""
    tags = {MODEL_URI: stored.uri, MODEL_NAME: stored.name, MODEL_VERSION: stored.version}
    if stored.run_id:
        tags[TRAINING_RUN_ID] = stored.run_id
    if stored.model_id:
        run.log_model_input(stored.model_id)
        tags[MODEL_ID] = stored.model_id
    run.set_tags(tags)


def require_own_version(owner: Experiment, name: str, version: str) -> None:
    """Refuse another experiment's version, by its tags alone: its files may be gone.

    Raises:
        UserError: if the version is another experiment's.
    """
    _require_tags(owner, mlflow.MlflowClient().get_model_version(name, version))


def _trained_on(info: ModelInfo) -> tuple[str, str, Mapping[str, Any]]:
    """The digest of a model's data and its experiment's name, empty where missing, and all of its metadata."""
    metadata = info.metadata or {}
    return str(metadata.get(DATA_DIGEST, "")), str(metadata.get(EXPERIMENT, "")), metadata


def require_own(owner: Experiment, stored: StoredModel) -> None:
    """Refuse another experiment's model.

    Raises:
        UserError: if the model is another experiment's.
    """
    _require(owner, owner_of(owner, stored.experiment, bool(stored.data_digest)), stored.title, "model")


def require_own_model(owner: Experiment, name: str) -> None:
    """Refuse a registered model with another experiment's versions, by the tags of the newest ones.

    Raises:
        UserError: if a version is another experiment's.
        RunFailed: if the registry keeps failing.
    """
    search = partial(
        mlflow.MlflowClient().search_model_versions,
        f"name = '{name}'",
        max_results=100,
        order_by=["version_number DESC"],
    )
    for version in with_retries(f"looking for versions of {name}", search):
        _require_tags(owner, version)


def _require_tags(owner: Experiment, version: ModelVersion) -> None:
    of = owner_of(owner, version.tags.get(EXPERIMENT), set(version.tags) >= OF_VERSIONS)
    _require(owner, of, f"{version.name} version {version.version}", "model_name")


def _require(owner: Experiment, of: str, title: str, parameter: str) -> None:
    if of != owner.name:
        raise UserError(f"{parameter}: {title} is of {name_experiment(of)}; allowed: a model of {owner.name!r}")
