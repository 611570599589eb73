"""Measure predictions of very many texts: rows a second, peak memory, kills, and other ways to the same answers.

python bench/predictions.py 100000 1000000
python bench/predictions.py 1000000 --ways predict kills ray loop spark --folder /data/bench   # which keeps the texts

A model of one epoch on the reviews answers made-up texts as long as these (``bench/million.py``), from a Parquet file.
The ways: ``predict``, of this project; ``kills``, the same, killed ten times on its way; ``ray``, the same on Ray;
``loop``, ``pyfunc.predict`` on pandas tables of 10,000 rows; ``spark``, ``mlflow.pyfunc.spark_udf``; ``serving``,
``mlflow models predict`` on the first rows, which it reads at once.
"""

import argparse
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import epochs
import million
from processes import Measured, kill_on_the_way, measure

MODEL = "models:/imdb-conv1d@candidate"
KILLS = 10
WAYS = ("predict", "kills", "ray", "loop", "spark", "serving")
SPARK = epochs.HERE.parent / "examples" / "spark" / "spark_predict.py"
OTHERS = {"loop": [epochs.HERE / "prediction_loop.py"], "spark": [SPARK, "--id=id", "--inputs", "text"]}


@dataclass(frozen=True)
class Table:
    """Texts in a Parquet file, and the folder of what is made of them."""

    rows: int
    folder: Path

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / f"texts-{self.rows}.parquet"

    def write(self) -> None:
        """Write the texts, unless they are there."""
        if self.path.exists():
            return
        partial_path = self.path.with_suffix(".partial")
        schema, first = pa.schema([("id", pa.int64()), ("text", pa.string())]), 0
        with pq.ParquetWriter(partial_path, schema, compression="zstd") as file:
            for texts in million.make_texts(self.rows):
                file.write_table(pa.table({"id": range(first, first + len(texts)), "text": texts}, schema=schema))
                first += len(texts)
        partial_path.rename(self.path)


def make_environment(folder: Path) -> dict[str, str]:
    """Make the environment of the measured processes: a store of their own."""
    settings = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "MLFLOW_DISABLE_TELEMETRY": "true"}
    settings |= {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONUNBUFFERED": "1", "IMDB_CONV1D_SNAPSHOTS": f"{folder}/snapshots"}
    settings["PYSPARK_PYTHON"] = epochs.PYTHON
    return os.environ | settings


def train(folder: Path) -> None:
    """Train and register the model, unless there is one."""
    if (folder / "trained").exists():
        return
    command = [epochs.PYTHON, str(epochs.SRC / "train.py"), "--epochs=1"]
    measure(command, folder, make_environment(folder))
    (folder / "trained").touch()


def make_command(way: str, table: Table, output: Path, options: argparse.Namespace) -> list[str]:
    """Make the command of one way."""
    if way in OTHERS:
        script, *words = OTHERS[way]
        return [epochs.PYTHON, str(script), MODEL, str(table.path), str(output), *words]
    if way == "serving":
        wanted = table.folder / "served.json"
        texts = pq.read_table(table.path, columns=["text"])["text"][: options.served].to_pylist()
        wanted.write_text(json.dumps({"inputs": texts}))
        mlflow = str(Path(epochs.PYTHON).with_name("mlflow"))
        return [mlflow, "models", "predict", "-m", MODEL, "-i", str(wanted), "-t", "json", "-o", f"{output}.json",
                "--env-manager", "local"]  # fmt: skip
    words = {"data": table.path, "output": output, "model": MODEL, "text_column": "text", "workers": options.workers}
    words |= {"part_rows": options.part_rows, "executor": "ray" if way == "ray" else "processes"}
    return [epochs.PYTHON, str(epochs.SRC / "predict.py"), *(f"--{name}={word}" for name, word in words.items())]


def read_answers(way: str, table: Table, output: Path) -> np.ndarray:
    """Read the probabilities in the order of the rows.

    Raises:
        RuntimeError: if a row is lost or doubled.
    """
    if way == "serving":
        answers = json.loads(Path(f"{output}.json").read_text())
        return np.asarray(answers["predictions"]).reshape(-1)
    names = ["id", "answer" if way == "spark" else "probability"]
    found = pa.concat_tables([pq.read_table(path, columns=names) for path in sorted(output.glob("part-*.parquet"))])
    ids, probability = (found[name].to_numpy() for name in names)
    order = np.argsort(ids, kind="stable")
    if not np.array_equal(ids[order], np.arange(table.rows)):
        raise RuntimeError(f"{way}: {len(ids)} answers to {table.rows} rows, {len(np.unique(ids))} of them distinct")
    return np.asarray(probability[order])


def digest(output: Path) -> str:
    """Digest the files of answers and their names."""
    content = hashlib.sha256()
    for path in sorted(output.glob("part-*.parquet")):
        content.update(path.name.encode() + path.read_bytes())
    return content.hexdigest()[:12]


def run(way: str, table: Table, options: argparse.Namespace) -> tuple[Measured, np.ndarray, str]:
    """Run one way; returns what was measured, the probabilities and the digest of the files."""
    output = table.folder / f"answers-{way}"
    shutil.rmtree(output, ignore_errors=True)
    command, environment = make_command(way, table, output, options), make_environment(table.folder)
    how: Callable[..., Measured] = measure
    if way == "kills":
        how = partial(kill_on_the_way, output=output, parts=-(-table.rows // options.part_rows), kills=KILLS)
    measured = how(command, table.folder, environment)
    found = read_answers(way, table, output), digest(output) if way in ("predict", "kills", "ray") else ""
    shutil.rmtree(output, ignore_errors=True)
    return measured, *found


def measure_table(table: Table, ways: Sequence[str], options: argparse.Namespace) -> list[list[str]]:
    """Run the ways on a table, and compare their answers with the first one's."""
    lines: list[list[str]] = []
    first: np.ndarray | None = None
    for way in ways:
        measured, probability, digested = run(way, table, options)
        first = probability if first is None else first
        difference = float(np.abs(probability - first[: len(probability)]).max())
        numbers = [f"{measured.seconds:,.0f}", f"{len(probability) / measured.seconds:,.0f}"]
        memory = [f"{measured.peak:,.0f}", f"{measured.peak_of_worker:,.0f}" if measured.peak_of_worker else ""]
        name = f"{way}, {measured.kills} kills" if measured.kills else way
        lines.append([name, f"{len(probability):,}", *numbers, *memory, f"{difference:.1e}", digested])
        print(" | ".join(lines[-1]), flush=True)
    return lines


def main() -> None:
    """Make texts and model, run the ways, write bench/out/predictions.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=["predict", "kills", "loop", "serving"])
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--part-rows", type=int, default=10_000)
    parser.add_argument("--served", type=int, default=10_000, help="rows for mlflow models predict")
    parser.add_argument("--folder", type=Path, help="where texts and model are kept; default: a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        folder = (options.folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        train(folder)
        lines = []
        for count in options.counts:
            table = Table(count, folder)
            table.write()
            lines += measure_table(table, options.ways, options)
    head = ["way", "rows", "s", "rows a second", "peak MB", "of a worker", "largest difference", "digest"]
    epochs.write("predictions.md", epochs.table(head, lines))


if __name__ == "__main__":
    main()
