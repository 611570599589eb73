"""Find n-grams of ids in texts: each of one to ``longest`` ids is one number, its key.

With V ids, the n-gram a b c has the key V + V² + (a V + b) V + c. Shorter n-grams have smaller keys, and no two share
one. Whether an n-gram occurs in a text counts, not how often: it stands where it occurs first.
"""

from collections.abc import Iterator

import numpy as np

from imdb_conv1d.ids import EncodedPart

PLACES = 500_000  # in one piece, beside those of its last text: bounds the memory
NONE = -1  # in place of a number: no n-gram, one that is not chosen, or one that the text has before


def compute_offset(size: int, length: int) -> int:
    """Compute the least key of n-grams of ``length`` of ``size`` ids."""
    return sum(size**power for power in range(1, length))


def find_ngrams(part: EncodedPart, rows: np.ndarray, size: int, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the n-grams that begin at each place of some texts.

    Returns:
        the distinct keys, int64 [keys], ascending; and the number of each one's key among them, int64
        [places of all rows, longest], ``NONE`` for an n-gram that leaves its text or that its text has before.
    """
    lengths = part.lengths[rows]
    ends = np.cumsum(lengths)
    places = np.arange(ends[-1]) + np.repeat(part.starts[rows] - ends + lengths, lengths)
    ids, text = part.values[places].astype(np.int64), np.repeat(np.arange(len(rows)), lengths)
    keys, codes = np.full((len(ids), longest), -1, np.int64), ids
    for length in range(1, longest + 1):
        if length > 1:  # the product may overflow where an n-gram leaves its text, and is left out there
            codes = codes[:-1] * size + ids[length - 1 :]
        within = text[: len(codes)] == text[length - 1 :]
        keys[: len(codes), length - 1][within] = codes[within] + compute_offset(size, length)
    distinct, numbers = np.unique(keys, return_inverse=True)
    numbers = numbers.reshape(keys.shape)
    by_text = np.where(keys < 0, -1, text[:, np.newaxis] * len(distinct) + numbers)
    _, first = np.unique(by_text, return_index=True)
    is_first = np.zeros(by_text.size, bool)
    is_first[first] = True
    numbers[~is_first.reshape(keys.shape) | (keys < 0)] = NONE
    if distinct[0] < 0:  # the mark of those that leave their text
        return distinct[1:], np.where(numbers > NONE, numbers - 1, NONE)
    return distinct, numbers


def divide(part: EncodedPart, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Divide row numbers into pieces of about ``PLACES`` ids, in their order."""
    lengths = part.lengths[rows]
    pieces = (np.cumsum(lengths, dtype=np.int64) - lengths) // PLACES
    yield from (piece for piece in np.split(rows, np.flatnonzero(np.diff(pieces)) + 1) if len(piece))


def choose_keys(part: EncodedPart, rows: np.ndarray, size: int, longest: int, least: int, limit: int) -> np.ndarray:
    """Choose the n-grams that occur in ``least`` texts or more, at most ``limit``, the most frequent: int64, ascending.

    Of those that occur equally often, those with smaller keys are chosen: shorter ones, then those of frequent words.
    """
    keys, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for piece in divide(part, rows):
        found, numbers = find_ngrams(part, piece, size, longest)
        texts = np.bincount(numbers[numbers > NONE], minlength=len(found))
        keys, inverse = np.unique(np.concatenate([keys, found]), return_inverse=True)
        counts = np.bincount(inverse, weights=np.concatenate([counts, texts])).astype(np.int64)
    keys, counts = keys[counts >= least], counts[counts >= least]
    return np.sort(keys[np.argsort(-counts, kind="stable")[:limit]])


def number_ngrams(part: EncodedPart, rows: np.ndarray, size: int, longest: int, keys: np.ndarray) -> np.ndarray:
    """Number the chosen n-grams at each place of some texts: int32 [places of all rows, longest], else ``NONE``.

    Args:
        keys: of the chosen n-grams, ascending; a number is its key's place among them.
    """
    found, numbers = find_ngrams(part, rows, size, longest)
    places = np.searchsorted(keys, found)
    is_chosen = np.append(keys, -1)[places] == found
    chosen = np.append(np.where(is_chosen, places, NONE), NONE)  # the last one is that of NONE itself
    return chosen[numbers].astype(np.int32)
