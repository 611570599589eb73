"""Find test texts that a model has seen, by their words rather than their bytes.

A final line break, capitals or ``<br />`` change the bytes but not the words, and a text with the words of a training
text tests nothing. So a text's key is a hash of the words that the model gets, after Unicode's compatibility
normalization (NFKC), which unites different encodings of the same characters. One changed word makes another key.
"""

import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pandas as pd

from tracked.experiment import SEEN_PARTS

if TYPE_CHECKING:
    import tensorflow as tf

Words: TypeAlias = "Sequence[tf.RaggedTensor]"  # the words of many texts, in pieces
DIGITS = 32  # hexadecimal digits of a key: 128 bits of a SHA-256


@dataclass(frozen=True)
class Seen:
    """The texts that a model was trained and chosen on, as keys of their last ``maxlen`` words."""

    keys: frozenset[str]
    maxlen: int


def split_words(texts: Sequence[str]) -> Words:
    """Split normalized texts into words."""
    from imdb_conv1d import tokenizer  # imports TensorFlow, which reading keys does not need

    return tokenizer.split_words([unicodedata.normalize("NFKC", text) for text in texts])


def digest_words(words: Words, maxlen: int | None = None) -> np.ndarray:
    """Compute each text's key: two texts have the same key if a model gets the same words of both.

    Args:
        words: from :func:`split_words`.
        maxlen: the number of last words that the model gets; None for all words.

    Returns:
        keys, strings [n] of ``DIGITS`` hexadecimal digits.
    """
    from imdb_conv1d import tokenizer

    return np.array(
        [hashlib.sha256(text).hexdigest()[:DIGITS] for text in tokenizer.join_words(words, maxlen)], dtype=object
    )


def make_rows(rows: pd.DataFrame, parts: Sequence[pd.DataFrame], words: Sequence[Words], maxlen: int) -> pd.DataFrame:
    """Make the table of rows to log with a training: hash, label, split and words, the key of the model's words.

    Args:
        rows: hash, label and split of all rows.
        parts: the seen rows with their text; other rows get no key.
        words: the words of each part, from ``tokenizer.split_words``.
    """
    table = rows[["hash", "label", "split"]].assign(words="")
    for part, pieces in zip(parts, words, strict=True):
        keys, texts = digest_words(pieces, maxlen), part["text"].tolist()
        unnormalized = [row for row, text in enumerate(texts) if not unicodedata.is_normalized("NFKC", text)]
        if unnormalized:
            keys[unnormalized] = digest_words(split_words([texts[row] for row in unnormalized]), maxlen)
        table.loc[part.index, "words"] = keys
    table.attrs["maxlen"] = maxlen
    return table


def read_seen(rows: pd.DataFrame) -> Seen | None:
    """Read the seen texts from the table that a training logged; None if the table has no keys (earlier versions)."""
    if "words" not in rows or "maxlen" not in rows.attrs:
        return None
    return Seen(frozenset(rows.loc[rows["split"].isin(SEEN_PARTS), "words"]), int(rows.attrs["maxlen"]))
