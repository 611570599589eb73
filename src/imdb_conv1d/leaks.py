"""Find test texts that a model has seen, by their words rather than their bytes.

A final line break, capitals or ``<br />`` change the bytes but not the words, and a text with the words of a training
text tests nothing. So a text's key is a hash of the words that the model gets, after Unicode's compatibility
normalization (NFKC), which unites different encodings of the same characters. One changed word makes another key.
"""

import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from imdb_conv1d import words
from tracked.experiment import SEEN_PARTS

DIGITS = 32  # hexadecimal digits of a key: 128 bits of a SHA-256


@dataclass(frozen=True)
class Seen:
    """The texts that a model was trained and chosen on, as keys of their last ``maxlen`` words."""

    keys: frozenset[str]
    maxlen: int


def split_words(texts: Sequence[str], tokens: str = "words") -> list[list[str]]:
    """Split normalized texts into words, or into characters."""
    return [words.split_words(unicodedata.normalize("NFKC", text), tokens) for text in texts]


def digest_words(texts: Sequence[Sequence[str]], maxlen: int | None = None) -> np.ndarray:
    """Compute each text's key: two texts have the same key if a model gets the same words of both.

    Args:
        texts: their words, from :func:`split_words`.
        maxlen: the number of last words that the model gets; None for all words.

    Returns:
        keys, strings [n] of ``DIGITS`` hexadecimal digits.
    """
    last = slice(None if maxlen is None else -maxlen, None)
    return np.array([_digest(" ".join(text[last])) for text in texts], dtype=object)


def digest_split(texts: Sequence[str], split: words.Split, maxlen: int, tokens: str) -> list[str]:
    """Compute each text's key as :func:`digest_words` does, from words that have not been normalized.

    Only texts that normalizing changes are split again.
    """
    keys = []
    for text, joined, length in zip(texts, split.joined, split.lengths.tolist(), strict=True):
        if not unicodedata.is_normalized("NFKC", text):
            keys += digest_words(split_words([text], tokens), maxlen).tolist()
        else:
            before = len(joined.rsplit(" ", maxlen)[0]) + 1 if length > maxlen else 0
            keys.append(_digest(joined[before:]))
    return keys


def _digest(joined: str) -> str:
    return hashlib.sha256(joined.encode()).hexdigest()[:DIGITS]


def make_rows(rows: pd.DataFrame, positions: np.ndarray, keys: np.ndarray, maxlen: int) -> pd.DataFrame:
    """Make the table of rows to log with a training: hash, label, split and words, the key of the model's words.

    Args:
        rows: hash, label and split of all rows.
        positions: of the seen rows in ``rows``, whose ``keys`` follow in the same order; other rows get no key.
    """
    words_column = np.zeros(len(rows), f"S{DIGITS}")
    words_column[positions] = keys
    table = rows[["hash", "label", "split"]].assign(words=pd.array(words_column.astype(str), dtype="str"))
    table.attrs["maxlen"] = maxlen
    return table


def read_seen(rows: pd.DataFrame) -> Seen | None:
    """Read the seen texts from the table that a training logged; None if the table has no keys (earlier versions)."""
    if "words" not in rows or "maxlen" not in rows.attrs:
        return None
    return Seen(frozenset(rows.loc[rows["split"].isin(SEEN_PARTS), "words"]), int(rows.attrs["maxlen"]))
