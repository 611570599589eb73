"""Fork processes from one with all imports done: they start at once.

A fork must copy neither threads nor connections, so only the children use MLflow and TensorFlow.
"""

import importlib
import os
import pickle
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import importlib_metadata

from helpers.subjects import SUBJECTS, Subject

MODULES = (
    # Imported by MLflow on first use: its stores and models.
    "alembic.command", "git", "matplotlib.pyplot", "mlflow.models.display_utils", "mlflow.pyfunc.scoring_server",
    "mlflow.store.model_registry.sqlalchemy_workspace_store", "mlflow.store.tracking.sqlalchemy_workspace_store",
    "mlflow.tensorflow", "mlflow.tracing.processor.base_mlflow", "pyarrow.parquet", "sklearn.datasets",
    "sklearn.metrics",
    # Imported by the verbs and the experiments on demand.
    "imdb_conv1d.ids", "imdb_conv1d.networks", "imdb_conv1d.package", "imdb_conv1d.sources",
    "tracked.models.finalize", "tracked.models.keras_package", "tracked.resume.tracked_training",
    "tracked.training.keras_trainee", "tracked.training.table_dataset", "tracked.training.trainer",
    "tracked.verbs.train",
)  # fmt: skip


def import_all() -> None:
    """Import all that a training of any subject imports, without using it."""
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "MLFLOW_DISABLE_TELEMETRY": "true", "MPLBACKEND": "agg"}
    os.environ["IMDB_CONV1D_CACHE_GB"] = "0"  # not the user's own cache
    for module in MODULES:
        importlib.import_module(module)
    for subject in SUBJECTS.values():
        subject.experiment()
    # MLflow calls this in every training, which takes a second.
    distributions = importlib_metadata.packages_distributions()
    importlib_metadata.packages_distributions = lambda: distributions


def begin(function: Callable[..., Any], *arguments: Any) -> tuple[int, int]:
    """Call a function in a forked process; return the arguments of :func:`result`."""
    reads, writes = os.pipe()
    child = os.fork()
    if child:
        os.close(writes)
        return child, reads
    os.close(reads)
    try:
        content = pickle.dumps(function(*arguments))
        with os.fdopen(writes, "wb") as file:
            file.write(content)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def result(child: int, reads: int) -> Any:
    """Wait for the process and return the function's result."""
    with os.fdopen(reads, "rb") as file:
        content = file.read()
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError("a forked process failed")
    return pickle.loads(content)


def in_child(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a forked process and return its result."""
    return result(*begin(function, *arguments))


def become_training(subject: Subject, arguments: list[str], folder: Path, log: Path) -> NoReturn:
    """Turn this process into a subject's train command, in a folder and a new process group, with output to a file."""
    from tracked.verbs import command

    os.setpgid(0, 0)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.chdir(folder)
    sys.argv = [*subject.words, *arguments]
    try:
        command.run(subject.experiment(), "" if "train" in subject.words else "train")
    except SystemExit as end:
        sys.stdout.flush()
        os._exit(int(end.code or 0))
    except BaseException:
        traceback.print_exc()
    os._exit(99)
