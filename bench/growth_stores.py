"""Stores of many runs, quickly: a few real ones of the second experiment, whose records are copied in SQL.

A copy has ids of its own in all that names it, metrics with a little noise, a version of its own, and hard links to the
artifacts. So stores of 10,000 runs take a minute, and hold what the commands would have written.
"""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
import uuid
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import epochs
import timeline

SCRIPT = str(epochs.HERE.parent / "examples" / "diabetes" / "diabetes.py")
NAME = "diabetes"
TABLES = {  # of a run, and of a model; with the columns that hold its id
    "runs": "run_uuid", "params": "run_uuid", "tags": "run_uuid", "metrics": "run_uuid", "latest_metrics": "run_uuid",
    "inputs": "destination_id",
}  # fmt: skip
OF_MODEL = {
    "logged_models": "model_id", "logged_model_params": "model_id", "logged_model_tags": "model_id",
    "logged_model_metrics": "model_id", "inputs": "destination_id",
}  # fmt: skip
OF_VERSION = {"model_versions": "version", "model_version_tags": "version"}
NOISY = ("loss", "val_loss", "test_loss")  # metrics that no two copies have alike
UNFINISHED = 100  # one in so many trainings
Row = tuple[object, ...]


class Store:
    """A store of runs in a folder, which must stay where it is, as artifacts' places are absolute."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder, self.environment = folder, timeline.make_environment(folder, home)
        self.path = folder / "mlflow.db"

    def call(self, verb: str, *words: str, statuses: tuple[int, ...] = (0,)) -> timeline.Timeline:
        """Call a verb of the second experiment."""
        return timeline.run([[SCRIPT, verb, *words]], self.folder, self.environment, statuses)

    def stop_after(self, pattern: str, *words: str) -> timeline.Timeline:
        """Train until a line begins with a text, then stop the training by SIGTERM; until its end."""
        command = [epochs.PYTHON, SCRIPT, "train", *words]
        lines = list[tuple[float, str]]()
        start = time.perf_counter()
        with subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            for line in process.stdout or ():
                lines.append((time.perf_counter() - start, line.rstrip()))
                if line.startswith(pattern):
                    process.send_signal(signal.SIGTERM)
        if process.returncode not in (0, 143):
            raise RuntimeError(f"exit {process.returncode}: {lines[-10:]}")
        return timeline.Timeline(time.perf_counter() - start, lines)

    def build_real(self) -> None:
        """Train and evaluate twice, promote, and break a training off."""
        for seed in (1, 2):
            self.call("train", "--epochs=5", f"--seed={seed}")
            self.call("evaluate")
        self.call("promote", "--model=models:/diabetes/1", "--margin=100")
        self.stop_after("epoch 5 ", "--epochs=100000", "--patience=100000", "--seed=3")

    def query(self, text: str, *values: object) -> list[Row]:
        """Ask the database."""
        with closing(sqlite3.connect(self.path)) as store:
            return store.execute(text, values).fetchall()

    def fill(self, count: int) -> None:
        """Copy real runs until there are so many: trainings with a version and their evaluations, some unfinished."""
        trained, unfinished = (
            str(self.query("select run_uuid from runs join tags using (run_uuid) where key = 'verb' and "
                           "tags.value = 'train' and status = ? order by start_time limit 1", status)[0][0])
            for status in ("FINISHED", "KILLED")
        )  # fmt: skip
        evaluated = str(
            self.query("select run_uuid from tags where key = 'training_run_id' and value = ? limit 1", trained)[0][0]
        )
        model = str(self.query("select model_id from logged_models where source_run_id = ?", trained)[0][0])
        (last, end), missing = (
            self.query("select max(version), (select max(start_time) from runs) from model_versions")[0],
            count - len(self.query("select 1 from runs")),
        )
        copies = Copies(self, random.Random(7))
        for number in range(1, missing // 2 + 1):
            new, new_model = uuid.uuid4().hex, f"m-{uuid.uuid4().hex}"
            moment = int(str(end)) + 2000 * number
            if number % UNFINISHED == 0:
                copies.add_run(unfinished, {unfinished: new}, moment)
                continue
            names = {trained: new, model: new_model}
            copies.add_run(trained, names, moment)
            copies.add(OF_MODEL, model, names)
            copies.add_files(f"models/{model}", f"models/{new_model}")
            copies.add_version(1, int(str(last)) + number, names)
            copies.add_run(evaluated, {**names, evaluated: uuid.uuid4().hex}, moment + 1000)
        copies.write()


class Copies:
    """Copies of records, gathered by table, then written at once."""

    def __init__(self, store: Store, chance: random.Random) -> None:
        self.store, self.chance = store, chance
        self.rows: dict[str, list[Row]] = {}
        self._read: dict[tuple[str, object], list[Row]] = {}
        self._columns: dict[str, list[str]] = {}

    def add(self, tables: Mapping[str, str], key: object, names: Mapping[str, str], **changed: object) -> None:
        """Copy the rows of one thing, with other names in all texts, and changed columns."""
        for table, column in tables.items():
            if (table, key) not in self._read:
                self._read[table, key] = self.store.query(f"select * from {table} where {column} = ?", key)
                self._columns[table] = [str(row[1]) for row in self.store.query(f"pragma table_info({table})")]
            for row in self._read[table, key]:
                values = dict(zip(self._columns[table], (_rename(value, names) for value in row), strict=True))
                values |= {name: value for name, value in changed.items() if name in values}
                if table == "inputs":
                    values["input_uuid"] = uuid.uuid4().hex
                if values.get("key") in NOISY and isinstance(values["value"], float):
                    values["value"] *= 1 + self.chance.uniform(-0.01, 0.01)
                self.rows.setdefault(table, []).append(tuple(values.values()))

    def add_run(self, run: str, names: Mapping[str, str], start: int) -> None:
        """Copy a run, its artifacts and its folder."""
        self.add(TABLES, run, names, start_time=start, end_time=start + 900)
        self.add_files(run, names[run])
        folder = self.store.folder / "snapshots"
        if (folder / run).exists():
            shutil.copytree(folder / run, folder / names[run], copy_function=os.link)

    def add_version(self, version: int, number: int, names: Mapping[str, str]) -> None:
        """Copy a version of the registered model; a run's tag names it."""
        self.add(OF_VERSION, version, names, version=number)
        table, (run, *_) = self.rows["tags"], tuple(names.values())
        for place in range(len(table) - 1, -1, -1):
            if run not in table[place]:
                break
            if table[place][0] == "registered_version":
                table[place] = (table[place][0], str(number), *table[place][2:])

    def add_files(self, name: str, new: str) -> None:
        """Link the artifacts of a run or model."""
        place = self.store.folder / "mlruns" / "0"
        if (place / name).exists():
            shutil.copytree(place / name, place / new, copy_function=os.link)

    def write(self) -> None:
        """Write all copies in one transaction."""
        with closing(sqlite3.connect(self.store.path)) as store, store:
            for table, rows in self.rows.items():
                marks = ", ".join("?" * len(rows[0]))
                store.executemany(f"insert into {table} values ({marks})", rows)


def _rename(value: object, names: Mapping[str, str]) -> object:
    if isinstance(value, str):
        for old, new in names.items():
            value = value.replace(old, new)
    return value
