"""Processes that are forked from one that has imported everything and used nothing of it: they start in no time.

A fork must copy neither threads nor connections, so the process that forks uses MLflow and TensorFlow in its children
alone.
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
    # What MLflow imports when it is used first: its stores, its models, what goes with them.
    "alembic.command", "git", "matplotlib.pyplot", "mlflow.models.display_utils", "mlflow.pyfunc.scoring_server",
    "mlflow.store.model_registry.sqlalchemy_workspace_store", "mlflow.store.tracking.sqlalchemy_workspace_store",
    "mlflow.tensorflow", "mlflow.tracing.processor.base_mlflow", "pyarrow.parquet", "sklearn.datasets",
    "sklearn.metrics",
    # What the commands and the experiments import when they need it.
    "imdb_conv1d.networks", "imdb_conv1d.package", "imdb_conv1d.sources", "imdb_conv1d.tokenizer",
    "tracked.models.finalize", "tracked.models.keras_package", "tracked.resume.tracked_training",
    "tracked.training.keras_trainee", "tracked.training.table_dataset", "tracked.training.trainer",
    "tracked.verbs.train",
)  # fmt: skip


def import_all() -> None:
    """Import what a training of any subject imports, and use nothing."""
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "MLFLOW_DISABLE_TELEMETRY": "true", "MPLBACKEND": "agg"}
    for module in MODULES:
        importlib.import_module(module)
    for subject in SUBJECTS.values():
        subject.experiment()
    # MLflow asks for it in every training, and it takes a second to find.
    known = importlib_metadata.packages_distributions()
    importlib_metadata.packages_distributions = lambda: known


def begin(function: Callable[..., Any], *arguments: Any) -> tuple[int, int]:
    """Call a function in a forked process; what is to be given to :func:`result`."""
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
    """What the function returned."""
    with os.fdopen(reads, "rb") as file:
        content = file.read()
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError("a forked process failed")
    return pickle.loads(content)


def in_child(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns, called in a forked process."""
    return result(*begin(function, *arguments))


def become_training(subject: Subject, arguments: list[str], folder: Path, log: Path) -> NoReturn:
    """Be a subject's train command, in a folder and a process group of its own, and print into a file."""
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
