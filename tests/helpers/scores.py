"""Scores of labels and probabilities, as those of a table of predictions."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from imdb_conv1d.metrics import compute_log_losses, score
from imdb_conv1d.outcomes import Outcomes


def compute_scores(labels: ArrayLike, probabilities: ArrayLike, texts: ArrayLike | None = None) -> dict[str, float]:
    """Compute the scores of a binary classifier, at a threshold of one half.

    Args:
        labels: 0 or 1, [n]; both must occur.
        probabilities: probability of 1, [n].
        texts: keys of the rows' texts, [n]: the intervals count copies of a text as one. None where all texts differ.

    Returns:
        the scores of :func:`imdb_conv1d.metrics.score`.

    Raises:
        ValueError: if only one label occurs.
    """
    y, p = np.asarray(labels, dtype=int), np.asarray(probabilities, dtype=float)
    keys = np.arange(len(y)) if texts is None else np.asarray(texts)
    columns = {"label": y, "probability": p, "loss": compute_log_losses(y, p), "key": keys, "id": keys}
    return score(Outcomes.of(pd.DataFrame(columns)))
