"""The reasons of an answer as plain values: pieces of the text, the largest parts, what effects are."""

import json
from types import SimpleNamespace
from typing import Any

from imdb_conv1d.explanation import Explanation, Piece, Window
from imdb_conv1d.labels import Classes
from imdb_conv1d.text_reasons import MAX_PARTS, TextReasons

PIECES = (Piece("Good", 0.5, False, True), Piece(" "), Piece("film", -0.25, True, False))


def tell(*windows: Window, intercept: float | None = None) -> dict[str, Any]:
    """Tell the reasons of a made-up explanation."""
    explanation = Explanation("1", 0.9, 2.2, "", windows, PIECES, True, intercept)
    explainer: Any = SimpleNamespace(explain=lambda text: explanation)
    found = TextReasons(explainer).tell("Good film")
    assert found is not None
    return dict(json.loads(json.dumps(found)))


def test_reasons_of_windows_are_pieces_and_the_largest_windows() -> None:
    windows = [Window(f"word {number}", number, 20.0 - number, number, 0.1, 0.5) for number in range(1, 13)]
    found = tell(*windows)
    assert found["pieces"] == [
        {"text": "Good", "effect": 0.5, "is_read": False, "is_known": True},
        {"text": " ", "effect": None, "is_read": True, "is_known": True},
        {"text": "film", "effect": -0.25, "is_read": True, "is_known": False},
    ]
    assert len(found["parts"]) == MAX_PARTS
    assert found["parts"][:2] == [
        {"name": "word 1", "effect": 19.0, "note": "1 filter"},
        {"name": "word 2", "effect": 18.0, "note": "2 filters"},
    ]
    assert "do not add up" in found["note"]


def test_reasons_of_ngrams_tell_their_gates() -> None:
    found = tell(Window("Good film", 1, 0.5, None, None, 0.5, 0.826), intercept=0.1)
    assert found["parts"] == [{"name": "Good film", "effect": 0.5, "note": "gate 0.83"}]
    assert "add up to the logit" in found["note"]
    assert "not add up" not in found["note"]


def test_model_without_weights_has_no_reasons() -> None:
    assert TextReasons.of(SimpleNamespace(), Classes(("0", "1")), 6, "words") is None


def test_weights_that_do_not_give_the_answer_have_no_reasons() -> None:
    def explain(text: str) -> Explanation:
        raise ValueError("gives the logits [0.0], its weights [1.0]")

    explainer: Any = SimpleNamespace(explain=explain)
    assert TextReasons(explainer).tell("Good film") is None
