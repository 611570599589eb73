"""A text as a stored model reads it: its words, their ids and their places."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from imdb_conv1d import tokenizer
from imdb_conv1d.explanation import Piece
from imdb_conv1d.spans import hide_line_breaks


@dataclass(frozen=True, eq=False)
class Reading:
    """A text as the model reads it.

    ``ids`` are padded and cut, int [maxlen]; ``all_ids`` are those of the start and of all words; ``spans`` are the
    words' places in the text, None if they could not be found.
    """

    text: str
    words: list[str]
    ids: np.ndarray
    all_ids: np.ndarray
    spans: list[tuple[int, int]] | None

    @cached_property
    def _offset(self) -> int:
        """The number of a position's word less the position; word 0 is the start, below it is padding."""
        return len(self.all_ids) - len(self.ids)

    def name_window(self, start: int, size: int) -> tuple[str, int]:
        """Name the words of the window at a position, and the number of its first word."""
        numbers = [start + place + self._offset for place in range(size)]
        own = [number for number in numbers if number > 0]
        marks = [tokenizer.RESERVED[tokenizer.PADDING]] if numbers[0] < 0 else []
        marks += [tokenizer.RESERVED[tokenizer.START]] if 0 in numbers else []
        if not own:
            return " ".join(marks), 0
        if self.spans is None:
            shown = " ".join(self.words[own[0] - 1 : own[-1]])
        else:
            shown = hide_line_breaks(self.text)[self.spans[own[0] - 1][0] : self.spans[own[-1] - 1][1]]
        return " ".join([*marks, *shown.split()]), max(numbers[0], 0)

    def to_pieces(self, sums: np.ndarray) -> tuple[Piece, ...]:
        """Cut the text into words, each with the sum at its position, and what stands between them."""
        spans = self.spans
        text = self.text
        if spans is None:
            text, spans, position = " ".join(self.words), [], 0
            for word in self.words:
                spans.append((position, position + len(word)))
                position += len(word) + 1
        pieces, end = list[Piece](), 0
        for number, (begin, stop) in enumerate(spans, start=1):
            position = number - self._offset
            if begin > end:
                pieces.append(Piece(text[end:begin], is_read=position > 0))
            is_read, is_known = position >= 0, bool(self.all_ids[number] != tokenizer.UNKNOWN)
            pieces.append(Piece(text[begin:stop], float(sums[position]) if is_read else 0.0, is_read, is_known))
            end = stop
        if end < len(text):
            pieces.append(Piece(text[end:]))
        return tuple(pieces)
