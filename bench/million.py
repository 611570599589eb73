"""Measure time and peak memory from a table of very many texts to the batches of an epoch.

python bench/million.py 250000 1000000

The texts are made up: as long as the reviews (log-normal), of the reviews' words by their frequency; each has a word of
its own beside them, so all are distinct.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import epochs

sys.path.insert(0, str(epochs.SRC))

CHUNK = 10_000
MEAN, DEVIATION = 5.24, 0.644  # of the logarithm of a review's words: 234 on average


def make_texts(count: int) -> Iterator[list[str]]:
    """Make up distinct texts, the same for the same count, in pieces of ``CHUNK``."""
    from imdb_conv1d import readers, words

    reviews = [text for table in readers.read_reviews() for text in table["text"]]
    split = words.split_many(reviews)
    names = np.array(split.distinct, dtype=object)
    bounds = np.cumsum(np.bincount(split.indices)) / len(split.indices)
    rng = np.random.default_rng(7)
    for start in range(0, count, CHUNK):
        lengths = np.maximum(rng.lognormal(MEAN, DEVIATION, min(CHUNK, count - start)).astype(int), 1)
        drawn = names[np.searchsorted(bounds, rng.random(lengths.sum()))].tolist()
        ends = np.cumsum(lengths).tolist()
        pieces = enumerate(zip(ends, lengths.tolist(), strict=True), start)
        yield [f"{' '.join(drawn[end - length : end])} n{row}" for row, (end, length) in pieces]


def write_texts(path: Path, count: int) -> None:
    """Write a CSV of distinct texts with labels 0 and 1, the same for the same count."""
    with path.open("w") as file:
        file.write("text,label\n")
        for start, texts in zip(range(0, count, CHUNK), make_texts(count), strict=True):
            file.writelines(f"{text},{row % 2}\n" for row, text in enumerate(texts, start))


def measure(path: Path) -> None:
    """Print each phase's seconds and the peak of the process so far."""
    start, start_of_cores = time.perf_counter(), time.process_time()

    def tell(phase: str, rows: int) -> None:
        nonlocal start, start_of_cores
        seconds, of_cores = time.perf_counter() - start, time.process_time() - start_of_cores
        numbers = f"{seconds:.1f} | {of_cores:.1f} | {rows / seconds:,.0f} | {_read_peak():,.0f}"
        print(f"| {phase} | {numbers} |", flush=True)
        start, start_of_cores = time.perf_counter(), time.process_time()

    from imdb_conv1d.experiment import EXPERIMENT
    from imdb_conv1d.parameters import TrainParameters

    parameters = TrainParameters(data=str(path))
    data = EXPERIMENT.load(parameters, "")
    rows = sum(data.counts.values())
    tell("index: hashes, labels, parts", rows)

    import tensorflow as tf

    from imdb_conv1d import ids, networks, words
    from imdb_conv1d.batches import make_training_batches
    from tracked.experiment import SEEN_PARTS

    networks.build(parameters)
    words.split_words("a")
    tell("imports, network", rows)
    positions = [data.positions(part) for part in SEEN_PARTS]
    texts = data.read_texts(SEEN_PARTS)
    encoding = ids.encode_parts(texts, positions, path.parent, parameters.max_features, parameters.maxlen)
    train = encoding.parts[0]
    tell("words to ids", sum(map(len, encoding.parts)))
    labels = data.labels(SEEN_PARTS[0]).astype(np.float32)
    seed, epoch = parameters.seed, tf.Variable(1, dtype=tf.int64)
    for _ in make_training_batches(train, labels, parameters.batch_size, parameters.kernel_size, seed, epoch):
        pass
    tell("the first epoch's batches", len(train))


def _read_peak() -> float:
    """The maximum resident set in MB, mapped pages included."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def main() -> None:
    """Make the texts, and measure each count in a process of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("counts", type=int, nargs="*", default=[250_000, 1_000_000])
    parser.add_argument("--file", type=Path, help="measure this table in this process")
    known = parser.parse_args()
    if known.file:
        measure(known.file)
        return
    epochs.OUT.mkdir(exist_ok=True)
    path, lines = epochs.OUT / "million.csv", []
    for count in known.counts:
        write_texts(path, count)
        size = path.stat().st_size / 1e6
        command = [sys.executable, __file__, f"--file={path}"]
        found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        table = [line for line in found.splitlines() if line.startswith("|")]
        lines += [f"{count:,} texts, {size:,.0f} MB of CSV:", ""]
        lines += ["| phase | s | s of all cores | texts a second | peak memory so far, MB |"]
        lines += ["| --- | --- | --- | --- | --- |", *table, ""]
    path.unlink()
    epochs.write("million.md", "\n".join(lines))


if __name__ == "__main__":
    main()
