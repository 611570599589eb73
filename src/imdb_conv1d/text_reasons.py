"""Tell the reasons of one answer as plain values, for a client of the endpoint."""

from typing import Any

from imdb_conv1d.explanation import Window
from imdb_conv1d.labels import Classes
from imdb_conv1d.text_explainer import Explainer
from tracked.console.lines import format_count

MAX_PARTS = 10
OF_WINDOWS = (
    "An effect is how much the logit of the predicted label falls without a window of words, below zero if the window "
    "was against it; a word's is the sum over the windows with it, and effects do not add up to the logit."
)
OF_NGRAMS = (
    "An effect is what an n-gram adds to the logit of the predicted label, below zero if it was against it; a word's "
    "is its share of the n-grams with it, and with an intercept all effects add up to the logit."
)


class TextReasons:
    """The reasons of a loaded model's answers."""

    def __init__(self, explainer: Explainer) -> None:
        self._explainer = explainer

    @classmethod
    def of(cls, model: Any, classes: Classes, maxlen: int, tokens: str) -> "TextReasons | None":
        """Read the weights of a loaded model; None if they are of another network, or ``maxlen`` is 0, unknown."""
        try:
            return cls(Explainer(model, classes, maxlen, tokens))
        except ValueError:
            return None

    def tell(self, text: str) -> dict[str, Any] | None:
        """Tell the reasons of a text's answer; None if the weights do not give the model's own answer."""
        try:
            found = self._explainer.explain(text)
        except ValueError:
            return None
        pieces = [
            {"text": piece.text, "effect": piece.effect, "is_read": piece.is_read, "is_known": piece.is_known}
            for piece in found.pieces
        ]
        parts = [
            {"name": window.words, "effect": window.effect, "note": _note(window)}
            for window in found.windows[:MAX_PARTS]
        ]
        return {"pieces": pieces, "parts": parts, "note": OF_WINDOWS if found.intercept is None else OF_NGRAMS}


def _note(window: Window) -> str:
    return f"gate {window.gate:.2f}" if window.filters is None else format_count(window.filters, "filter")
