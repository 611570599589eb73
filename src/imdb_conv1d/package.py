"""What is registered of a checkpoint: the network with its words in front, and how it is checked once loaded back."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
from scipy.special import expit

from imdb_conv1d.dataset import Reviews
from imdb_conv1d.text_model import TextClassifier
from tracked.experiment import Package

TOLERANCE = 1e-5  # between two ways to a probability
EXAMPLE = ("A film to see twice: funny, warm and well played.", "Two hours of my life that I will never get back.")


def package(checkpoint: Path, vocabulary: Path, maxlen: int, reviews: Reviews) -> Package:
    """Make a model that takes text: string [n] to the probability of positive, float64 [n].

    The example's texts are made up, so nothing of the data is shown.
    """
    validation = reviews.part("validation")

    def loss(model: Any) -> float:
        """Score all validation texts; as in training, from logits."""
        texts, labels = validation["text"].to_numpy(dtype=object), validation["label"].to_numpy()
        logits = model.get_raw_model().logits(texts).numpy().astype(float)
        gap = float(np.abs(model.predict(texts) - expit(logits)).max())
        if not gap <= TOLERANCE:
            raise ValueError(f"gives probabilities that differ by {gap:.7f} from those of its logits")
        return float(np.mean(np.logaddexp(0, logits) - labels * logits))

    return Package(
        TextClassifier(keras.saving.load_model(checkpoint), vocabulary, maxlen),
        inputs=(object, (-1,)),
        outputs=(np.float64, (-1,)),
        example=np.array(EXAMPLE, dtype=object),
        loss=loss,
        checked=f"the {len(validation):,} validation reviews",
    )
