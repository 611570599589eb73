"""The reviews as ids for peers that do not read text: the rows and words of ``data=reviews``."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

    from imdb_conv1d.ids import EncodedPart

HERE = Path(__file__).parent
FILE = HERE / "out" / "ids.npz"
LONGEST = 800  # words kept of a review; a shorter maxlen takes the last columns
SUFFIXES = "", "_validation", "_test"  # of the parts' arrays


def prepare() -> Path:
    """Write the train, validation and test parts, ids int32 [n, 800] and labels [n], unless the file is up to date."""
    code = [Path(__file__)]
    code += [
        HERE.parent / "src" / "imdb_conv1d" / f"{name}.py"
        for name in ("tokenizer", "words", "ids", "dataset", "sources", "readers", "text_index", "splitting")
    ]
    if not FILE.exists() or FILE.stat().st_mtime < max(path.stat().st_mtime for path in code):
        sys.path.insert(0, str(HERE.parent / "src"))
        from imdb_conv1d import dataset, sources
        from imdb_conv1d.ids import encode_parts
        from imdb_conv1d.parameters import TrainParameters
        from tracked.experiment import PARTS

        parameters = TrainParameters()
        reviews = dataset.load(sources.resolve("reviews"), parameters.validation_split)
        FILE.parent.mkdir(exist_ok=True)
        positions = [reviews.positions(part) for part in PARTS]
        with tempfile.TemporaryDirectory() as folder:
            texts = reviews.read_texts(PARTS)
            parts = encode_parts(texts, positions, Path(folder), parameters.max_features, LONGEST).parts
        arrays = {f"x{suffix}": part.to_padded() for suffix, part in zip(SUFFIXES, parts, strict=True)}
        for suffix, part in zip(SUFFIXES, PARTS, strict=True):
            arrays[f"y{suffix}"] = reviews.labels(part).astype(np.int32)
        partial = FILE.with_name("partial.npz")
        np.savez(partial, **arrays)
        partial.replace(FILE)
    return FILE


def load(
    file: str, maxlen: int = 400, times: int = 1, suffixes: Sequence[str] = SUFFIXES[:2]
) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Read ids int32 [n, maxlen] and labels float32 [n] of each part, the rows repeated ``times`` times."""
    with np.load(file) as arrays:
        parts = [(arrays[f"x{part}"][:, -maxlen:], arrays[f"y{part}"].astype(np.float32)) for part in suffixes]
    return tuple((np.tile(ids, (times, 1)), np.tile(labels, times)) for ids, labels in parts)


def encode(part: tuple[np.ndarray, np.ndarray]) -> "tuple[EncodedPart, np.ndarray]":
    """Give this project's training the ids and labels of a part."""
    from imdb_conv1d.ids import EncodedPart

    return EncodedPart.from_padded(part[0]), part[1]


def shuffled(x: np.ndarray, y: np.ndarray, seed: int) -> "tf.data.Dataset":
    """Make batches of 32 rows in another order in each epoch: with arrays and a seed, Keras's fit repeats one order."""
    import tensorflow as tf

    ids, labels = tf.constant(x), tf.constant(y)
    rows = tf.data.Dataset.range(len(x)).shuffle(len(x), seed=seed, reshuffle_each_iteration=True)
    return rows.batch(32).map(lambda batch: (tf.gather(ids, batch), tf.gather(labels, batch))).prefetch(8)


if __name__ == "__main__":
    print(prepare())
