"""Models of the registry on this machine: downloaded, checked for foreign code, loaded."""

import os
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.pyfunc import PyFuncModel

from tracked.console.errors import UserError
from tracked.console.lines import one_line
from tracked.experiment import Experiment, TrainedOn
from tracked.runs.connection import is_permanent_error
from tracked.runs.outbox import with_retries
from tracked.runs.registry import StoredModel, require_own
from tracked.runs.run_parameters import read_parameters
from tracked.runs.schema import DATA_DIGEST, DATA_SOURCE, ROWS

# What MLflow would unpickle or import from a model's folder: any of it may run code of whoever made the model.
CODE_ENDINGS = (".pkl", ".pickle", ".cloudpickle", ".joblib", ".dill", ".py", ".pyc", ".so", ".h5")


@dataclass(frozen=True)
class ModelMetadata:
    """What a training has written into its model's metadata about its data.

    ``private`` tells whether it forbids to store their inputs.
    """

    data_source: str
    data_digest: str
    private: bool = False


@dataclass(frozen=True)
class DownloadedModel:
    """A model on the disk. ``metadata`` is None for a model that no experiment has trained."""

    path: Path
    metadata: ModelMetadata | None


def download(owner: Experiment, stored: StoredModel, folder: Path) -> DownloadedModel:
    """Download a model and make sure that loading it runs no code but TensorFlow's.

    Raises:
        UserError: if it names a pickle or a loader of its own, is another experiment's, or cannot be evaluated by this.
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
    require_own(owner, stored)
    if fault := owner.explain_mismatch(inputs):
        raise UserError(f"model: {uri!r} {fault}")
    told = meta.metadata or {}
    if not {DATA_SOURCE, DATA_DIGEST} <= set(told):
        return DownloadedModel(path, None)
    private = bool(owner.inputs_switch) and not told.get(owner.inputs_switch, True)
    return DownloadedModel(path, ModelMetadata(told[DATA_SOURCE], told[DATA_DIGEST], private))


def load(uri: str) -> PyFuncModel:
    """Load a model by MLflow's general interface: one of our own, or one that :func:`download` has checked."""
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    model = mlflow.pyfunc.load_model(uri)
    if keras := sys.modules.get("keras"):
        keras.config.disable_interactive_logging()  # its progress bars would mix into the output
    return model


def read_trained_on(stored: StoredModel, record: ModelMetadata | None, folder: Path) -> TrainedOn:
    """Tell what is known of a model's training.

    Raises:
        RunFailed: if the store keeps failing.
    """
    rows, digest = read_training_rows(stored, folder), record.data_digest if record else ""
    if rows is None:
        return TrainedOn(None, digest)
    run = with_retries("reading the training", partial(mlflow.MlflowClient().get_run, stored.run_id))
    return TrainedOn(rows, digest, read_parameters(run))


def read_training_rows(stored: StoredModel, folder: Path) -> pd.DataFrame | None:
    """The table of its rows that a model's training has left (``Dataset.rows``); None if it is not there.

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

    path = with_retries("reading what the model was trained on", attempt) if stored.run_id else None
    return None if path is None else pd.read_parquet(path)
