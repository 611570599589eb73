"""Which texts are the same to a model, and which of them it has seen: told by their words, not by their bytes.

A line break at the end, capitals or ``<br />`` make other bytes and the same words, and a text with the words of one
that was trained on tests nothing. So texts are told apart by the words that the model gets, after Unicode's
compatibility normalization (NFKC), which joins what only its encoding tells apart. A text with one word changed is
another text.
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

Words: TypeAlias = "Sequence[tf.RaggedTensor]"  # of many texts, in pieces
DIGITS = 32  # of a key: 128 bits of a SHA-256


@dataclass(frozen=True)
class Seen:
    """What a model was trained and chosen on: keys of the last ``maxlen`` words of those texts."""

    keys: frozenset[str]
    maxlen: int


def split_words(texts: Sequence[str]) -> Words:
    """Split texts into the words that tell them apart."""
    from imdb_conv1d import tokenizer  # with TensorFlow, which whoever only asks what was recorded does not need

    return tokenizer.split_words([unicodedata.normalize("NFKC", one) for one in texts])


def digest_words(words: Words, maxlen: int | None = None) -> np.ndarray:
    """Name each text by its words: two texts have the same key if a model gets the same words of them.

    Args:
        words: what :func:`split_words` gives.
        maxlen: how many words a model gets, a text's last ones; None for all of them.

    Returns:
        the keys, strings [n] of ``DIGITS`` hexadecimal digits.
    """
    from imdb_conv1d import tokenizer

    return np.array(
        [hashlib.sha256(one).hexdigest()[:DIGITS] for one in tokenizer.join_words(words, maxlen)], dtype=object
    )


def make_rows(rows: pd.DataFrame, parts: Sequence[pd.DataFrame], words: Sequence[Words], maxlen: int) -> pd.DataFrame:
    """Make the table that a training leaves of its rows: hash, label, split, and words, the key of what the model gets.

    Args:
        rows: hash, label and split of all.
        parts: the rows among them that the model sees, with their text; the others have no key.
        words: of each part, as ``tokenizer.split_words`` gives them.
    """
    table = rows[["hash", "label", "split"]].assign(words="")
    for part, pieces in zip(parts, words, strict=True):
        found, texts = digest_words(pieces, maxlen), part["text"].tolist()
        other = [place for place, one in enumerate(texts) if not unicodedata.is_normalized("NFKC", one)]
        if other:
            found[other] = digest_words(split_words([texts[place] for place in other]), maxlen)
        table.loc[part.index, "words"] = found
    table.attrs["maxlen"] = maxlen
    return table


def read_seen(rows: pd.DataFrame) -> Seen | None:
    """What a model has seen, by the table that its training left; None where that tells no words, as older ones do."""
    if "words" not in rows or "maxlen" not in rows.attrs:
        return None
    return Seen(frozenset(rows.loc[rows["split"].isin(SEEN_PARTS), "words"]), int(rows.attrs["maxlen"]))
