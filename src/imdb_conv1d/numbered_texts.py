"""Number the words of texts by a loaded model's vocabulary, faster than the model does itself and equal."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import tensorflow as tf

from imdb_conv1d import words
from imdb_conv1d.tokenizer import PADDING, START, UNKNOWN
from imdb_conv1d.words import Split


@dataclass(frozen=True, eq=False)
class NumberedTexts:
    """Some texts, their words, and the id of each distinct word.

    ``ids`` is None for a model whose vocabulary cannot be asked.
    """

    texts: list[str]
    split: Split
    ids: np.ndarray | None

    @classmethod
    def of(cls, texts: list[str], tokens: str, table: Any) -> Self:
        """Split texts, and look their words up.

        Args:
            tokens: words or characters.
            table: the vocabulary of a loaded model; None if it has none.
        """
        split = words.split_many(texts, tokens)
        if not hasattr(table, "resource_handle"):
            return cls(texts, split, None)
        keys, unknown = tf.constant(split.distinct or [""], tf.string), tf.constant(UNKNOWN, tf.int64)
        found = tf.raw_ops.LookupTableFindV2(table_handle=table.resource_handle, keys=keys, default_value=unknown)
        return cls(texts, split, np.asarray(found)[: len(split.distinct)])

    def share_unknown(self) -> np.ndarray:
        """Compute the share of unknown words in each text, 0 without words: [n]."""
        assert self.ids is not None
        unknown = np.concatenate([[0], np.cumsum(self.ids[self.split.indices] == UNKNOWN)])
        lengths, ends = self.split.lengths, np.cumsum(self.split.lengths)
        return np.asarray((unknown[ends] - unknown[ends - lengths]) / np.maximum(lengths, 1))

    def pad(self, maxlen: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Pad the ids of some texts' last words in front, int32 [n, maxlen], as ``tokenizer.to_ids`` does."""
        assert self.ids is not None
        lengths = self.split.lengths[start:stop]
        first = int(self.split.lengths[:start].sum())
        numbers = self.ids[self.split.indices[first : first + int(lengths.sum())]]
        from_end = np.repeat(np.cumsum(lengths), lengths) - 1 - np.arange(len(numbers))
        kept = from_end < maxlen
        padded = np.full((len(lengths), maxlen), PADDING, np.int32)
        padded[np.repeat(np.arange(len(lengths)), lengths)[kept], maxlen - 1 - from_end[kept]] = numbers[kept]
        has_start = np.flatnonzero(lengths < maxlen)
        padded[has_start, maxlen - 1 - lengths[has_start]] = START
        return padded
