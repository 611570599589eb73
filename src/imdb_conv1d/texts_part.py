"""The texts that an evaluation predicts: a test part, or all of a file."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from imdb_conv1d import sources
from imdb_conv1d.columns import Layout
from imdb_conv1d.dataset import TEST_SPLIT, IndexedTexts
from imdb_conv1d.labels import ZERO_ONE, Classes, map_to_model
from imdb_conv1d.schema import READ_AS
from imdb_conv1d.splitting import TEST, assign_parts
from imdb_conv1d.text_index import SPLITS, TextIndex, make_index, read_again, read_spellings, to_hex
from tracked.console.errors import UserError
from tracked.console.lines import say
from tracked.experiment import Request


@dataclass(eq=False)
class TextsPart(IndexedTexts):
    """Texts to predict; the labels' codes are those of the model.

    Args:
        take: whether to predict a row of the source, bool [n].
    """

    take: np.ndarray

    @cached_property
    def rows_digest(self) -> str:
        """SHA-256 of the chosen hashes and labels, independent of their order, and of what labels a model chooses from.

        Losses on the same rows are not those of one task if one model has labels that the other does not know.
        """
        digest, names = self.index.digest(self.take, with_splits=False), sorted(self.classes.names)
        if names == list(ZERO_ONE):  # as in versions that knew no other labels
            return digest
        return hashlib.sha256(json.dumps([digest, names]).encode()).hexdigest()

    @property
    def count(self) -> int:
        """The number of texts to predict."""
        return int(self.take.sum())

    @property
    def total(self) -> int:
        """The number of texts of the source."""
        return len(self.index)

    @cached_property
    def copies(self) -> np.ndarray:
        """How many of the texts to predict before each one have the same text and label, int64 [count]."""
        rows = np.flatnonzero(self.take)
        keys = self.index.ranks[rows].astype(np.int64) * len(self.classes) + self.index.labels[rows]
        order = np.argsort(keys, kind="stable")
        starts = np.concatenate([[True], keys[order][1:] != keys[order][:-1]])[: len(order)]
        places = np.arange(len(order))
        copies = np.empty(len(order), dtype=np.int64)
        copies[order] = places - np.maximum.accumulate(np.where(starts, places, 0))
        return copies

    def pieces(self, take: np.ndarray | None = None) -> Iterator[pd.DataFrame]:
        """Read the texts to predict, in pieces: hash, label (the model's code) and text.

        Args:
            take: other rows to read, bool [n].

        Raises:
            RunFailed: if the source has changed since it was read first.
        """
        chosen = self.take if take is None else take
        for rows, texts in read_again(self.texts, self.index, "scored", "no metrics are logged; evaluate again"):
            kept = rows[chosen[rows]]
            if len(kept):
                yield pd.DataFrame({
                    "hash": pd.Series(to_hex(self.index.hashes[kept]), dtype="str"),
                    "label": self.index.labels[kept],
                    "text": pd.Series([texts[row - rows[0]] for row in kept.tolist()], dtype=object),
                })  # fmt: skip

    def find(self, hashes: frozenset[str]) -> np.ndarray:
        """Find the rows of the source whose text has one of these hashes, bool [n]."""
        return np.array([one in hashes for one in to_hex(self.index.hashes)], dtype=bool)


def load_part(request: Request) -> TextsPart:
    """Find the texts that an evaluation predicts.

    The labels are those of the model; columns, encoding and the share of the test part are those of its training where
    the request does not name others.

    Raises:
        UserError: if the data cannot be read, have labels that the model does not know, or have one label only.
    """
    source = sources.resolve(request.source, Layout.of(request.parameters, request.metadata))
    if Path(source.name).is_absolute() and source.note:
        say(source.note)
    read = read_spellings(source)
    classes = Classes.of_model(request.metadata)
    names = map_to_model(read.counts, classes, f"{source.name}: {source.labels_in}")
    index = make_index(read, classes, names)
    test_split = float((request.metadata.get(READ_AS) or {}).get("test_split", TEST_SPLIT))
    whole = request.whole and Path(source.name).is_absolute()
    return TextsPart(source, index, choose_rows(index, whole, test_split))


def choose_rows(index: TextIndex, whole: bool, test_split: float = TEST_SPLIT) -> np.ndarray:
    """Choose the rows to score: the test part or, if ``whole`` and no row is marked as test, all.

    Returns:
        a mask, bool [n].

    Raises:
        UserError: if there is no test part, or the rows have one label only.
    """
    has_test = bool((index.splits == SPLITS.index("test")).any())
    take = np.ones(len(index), dtype=bool)
    if not whole or has_test:
        if not has_test and not test_split:
            raise UserError(
                "data: there is no test part, as the training had test_split=0; allowed: a path of other data"
            )
        # The test part does not depend on the other split.
        take = assign_parts(index, 0.5, test_split) == TEST
    counts = np.bincount(index.labels[take], minlength=len(index.classes))
    lacking = [name for name, count in zip(index.classes.names, counts, strict=True) if not count]
    if index.classes.is_binary and lacking:
        label = lacking[0] if set(index.classes.names) == set(ZERO_ONE) else repr(lacking[0])
        raise UserError(f"data: no review to score has label {label}; allowed: reviews of both labels")
    if len(index.classes) - len(lacking) < 2:
        raise UserError("data: the reviews to score have fewer than two labels; allowed: reviews of two labels or more")
    return take
