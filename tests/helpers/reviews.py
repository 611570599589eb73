"""Tiny reviews, and parameters of a small network: an epoch takes a fraction of a second."""

import random

import numpy as np
import pandas as pd

from imdb_conv1d.dataset import LabelledTexts
from imdb_conv1d.labels import ZERO_ONE, Classes, map_to_model
from imdb_conv1d.sources import Source
from imdb_conv1d.text_index import TextIndex, make_index, read_spellings
from imdb_conv1d.texts_part import TextsPart, choose_rows

GOOD = ["wonderful", "warm", "funny", "moving"]


BAD = ["boring", "awful", "cheap", "wooden"]


FILLING = ["the", "film", "was", "a", "story", "about", "two", "friends"]


def make_reviews(rows: int, seed: int = 0) -> pd.DataFrame:
    """Make distinct reviews, half of each label, where three words determine the label."""
    chance = random.Random(seed)
    texts = [
        f"{' '.join(chance.choices(FILLING, k=8))} {' '.join(chance.choices((BAD, GOOD)[row % 2], k=3))} n{seed}x{row}"
        for row in range(rows)
    ]
    return pd.DataFrame({"text": texts, "label": [row % 2 for row in range(rows)]})


def make_noisy_reviews(rows: int) -> pd.DataFrame:
    """Make reviews with a quarter of the labels wrong."""
    reviews, chance = make_reviews(rows), random.Random(1)
    reviews["label"] = [1 - label if chance.random() < 0.25 else label for label in reviews["label"]]
    return reviews


def read_part(texts: LabelledTexts, part: str) -> pd.DataFrame:
    """Read a part with its texts: hash, text, label (code) and split, in the order of the rows' numbers."""
    found = np.empty(texts.count(part), dtype=object)
    for numbers, piece in texts.read_texts([part]):
        found[numbers - texts.positions(part)[0]] = piece
    return pd.DataFrame({"hash": texts.hashes(part), "text": found, "label": texts.labels(part), "split": part})


def index_of(source: Source, names: tuple[str, ...] = ZERO_ONE) -> TextIndex:
    """Index a source whose labels are these, in this order."""
    read, classes = read_spellings(source), Classes(names)
    return make_index(read, classes, map_to_model(read.counts, classes, source.name))


def part_of(source: Source) -> TextsPart:
    """All reviews of a source, or its test part if it has one."""
    index = index_of(source)
    return TextsPart(source, index, choose_rows(index, whole=True))


# A network and batches small enough that an epoch of 200 tiny reviews takes a fraction of a second.
TINY = [
    "--maxlen=20",
    "--max_features=50",
    "--embedding_dims=8",
    "--filters=8",
    "--hidden_dims=8",
    "--batch_size=8",
    "--learning_rate=0.01",
]
