"""Package a checkpoint for registration: text in, probability out, checked after loading back."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
from scipy.special import expit

from imdb_conv1d.dataset import Reviews
from imdb_conv1d.text_model import TextClassifier
from tracked.experiment import Package

TOLERANCE = 1e-5  # between a probability and the sigmoid of its logit
EXAMPLE = ("A film to see twice: funny, warm and well played.", "Two hours of my life that I will never get back.")


def package(checkpoint: Path, vocabulary: Path, maxlen: int, reviews: Reviews) -> Package:
    """Package a model that maps text, string [n], to the probability of a positive review, float64 [n].

    The input example is made up, so no text of the data is logged with it.
    """
    validation = reviews.part("validation")

    def loss(model: Any) -> float:
        """Compute the validation loss from logits, as in training."""
        texts, labels = validation["text"].to_numpy(dtype=object), validation["label"].to_numpy()
        logits = model.get_raw_model().logits(texts).numpy().astype(float)
        gap = float(np.abs(model.predict(texts) - expit(logits)).max())
        if not gap <= TOLERANCE:
            raise ValueError(f"gives probabilities up to {gap:.7f} apart from those of its logits")
        return float(np.mean(np.logaddexp(0, logits) - labels * logits))

    return Package(
        TextClassifier(keras.saving.load_model(checkpoint), vocabulary, maxlen),
        inputs=(object, (-1,)),
        outputs=(np.float64, (-1,)),
        example=np.array(EXAMPLE, dtype=object),
        loss=loss,
        checked=f"the {len(validation):,} validation reviews",
    )
