"""Separate stores for tests."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def copied_store(source: Path, folder: Path, patch: pytest.MonkeyPatch) -> Iterator[str]:
    """Copy a SQLite store into a folder and make MLflow use it, in subprocesses too; yield its URI."""
    import mlflow

    shutil.copy(source, folder / "mlflow.db")
    uri = f"sqlite:///{folder}/mlflow.db"
    patch.chdir(folder)
    mlflow.set_tracking_uri(uri)
    patch.setenv("MLFLOW_TRACKING_URI", uri)
    yield uri
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(None)
