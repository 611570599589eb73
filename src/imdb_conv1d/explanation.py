"""A prediction with its reasons, and the table of the windows that made it."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from imdb_conv1d.schema import EXPLANATION_COLUMNS as COLUMNS


@dataclass(frozen=True)
class Window:
    """A window with an effect on a prediction; of the gated network, an n-gram.

    ``words`` as they stand in the text; ``first`` is the number of its first word, from 1, or 0 if it begins before
    the text; ``filters`` is the number of those whose maximum it alone holds, ``share`` the same of all, None of an
    n-gram; ``probability`` of the predicted class without it; ``gate`` of an n-gram, the mean of the members'.
    """

    words: str
    first: int
    effect: float
    filters: int | None
    share: float | None
    probability: float
    gate: float | None = None


@dataclass(frozen=True)
class Piece:
    """A piece of a text: a word, or what stands between two words.

    ``effect`` is the sum over the windows with the word, of n-grams that of the word's shares; None between words.
    ``is_read`` is False for words before the last ones, which alone the model takes; ``is_known`` is False for words
    outside its vocabulary.
    """

    text: str
    effect: float | None = None
    is_read: bool = True
    is_known: bool = True


@dataclass(frozen=True)
class Explanation:
    """A prediction with its reasons; the windows with the largest effect come first.

    ``label`` is the true one, empty where it is unknown; ``is_own_text`` is False where words stand in place of the
    text, as they could not be found in it. ``intercept`` is what the effects of n-grams add to, to give the logit; None
    of windows, whose effects do not add up.
    """

    predicted: str
    probability: float
    logit: float
    label: str
    windows: tuple[Window, ...]
    pieces: tuple[Piece, ...]
    is_own_text: bool = True
    intercept: float | None = None


def describe(heading: str, one: Explanation, count: int) -> str:
    """Describe a prediction and its first windows or n-grams on lines for the terminal."""
    verdict = f"predicted {one.predicted} with a probability of {one.probability:.3f} (logit {one.logit:.3f})"
    lines = [f"{heading}: {verdict}" + (f", labelled {one.label}" if one.label else "")]
    for window in one.windows[:count]:
        measure = f"{window.filters:,} filters" if window.gate is None else f"gate {window.gate:.2f}"
        lines.append(f"  {window.effect:+.3f}  {measure}  {window.words}")
    # Texts may hold characters that command a terminal.
    return "\n".join("".join(letter if letter.isprintable() else " " for letter in line) for line in lines)


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
            "intercept": one.intercept,
            "words": window.words,
            "first": window.first,
            "effect": window.effect,
            "filters": window.filters,
            "share": window.share,
            "gate": window.gate,
            "probability_without": window.probability,
        }
        for number, one in enumerate(explanations, start=1)
        for window in one.windows[:count]
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table if with_words else table.drop(columns="words")
