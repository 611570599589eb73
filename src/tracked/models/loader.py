"""Download models of the registry, refuse those that bring code, load the others."""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.pyfunc import PyFuncModel

from tracked.console.errors import UserError
from tracked.console.lines import one_line, warn
from tracked.experiment import Experiment, TrainedOn
from tracked.models import requirements
from tracked.runs.connection import is_permanent_error
from tracked.runs.outbox import with_retries
from tracked.runs.registry import StoredModel, require_own
from tracked.runs.run_parameters import read_parameters
from tracked.runs.schema import DATA_DIGEST, DATA_SOURCE, EXPERIMENT, ROWS
from tracked.training import reproducibility

# All that a model's folder may hold beside the assets of a SavedModel: MLflow's descriptions and checkpoints. MLflow
# unpickles or imports other files, some of them by their name alone; legacy .h5 files hold code, too.
DATA_FILE = re.compile(
    r"MLmodel|registered_model_meta|.*\.(json|ya?ml|txt|md|csv|tsv|vocab|model|pb|pbtxt|keras|index)|"
    r".*\.data-\d{5}-of-\d{5}"
)
LOADER = "mlflow.tensorflow"
# MLflow imports the module that this file names.
MODULE_FILE = "keras_module.txt"
MODULES = {"keras", "tensorflow.keras", "keras._tf_keras.keras", "keras.api._tf_keras.keras"}


class NotDownloaded(UserError):
    """A model that cannot be downloaded now, and perhaps later."""


@dataclass(frozen=True)
class ModelMetadata:
    """The part of a model's metadata that describes its training data.

    ``private``: True if the training forbids storing the rows' inputs with runs. ``own`` is what the experiment's
    ``package`` stored.
    """

    data_source: str
    data_digest: str
    private: bool = False
    own: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DownloadedModel:
    """A model on the disk. ``metadata`` is None for a model that this project did not train."""

    path: Path
    metadata: ModelMetadata | None


def download(owner: Experiment, stored: StoredModel, folder: Path) -> DownloadedModel:
    """Download a model and make sure that loading it runs no code but TensorFlow's.

    Args:
        folder: an empty one, or one to be made: all of its files are checked.

    Raises:
        NotDownloaded: if the model cannot be downloaded.
        UserError: if it has a loader, a module or a file that is not known to be harmless, belongs to another
            experiment, or cannot be evaluated by this experiment.
    """
    uri = stored.uri
    try:
        path = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder)))
        meta = Model.load(str(path))
    except (MlflowException, OSError) as error:
        raise NotDownloaded(f"model: {uri!r} cannot be downloaded ({one_line(error)}); give a complete model") from None
    advice = f"allowed: a model that this project trained, or a SavedModel or .keras file logged by {LOADER}"
    flavor = meta.flavors.get("python_function", {})
    loader = flavor.get("loader_module")
    if loader != LOADER:
        raise UserError(f"model: {uri!r} is loaded by {loader}, which may run code from the model's folder; {advice}")
    suspects = [str(file.relative_to(path)) for file in path.rglob("*") if file.is_file() and not _is_data(file)]
    if suspects or flavor.get("code"):
        raise UserError(f"model: {uri!r} holds {(suspects or ['code'])[0]}, which may run code when loaded; {advice}")
    inputs = meta.signature.inputs.inputs if meta.signature and meta.signature.inputs else []
    require_own(owner, stored)
    if fault := owner.explain_mismatch(inputs):
        raise UserError(f"model: {uri!r} {fault}")
    if others := requirements.find_other_packages(path, str(flavor.get("python_version", ""))):
        warn(f"{stored.title} needs {', '.join(others)}: its answers may differ")
    metadata = meta.metadata or {}
    if not {DATA_SOURCE, DATA_DIGEST} <= set(metadata):
        return DownloadedModel(path, None)
    private = bool(owner.inputs_switch) and not metadata.get(owner.inputs_switch, True)
    own = {name: value for name, value in metadata.items() if name not in {*reserved_metadata(owner)}}
    return DownloadedModel(path, ModelMetadata(metadata[DATA_SOURCE], metadata[DATA_DIGEST], private, own))


def reserved_metadata(owner: Experiment) -> list[str]:
    """List the names in a model's metadata that the machinery sets, so that ``package`` cannot."""
    return [DATA_SOURCE, DATA_DIGEST, EXPERIMENT, *filter(None, [owner.inputs_switch])]


def _is_data(file: Path) -> bool:
    if file.name == MODULE_FILE:
        return file.read_text() in MODULES
    is_asset = file.parent.name == "assets" and (file.parent.parent / "saved_model.pb").is_file()
    return is_asset or DATA_FILE.fullmatch(file.name) is not None


def load(uri: str) -> PyFuncModel:
    """Load a model through mlflow.pyfunc. The model must be this training's own or checked by :func:`download`."""
    tensorflow = reproducibility.import_tensorflow()
    tensorflow.get_logger().setLevel("ERROR")  # it advises against many networks in a process
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    model = mlflow.pyfunc.load_model(uri, suppress_warnings=True)  # download has said what differs
    if keras := sys.modules.get("keras"):
        keras.config.disable_interactive_logging()  # progress bars would mix into the output
    return model


def read_trained_on(stored: StoredModel, metadata: ModelMetadata | None, folder: Path) -> TrainedOn:
    """Read what is known of a model's training: its rows, its data's digest and its parameters.

    Raises:
        RunFailed: if the store keeps failing.
    """
    rows = read_training_rows(stored, folder)
    known = (metadata.data_digest, metadata.data_source, metadata.own) if metadata else ("", "", {})
    parameters: Mapping[str, str] = {}
    if rows is not None:
        run = with_retries("reading the training's run", partial(mlflow.MlflowClient().get_run, stored.run_id))
        parameters = read_parameters(run)
    return TrainedOn(rows, known[0], parameters, known[1], known[2])


def read_training_rows(stored: StoredModel, folder: Path) -> pd.DataFrame | None:
    """Read the table of rows that a model's training logged (``Dataset.rows``); None if the run has no such table.

    Raises:
        RunFailed: if the store keeps failing.
    """
    download = partial(mlflow.artifacts.download_artifacts, dst_path=str(folder))

    def attempt() -> str | None:
        try:
            return download(run_id=stored.run_id, artifact_path=ROWS)
        except (MlflowException, FileNotFoundError) as error:
            if isinstance(error, FileNotFoundError) or is_permanent_error(error):
                return None
            raise

    path = with_retries("reading the training's rows", attempt) if stored.run_id else None
    return None if path is None else pd.read_parquet(path)
