"""What is measured of each thing that grows: whole commands, each in a fresh process, in a store of its own."""

import math
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import epochs
import ids
import timeline
from growth_stores import Store
from timeline import Timeline

SRC = epochs.SRC
LITTLE = ("--filters=8", "--embedding_dims=8", "--hidden_dims=8")  # so that what is around the network shows
MODEL = "models:/diabetes/1"


@dataclass(frozen=True)
class Point:
    """What a command takes at one size: seconds, CPU seconds of all its processes, peak MB of the largest."""

    verb: str
    size: int
    seconds: float
    cores: float = math.nan
    peak: float = math.nan

    @classmethod
    def of(cls, verb: str, size: int, found: Timeline) -> "Point":
        """Take the whole of a command."""
        return cls(verb, size, found.seconds, found.cores, found.peak)


@dataclass(frozen=True)
class Part:
    """Something that grows: its name for people, the sizes, and how the points of a size are measured."""

    name: str
    sizes: tuple[int, ...]
    measure: Callable[[Path, tuple[int, ...]], Iterator[Point]]


def measure_runs(folder: Path, sizes: tuple[int, ...]) -> Iterator[Point]:
    """Each verb beside runs of the store; a training has 1 epoch, replay and compare take all trainings."""
    place = folder / "run"
    place.mkdir()
    store = Store(place, folder / "home")
    store.build_real()
    for size in sizes:
        store.fill(size)
        trained = store.call("train", "--epochs=1", "--seed=5")
        yield Point("train: to the first step", size, trained.when(timeline.FIRST_STEP.pattern), math.nan, trained.peak)
        yield Point.of("train, 1 epoch", size, trained)
        calls = {"unfinished": (), "tidy": (), "replay": ("--run=all", "--patience=1,2"), "compare": ()}
        for verb, words in {"evaluate": (f"--model={MODEL}",), **calls}.items():
            yield Point.of(verb, size, store.call(verb, *words))
        promoted = store.call("promote", "--model=models:/diabetes/2", "--margin=100", statuses=(0, 3))
        yield Point.of("promote", size, promoted)


def measure_epochs(folder: Path, sizes: tuple[int, ...]) -> Iterator[Point]:
    """A training of the second experiment stopped after so many epochs, resumed for up to 20, replayed, compared."""
    for size in sizes:
        place = folder / f"epochs-{size}"
        place.mkdir()
        store = Store(place, folder / "home")
        timeline.make_store(place, folder / "home")
        store.call("train", "--epochs=2", "--seed=1")  # which comparisons compare with
        words = (f"--epochs={size + 20}", f"--patience={10**6}", "--batch_size=256", "--hidden_units=16")
        stopped = store.stop_after(f"epoch {size} ", *words)
        last = [at for at, line in stopped.lines if timeline.EPOCH.search(line)]
        yield Point("train, all epochs", size, last[-1] - stopped.when(timeline.FIRST_STEP.pattern))
        resumed = store.call("train", "--resume=latest")
        first = resumed.when(timeline.EPOCH.pattern)
        final = [at for at, line in resumed.lines if timeline.EPOCH.search(line)][-1]
        yield Point("resume: to its first epoch's end", size, first, math.nan, resumed.peak)
        yield Point("end of a training", size, resumed.seconds - final, math.nan, resumed.peak)
        yield Point.of("evaluate", size, store.call("evaluate"))
        yield Point.of("replay", size, store.call("replay"))
        yield Point.of("compare", size, store.call("compare"))
        shutil.rmtree(place)


def measure_classes(folder: Path, sizes: tuple[int, ...]) -> Iterator[Point]:
    """20,000 short made-up texts, each with a word of its class: two epochs, an evaluation of a fifth."""
    environment = timeline.make_environment(folder, folder / "home")
    rng = random.Random(7)
    for size in sizes:
        with (folder / "classes.csv").open("w") as file:
            file.write("text,label\n")
            for row in range(20_000):
                words = [f"w{int(4000 * rng.random() ** 3)}" for _ in range(11)] + [
                    f"own{row % size}x{rng.randrange(3)}"
                ]
                rng.shuffle(words)
                file.write(f"{' '.join(words)} n{row},c{row % size}\n")
        own = ["--data=classes.csv", "--epochs=2", "--maxlen=20", f"--model_name=classes-{size}"]
        trained = timeline.run([[str(SRC / "train.py"), *own]], folder, environment)
        yield Point("train: to the first step", size, trained.when(timeline.FIRST_STEP.pattern), math.nan, trained.peak)
        yield Point("train: the last epoch", size, trained.epochs[-1])
        yield Point.of("train, 2 epochs", size, trained)
        model = f"--model=models:/classes-{size}@candidate"
        for name, words in {"evaluate": [], "evaluate, baseline=false": ["--baseline=false"]}.items():
            scored = timeline.run([[str(SRC / "evaluate.py"), model, *words]], folder, environment)
            yield Point.of(name, size, scored)


def measure_texts(folder: Path, sizes: tuple[int, ...]) -> Iterator[Point]:
    """Made-up texts as long as reviews: one epoch of a little network, an evaluation of a fifth."""
    environment = timeline.make_environment(folder, folder / "home")
    for size in sizes:
        code = f"import million; million.write_texts(million.Path({str(folder / 'texts.csv')!r}), {size})"
        timeline.run([["-c", code]], folder, environment | {"PYTHONPATH": str(epochs.HERE)})
        own = ["--data=texts.csv", "--epochs=1", "--batch_size=256", "--maxlen=100", *LITTLE, "--model_name=texts"]
        trained = timeline.run([[str(SRC / "train.py"), *own]], folder, environment)
        yield Point("train: to the first step", size, trained.when(timeline.FIRST_STEP.pattern), math.nan, trained.peak)
        yield Point.of("train, 1 epoch", size, trained)
        model = "--model=models:/texts@candidate"
        for name, words in {"evaluate": [], "evaluate, baseline=false": ["--baseline=false"]}.items():
            yield Point.of(name, size, timeline.run([[str(SRC / "evaluate.py"), model, *words]], folder, environment))
    (folder / "texts.csv").unlink()


def measure_rows(folder: Path, sizes: tuple[int, ...]) -> Iterator[Point]:
    """A prediction of made-up texts as long as reviews, from a Parquet file, with two workers and with one."""
    environment = timeline.make_environment(folder, folder / "home")
    own = ["--data=reviews", "--epochs=1", "--model_name=rows"]
    timeline.run([[str(SRC / "train.py"), *own]], folder, environment)
    for size in sizes:
        code = f"import predictions; predictions.Table({size}, predictions.Path({str(folder)!r})).write()"
        timeline.run([["-c", code]], folder, environment | {"PYTHONPATH": str(epochs.HERE)})
        path = folder / f"texts-{size}.parquet"
        words = ["--model=models:/rows@candidate", f"--data={path}", f"--workers={os.cpu_count()}"]
        predict = [str(SRC / "predict.py"), *words, f"--output={folder / 'answers'}"]
        yield Point.of("predict", size, timeline.run([predict], folder, environment))
        yield Point.of("predict, when all is done", size, timeline.run([predict], folder, environment))
        path.unlink()
        shutil.rmtree(folder / "answers")


def measure_trials(folder: Path, sizes: tuple[int, ...]) -> Iterator[Point]:
    """A search's share of a trial beside made-up ones, and what a resume reads, in this process and on SQLite."""
    environment = timeline.make_environment(folder, folder / "home") | {"PYTHONPATH": str(epochs.HERE)}
    for size in sizes:
        found = timeline.run([[__file__, "trials", str(size)]], folder, environment)
        seconds, resume = map(float, found.lines[-1][1].split()[-2:])
        yield Point("a trial's share", size, seconds, math.nan, found.peak)
        yield Point("resume: reading all trials", size, resume, math.nan, found.peak)


def print_trials(size: int) -> None:
    """Print the median of the share of a trial, and the seconds of what a resume reads."""
    import mlflow

    import searches

    folder = Path(f"search-{size}").absolute()
    folder.mkdir()
    store = f"sqlite:///{folder}/mlflow.db"
    client = mlflow.MlflowClient(store)
    experiment_id = client.create_experiment("search", f"{folder}/artifacts")
    search_id = client.create_run(experiment_id, run_name="search").info.run_id
    searches.fill(store, experiment_id, search_id, size)
    found = searches.measure(folder, store, experiment_id, search_id, size)
    print(median(found["whole"]), min(found["resume"]))


def measure_epoch(folder: Path, sizes: tuple[int, ...], flag: str) -> Iterator[Point]:
    """An epoch of the article's network without tracking: the median of epochs 2 and 3."""
    for size in sizes:
        cores = size if flag == "cores" else None
        if cores and (not hasattr(os, "sched_getaffinity") or cores > len(os.sched_getaffinity(0))):
            continue
        words = [] if cores else [f"--{flag}={size}"]
        command = [str(epochs.HERE / "ours.py"), str(ids.FILE), "--epochs=3", *words]
        yield Point("an epoch", size, median(epochs.run(command, cores=cores).seconds))


PARTS = {
    "runs": Part("runs in the store", (10, 100, 1000, 10_000), measure_runs),
    "epochs": Part("epochs", (10, 100, 1000, 10_000), measure_epochs),
    "classes": Part("classes", (2, 10, 100, 1000), measure_classes),
    "texts": Part("texts", (25_000, 100_000, 1_000_000), measure_texts),
    "rows": Part("rows to predict", (1000, 10_000, 100_000, 1_000_000), measure_rows),
    "trials": Part("trials of a search", (10, 100, 1000), measure_trials),
    "times": Part("times the reviews", (1, 2, 4), partial(measure_epoch, flag="times")),
    "maxlen": Part("words of a text, maxlen", (100, 200, 400, 800), partial(measure_epoch, flag="maxlen")),
    "batch_size": Part("batch_size", (32, 128, 512), partial(measure_epoch, flag="batch_size")),
    "cores": Part("cores", (1, 2), partial(measure_epoch, flag="cores")),
}


if __name__ == "__main__":
    print_trials(int(sys.argv[2]))
