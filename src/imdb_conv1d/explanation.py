"""A prediction with its reasons, and the table of the windows that made it."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from imdb_conv1d.schema import EXPLANATION_COLUMNS as COLUMNS


@dataclass(frozen=True)
class Window:
    """A window with an effect on a prediction.

    ``words`` as they stand in the text; ``first`` is the number of its first word, from 1, or 0 if it begins before
    the text; ``share`` of the filters whose maximum it alone holds; ``probability`` of the predicted class without it.
    """

    words: str
    first: int
    effect: float
    filters: int
    share: float
    probability: float


@dataclass(frozen=True)
class Piece:
    """A piece of a text: a word, or what stands between two words.

    ``effect`` is the sum over the windows with the word; None between words. ``is_read`` is False for words before
    the last ones, which alone the model takes; ``is_known`` is False for words outside its vocabulary.
    """

    text: str
    effect: float | None = None
    is_read: bool = True
    is_known: bool = True


@dataclass(frozen=True)
class Explanation:
    """A prediction with its reasons; the windows with the largest effect come first.

    ``label`` is the true one, empty where it is unknown; ``is_own_text`` is False where words stand in place of the
    text, as they could not be found in it.
    """

    predicted: str
    probability: float
    logit: float
    label: str
    windows: tuple[Window, ...]
    pieces: tuple[Piece, ...]
    is_own_text: bool = True


def tabulate(explanations: Sequence[Explanation], count: int, with_words: bool) -> pd.DataFrame:
    """Make one table of the windows with the largest effect.

    Args:
        count: the number of windows of each text.
        with_words: whether words may be stored.
    """
    rows = [
        {
            "number": number,
            "label": one.label,
            "predicted": one.predicted,
            "probability": one.probability,
            "logit": one.logit,
            "words": window.words,
            "first": window.first,
            "effect": window.effect,
            "filters": window.filters,
            "share": window.share,
            "probability_without": window.probability,
        }
        for number, one in enumerate(explanations, start=1)
        for window in one.windows[:count]
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table if with_words else table.drop(columns="words")
