"""The reviews as ids for peers that do not read text: the rows and words of ``data=reviews``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

HERE = Path(__file__).parent
FILE = HERE / "out" / "ids.npz"
LONGEST = 800  # words kept of a review; a shorter maxlen takes the last columns


def prepare() -> Path:
    """Write the train and validation parts, ids int32 [n, 800] and labels [n], unless the file is up to date."""
    code = [
        HERE.parent / "src" / "imdb_conv1d" / f"{name}.py" for name in ("tokenizer", "dataset", "sources", "readers")
    ]
    if not FILE.exists() or FILE.stat().st_mtime < max(path.stat().st_mtime for path in code):
        sys.path.insert(0, str(HERE.parent / "src"))
        from imdb_conv1d import dataset, sources, tokenizer
        from imdb_conv1d.parameters import TrainParameters

        parameters = TrainParameters()
        reviews = dataset.load(sources.resolve("reviews"), parameters.validation_split)
        train, validation = reviews.part("train"), reviews.part("validation")
        FILE.parent.mkdir(exist_ok=True)
        words = [tokenizer.split_words(part["text"]) for part in (train, validation)]
        vocabulary = FILE.with_name("vocabulary.txt")
        tokenizer.write_vocabulary(vocabulary, tokenizer.make_vocabulary(words[0], parameters.max_features))
        x, x_validation = (tokenizer.encode(part, tokenizer.make_lookup(vocabulary), LONGEST) for part in words)
        labels = {"y": train["label"].to_numpy(np.int32), "y_validation": validation["label"].to_numpy(np.int32)}
        partial = FILE.with_name("partial.npz")
        np.savez(partial, x=x, x_validation=x_validation, **labels)
        partial.replace(FILE)
    return FILE


def load(file: str, maxlen: int = 400, times: int = 1) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Read ids int32 [n, maxlen] and labels float32 [n] of both parts, the rows repeated ``times`` times."""
    with np.load(file) as arrays:
        parts = [
            (arrays[f"x{part}"][:, -maxlen:], arrays[f"y{part}"].astype(np.float32)) for part in ("", "_validation")
        ]
    return tuple((np.tile(ids, (times, 1)), np.tile(labels, times)) for ids, labels in parts)


def shuffled(x: np.ndarray, y: np.ndarray, seed: int) -> "tf.data.Dataset":
    """Make batches of 32 rows in another order in each epoch: with arrays and a seed, Keras's fit repeats one order."""
    import tensorflow as tf

    ids, labels = tf.constant(x), tf.constant(y)
    rows = tf.data.Dataset.range(len(x)).shuffle(len(x), seed=seed, reshuffle_each_iteration=True)
    return rows.batch(32).map(lambda batch: (tf.gather(ids, batch), tf.gather(labels, batch))).prefetch(8)


if __name__ == "__main__":
    print(prepare())
