"""Count what may drift in texts and their answers, also in those that a model was validated on."""

from typing import TYPE_CHECKING, Any

import numpy as np

from imdb_conv1d import baselines
from imdb_conv1d.labels import Classes
from imdb_conv1d.numbered_texts import NumberedTexts
from tracked.analysis.observations import add_observations, count_classes, count_values
from tracked.experiment import TrainedOn

if TYPE_CHECKING:
    from imdb_conv1d.text_scorer import TextScorer

MAX_REFERENCE = 20_000  # texts of the validation part that are observed
LENGTHS = (0, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048)
PERCENT = (0, 1, 2, 3, 5, 7, 10, 15, 20, 30, 50)
PROBABILITIES = tuple(tenth / 10 for tenth in range(1, 10))


def count_texts(
    read: NumberedTexts, tokens: str, classes: Classes, codes: np.ndarray, probability: np.ndarray
) -> dict[str, Any]:
    """Count texts by their length, share of unknown words, predicted code and probability; both are [n]."""
    seen: dict[str, Any] = {f"{tokens} of a text": count_values(read.split.lengths, LENGTHS)}
    if read.ids is not None:
        seen[f"unknown {tokens} in percent"] = count_values(100 * read.share_unknown(), PERCENT)
    seen["predicted label"] = count_classes(codes, classes.names)
    what = f"probability of {classes.names[1]!r}" if classes.is_binary else "probability of the label"
    return seen | {what: count_values(probability, PROBABILITIES)}


def observe_training(scorer: "TextScorer", trained_on: TrainedOn) -> dict[str, Any]:
    """Observe the validation part of a model's data, or ``MAX_REFERENCE`` of its texts, chosen by their hashes.

    Raises:
        UserError: if the data cannot be read again, or have changed.
    """
    texts = baselines.load_training(trained_on, scorer.classes)
    first = int(texts.positions("validation")[0])  # a part's numbers are in the order of its hashes
    seen: dict[str, Any] = {}
    for numbers, piece in texts.read_texts(["validation"]):
        chosen = [text for text, taken in zip(piece, numbers < first + MAX_REFERENCE, strict=True) if taken]
        if chosen:
            seen = add_observations(seen, scorer.observe_texts(chosen))
    return seen
