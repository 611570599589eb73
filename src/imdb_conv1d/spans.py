"""Find a text's words in the text itself, so that a page shows it as it was written."""

import re
import unicodedata
from collections.abc import Sequence

LINE_BREAK = re.compile(r"<br[\t\n\f\r \0]*/?>", re.IGNORECASE)  # which the tokenizer takes for a blank
APOSTROPHES = "'’ʼ"  # which it takes for one
FINAL_SIGMA = str.maketrans("ς", "σ")  # a capital sigma becomes the one or the other by its place in the word


def hide_line_breaks(text: str) -> str:
    """Replace each HTML line break with as many blanks."""
    return LINE_BREAK.sub(lambda match: " " * len(match[0]), text)


def find_spans(text: str, words: Sequence[str]) -> list[tuple[int, int]] | None:
    """Find where each word begins and ends in its text.

    Args:
        words: all that the model's tokenizer makes of the text, in order.

    Returns:
        begin and end of each word; None if the text does not give exactly these words, such as for a character that
        Python's Unicode tables do not know.
    """
    hidden = hide_line_breaks(text)
    spans, position = list[tuple[int, int]](), 0
    for word in words:
        position = _skip(hidden, position)
        end = _match(hidden, position, _fold(word))
        if end is None:
            return None
        spans.append((position, end))
        position = end
    return spans if _skip(hidden, position) == len(hidden) else None


def _skip(text: str, position: int) -> int:
    """Return the position of the next character of a word."""
    while position < len(text) and not _is_of_word(text[position]):
        position += 1
    return position


def _is_of_word(character: str) -> bool:
    return character in APOSTROPHES or unicodedata.category(character)[0] in "LMN"


def _match(text: str, position: int, word: str) -> int | None:
    """Return the end of a folded word that begins at this position; None if another one does."""
    rest = word
    while rest and position < len(text):
        folded = _fold(text[position])  # may be two characters
        if not rest.startswith(folded):
            return None
        rest, position = rest[len(folded) :], position + 1
    return None if rest else position


def _fold(text: str) -> str:
    """Fold what the tokenizer may change: case and apostrophes."""
    for apostrophe in APOSTROPHES:
        text = text.replace(apostrophe, "'")
    return "".join(character.lower() for character in text).translate(FINAL_SIGMA)
