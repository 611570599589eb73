"""Tiny reviews, and parameters of a small network: an epoch takes a fraction of a second."""

import random

import pandas as pd

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
