"""Separate stores for tests."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
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


def replace_paths(database: Path, old: Path, new: Path) -> None:
    """Replace a folder's path in all texts of a SQLite store."""
    with closing(sqlite3.connect(database)) as store:
        columns = store.execute(
            "SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' "
            "AND (c.type LIKE '%CHAR%' OR c.type LIKE '%TEXT%')"
        ).fetchall()
        for table, column in columns:
            update = f'UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?) WHERE instr("{column}", ?)'
            store.execute(update, (str(old), str(new), str(old)))
        store.commit()


def move_store(source: Path, target: Path) -> None:
    """Copy a folder's store and its files into another folder, whose store is empty and may be open; paths follow."""
    with closing(sqlite3.connect(source / "mlflow.db")) as old, closing(sqlite3.connect(target / "mlflow.db")) as new:
        old.backup(new)
    replace_paths(target / "mlflow.db", source, target)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("mlflow.db*"), dirs_exist_ok=True)
