"""Models in the registry: found by their URI, checked for foreign code, loaded."""

import os
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from imdb_conv1d.console import RunFailed, UserError
from imdb_conv1d.delivery import one_line

# What MLflow would unpickle or import from a model's folder: any of it may run code of whoever made the model.
CODE_ENDINGS = (".pkl", ".pickle", ".cloudpickle", ".joblib", ".dill", ".py", ".pyc", ".so", ".h5")


@dataclass(frozen=True)
class Stored:
    """A model found in the registry or at a run. ``version`` is empty for a model without one."""

    uri: str
    name: str
    version: str
    model_id: str
    run_id: str

    @property
    def title(self) -> str:
        """What people call it."""
        return f"{self.name} version {self.version}" if self.version else self.uri

    @property
    def short(self) -> str:
        """The same with what differs first, for the narrow columns of the UI."""
        return f"v{self.version} {self.name}" if self.version else self.uri


def find(uri: str) -> Stored:
    """What a models:/ or runs:/ URI means now. An alias is resolved once, so that it can move meanwhile.

    Raises:
        UserError: if there is no such model, version, alias or run.
    """
    client = mlflow.MlflowClient()
    try:
        if match := re.fullmatch(r"models:/+([^/@]+)(?:@([^/]+)|/([^/]+))", uri):
            name, alias, number = match.groups()
            found = client.get_model_version_by_alias(name, alias) if alias else _version(client, name, number)
            exact = f"models:/{name}/{found.version}"
            model_id = mlflow.models.get_model_info(exact).model_id or ""
            return Stored(exact, name, str(found.version), model_id, found.run_id or "")
        info = mlflow.models.get_model_info(uri)
        return Stored(uri, "", "", info.model_id or "", info.run_id or "")
    except (MlflowException, OSError) as error:
        raise UserError(f"model: {uri!r} cannot be found ({one_line(error)}); allowed: one that exists") from None


def _version(client: mlflow.MlflowClient, name: str, number: str) -> ModelVersion:
    if number != "latest":
        return client.get_model_version(name, number)
    versions = client.search_model_versions(f"name = '{name}'", max_results=1, order_by=["version_number DESC"])
    if not versions:
        raise MlflowException(f"{name} has no version")
    return versions[0]


def fetch(stored: Stored, folder: Path) -> Path:
    """Download a model and make sure that loading it runs no code but TensorFlow's.

    Raises:
        UserError: if it names a pickle or a loader of its own, or takes no text.
    """
    try:
        path = Path(mlflow.artifacts.download_artifacts(stored.uri, dst_path=str(folder)))
        meta = Model.load(str(path))
    except (MlflowException, OSError) as error:
        raise UserError(
            f"model: {stored.uri!r} cannot be downloaded ({one_line(error)}); allowed: a complete model"
        ) from None
    advice = "allowed: a model that this project trained, or a SavedModel or .keras file logged by mlflow.tensorflow"
    loader = meta.flavors.get("python_function", {}).get("loader_module")
    if loader != "mlflow.tensorflow":
        raise UserError(f"model: {stored.uri!r} is loaded by {loader}, which runs code that comes with it; {advice}")
    files = [str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()]
    codes = [name for name in files if name.lower().endswith(CODE_ENDINGS)]
    if codes or meta.flavors["python_function"].get("code"):
        raise UserError(f"model: {stored.uri!r} holds {(codes or ['code'])[0]}, which runs code when loaded; {advice}")
    inputs = meta.signature.inputs.inputs if meta.signature and meta.signature.inputs else []
    if len(inputs) != 1 or not _is_text(inputs[0]):
        takes = ", ".join(map(str, inputs)) or "nothing that its signature names"
        raise UserError(f"model: {stored.uri!r} takes no text but {takes}; allowed: a model with one text as its input")
    return path


def _is_text(spec: object) -> bool:
    kind = getattr(spec, "type", None)
    return str(kind) in ("object", "DataType.string", "string") or getattr(kind, "kind", "") in ("O", "U")


def scorer(path: str) -> Callable[[pd.Series], np.ndarray]:
    """Load a model by MLflow's general interface: texts to probabilities of positive, float64 [n]."""
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    model = mlflow.pyfunc.load_model(path)

    def score(texts: pd.Series) -> np.ndarray:
        result = np.asarray(model.predict(texts.to_numpy(dtype=object)), dtype=float)
        if result.size != len(texts):
            raise RunFailed(f"the model gave {result.shape} numbers for {len(texts)} texts, not one for each")
        return result.reshape(-1)

    return score


@dataclass(frozen=True)
class Training:
    """What the run that trained a model recorded about it."""

    run_id: str
    data_source: str
    data_digest: str
    log_texts: bool
    hashes: frozenset[str]


def training_of(stored: Stored, folder: Path) -> Training | None:
    """The record of the training that made a model, or None if there is none of this project's."""
    if not stored.run_id:
        return None
    try:
        run = mlflow.MlflowClient().get_run(stored.run_id)
        path = mlflow.artifacts.download_artifacts(
            run_id=stored.run_id, artifact_path="data/rows.parquet", dst_path=str(folder)
        )
    except (MlflowException, OSError):
        return None
    rows = pd.read_parquet(path)
    return Training(
        stored.run_id,
        run.data.tags.get("data_source", ""),
        run.data.tags.get("data_digest", ""),
        shlex.split(run.data.params.get("log_texts", "true")) != ["false"],
        frozenset(rows.loc[rows["split"] == "train", "hash"]),
    )
