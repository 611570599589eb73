"""Models in the registry: found by their URI, checked for foreign code, loaded."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from tracked.console.errors import RunFailed, UserError
from tracked.console.lines import one_line
from tracked.runs import queries
from tracked.runs.connection import refuses
from tracked.runs.outbox import persist

# What MLflow would unpickle or import from a model's folder: any of it may run code of whoever made the model.
CODE_ENDINGS = (".pkl", ".pickle", ".cloudpickle", ".joblib", ".dill", ".py", ".pyc", ".so", ".h5")


@dataclass(frozen=True)
class Stored:
    """A model found in the registry or at a run. ``version`` is empty for a model without one, ``data_digest`` for one
    that does not tell what it was trained on."""

    uri: str
    name: str
    version: str
    model_id: str
    run_id: str
    data_digest: str = ""

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
            info = mlflow.models.get_model_info(exact)
            digest = str((info.metadata or {}).get("data_digest", ""))
            return Stored(exact, name, str(found.version), info.model_id or "", found.run_id or "", digest)
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


@dataclass(frozen=True)
class Record:
    """What a training writes into its model's metadata about its data."""

    data_source: str
    data_digest: str
    log_texts: bool


@dataclass(frozen=True)
class Fetched:
    """A model on the disk. ``record`` is None for a model that this project did not train."""

    path: Path
    record: Record | None


def fetch(stored: Stored, folder: Path) -> Fetched:
    """Download a model and make sure that loading it runs no code but TensorFlow's.

    Raises:
        UserError: if it names a pickle or a loader of its own, or takes no text.
    """
    uri = stored.uri
    try:
        path = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder)))
        meta = Model.load(str(path))
    except (MlflowException, OSError) as error:
        raise UserError(f"model: {uri!r} cannot be downloaded ({one_line(error)}); allowed: a complete model") from None
    advice = "allowed: a model that this project trained, or a SavedModel or .keras file logged by mlflow.tensorflow"
    flavor = meta.flavors.get("python_function", {})
    loader = flavor.get("loader_module")
    if loader != "mlflow.tensorflow":
        raise UserError(f"model: {uri!r} is loaded by {loader}, which runs code that comes with it; {advice}")
    files = [file for file in path.rglob("*") if file.is_file()]
    codes = [str(file.relative_to(path)) for file in files if file.name.lower().endswith(CODE_ENDINGS)]
    # MLflow imports the module that this file names, whichever it is.
    codes += [
        file.name for file in files if file.name == "keras_module.txt" and "keras" not in file.read_text().split(".")
    ]
    if codes or flavor.get("code"):
        raise UserError(f"model: {uri!r} holds {(codes or ['code'])[0]}, which runs code when loaded; {advice}")
    inputs = meta.signature.inputs.inputs if meta.signature and meta.signature.inputs else []
    if len(inputs) != 1 or getattr(inputs[0].type, "kind", "") not in ("O", "U"):
        takes = ", ".join(map(str, inputs)) or "nothing that its signature names"
        raise UserError(f"model: {uri!r} takes no text but {takes}; allowed: a model with one text as its input")
    told = meta.metadata or {}
    names = [field.name for field in fields(Record)]
    return Fetched(path, Record(**{name: told[name] for name in names}) if set(names) <= set(told) else None)


def scorer(path: Path) -> Callable[[pd.Series], np.ndarray]:
    """Load a model by MLflow's general interface: texts to probabilities of positive, float64 [n].

    What it returns raises RunFailed if the model does not give a probability for each text.
    """
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    model = mlflow.pyfunc.load_model(str(path))

    def score(texts: pd.Series) -> np.ndarray:
        result = np.asarray(model.predict(texts.to_numpy(dtype=object)), dtype=float).reshape(-1)
        if len(result) != len(texts) or not ((result >= 0) & (result <= 1)).all():
            raise RunFailed("the model does not give a probability between 0 and 1 for each text")
        return result

    return score


def training_rows(stored: Stored, folder: Path) -> pd.DataFrame | None:
    """The table of its rows that a model's training has left (``leaks.recorded``); None if it is not there.

    Raises:
        RunFailed: if the store keeps failing.
    """
    download = partial(mlflow.artifacts.download_artifacts, dst_path=str(folder))

    def attempt() -> str | None:
        try:
            return download(run_id=stored.run_id, artifact_path="data/rows.parquet")
        except (MlflowException, FileNotFoundError) as error:
            if isinstance(error, FileNotFoundError) or refuses(error):
                return None
            raise

    path = persist("reading what the model was trained on", attempt) if stored.run_id else None
    return None if path is None else pd.read_parquet(path)


def maxlen(stored: Stored) -> int | None:
    """How many words of a text a model of this project gets, by its training's run; None if that does not tell."""
    run = persist("reading the training", partial(mlflow.MlflowClient().get_run, stored.run_id), refuses)
    found = queries.parameters(run).get("maxlen", "")
    return int(found) if found.isdecimal() else None
