"""An index of labelled texts without the texts: hash, label and given split of each row, about 40 bytes.

The rows are in the order of their source, which :func:`read_again` reads again for the texts.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from imdb_conv1d.labels import MAX_CLASSES, ZERO_ONE, Classes, quote_labels
from imdb_conv1d.sources import Source
from tracked.console.errors import RunFailed, UserError
from tracked.console.progress import track

SPLITS = ("", "test", "train", "validation")  # of a source, in sorted order; a row's split is a position here
BYTES = 32  # of a SHA-256
PIECE = 10_000  # rows whose digests are spelled at once


class Spellings(NamedTuple):
    """Hashes, labels and splits of all rows of a source, with labels as positions in ``counts``."""

    hashes: np.ndarray
    labels: np.ndarray
    splits: np.ndarray
    counts: dict[str, int]


@dataclass(frozen=True, eq=False)
class TextIndex:
    """The rows of a source.

    Args:
        hashes: SHA-256 of the texts, S32 [n]. NumPy cuts zero bytes from the end of a single value: see :func:`to_hex`.
        labels: codes in ``classes``, int32 [n].
        splits: the source's own, positions in ``SPLITS``, int8 [n].
        names: the label of each spelling.
    """

    hashes: np.ndarray
    labels: np.ndarray
    splits: np.ndarray
    classes: Classes
    names: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.hashes)

    @cached_property
    def ranks(self) -> np.ndarray:
        """The rank of each row's hash among the different hashes, int32 [n]: equal texts have equal ranks."""
        order = np.argsort(self.hashes, kind="stable")
        ordered = self.hashes[order]
        ranks = np.empty(len(order), dtype=np.int32)
        ranks[order] = np.cumsum(np.concatenate([[False], ordered[1:] != ordered[:-1]])[: len(order)])
        return ranks

    def digest(self, rows: np.ndarray | None = None, *, with_splits: bool = True) -> str:
        """Compute a SHA-256 over hash, label and given split of the rows, independent of their order.

        Args:
            rows: positions or a mask; None for all rows.
        """
        chosen = np.arange(len(self)) if rows is None else np.arange(len(self))[rows]
        splits = self.splits if with_splits else np.zeros_like(self.splits)
        names = self.classes.names
        ranks = np.argsort(sorted(range(len(names)), key=names.__getitem__)).astype(np.int32)
        order = chosen[np.lexsort((splits[chosen], ranks[self.labels[chosen]], self.ranks[chosen]))]
        digest = hashlib.sha256()
        # 0 and 1 are spelled as by versions that knew no others.
        plain = set(names) == set(ZERO_ONE)
        ends = [[f"{name}{split}" if plain else json.dumps([name, split]) for split in SPLITS] for name in names]
        for start in range(0, len(order), PIECE):
            piece = order[start : start + PIECE]
            parts = zip(to_hex(self.hashes[piece]), self.labels[piece].tolist(), splits[piece].tolist(), strict=True)
            lines = "\n".join([digits + ends[label][split] for digits, label, split in parts])
            digest.update(f"{chr(10) if start else ''}{lines}".encode())
        return digest.hexdigest()


def to_hex(hashes: np.ndarray) -> list[str]:
    """Spell hashes, S32 [n], in hexadecimal digits."""
    digits, size = np.ascontiguousarray(hashes).tobytes().hex(), 2 * BYTES
    return [digits[start : start + size] for start in range(0, len(digits), size)]


def hash_texts(texts: list[str]) -> np.ndarray:
    """Compute the SHA-256 of texts in UTF-8, S32 [n]."""
    return np.frombuffer(b"".join([hashlib.sha256(text.encode()).digest() for text in texts]), dtype=f"S{BYTES}")


def read_spellings(source: Source) -> Spellings:
    """Read hash, label and given split of all rows of a source, in its order, without keeping its texts.

    Raises:
        UserError: if the source cannot be read, or has more labels than a classification can have.
    """
    codes: dict[str, int] = {}
    pieces = []
    with track("reading", None, "texts") as progress:
        for table in source.tables():
            pieces.append((hash_texts(table["text"].tolist()), _encode(table["label"], codes), _encode_splits(table)))
            if len(codes) > 2 * MAX_CLASSES:
                raise UserError(
                    f"data: {source.name}: {source.labels_in} has more than {len(codes) - 1:,} labels, as a column of "
                    f"ids has; allowed: at most {MAX_CLASSES:,} labels"
                )
            progress.advance(len(table))
    hashes, labels, splits = (np.concatenate(arrays) for arrays in zip(*pieces, strict=True))
    counts = np.bincount(labels, minlength=len(codes)).tolist()
    return Spellings(hashes, labels, splits, dict(zip(codes, counts, strict=True)))


def make_index(read: Spellings, classes: Classes, names: Mapping[str, str]) -> TextIndex:
    """Make the index of rows whose spellings have the labels ``names``."""
    codes = np.array([classes.codes[names[spelling]] for spelling in read.counts], dtype=np.int32)
    return TextIndex(read.hashes, codes[read.labels], read.splits, classes, names)


def _encode(labels: pd.Series, codes: dict[str, int]) -> np.ndarray:
    """Encode spellings by their position in ``codes``, which gets new ones."""
    positions, spellings = pd.factorize(labels.to_numpy(dtype=object))
    return np.array([codes.setdefault(spelling, len(codes)) for spelling in spellings], dtype=np.int32)[positions]


def _encode_splits(table: pd.DataFrame) -> np.ndarray:
    return table["split"].map({split: code for code, split in enumerate(SPLITS)}).to_numpy(dtype=np.int8)


def read_again(source: Source, index: TextIndex, doing: str, advice: str) -> Iterator[tuple[np.ndarray, list[str]]]:
    """Read the rows of a source again, in pieces: their positions, and their texts.

    Args:
        doing, advice: what happens to the texts and what to do if they have changed, for the message.

    Raises:
        RunFailed: if the source has changed since the index was read.
    """

    def fail(change: str) -> RunFailed:
        return RunFailed(f"data: {source.name} changed while it was {doing} ({change}); {advice}")

    start = 0
    try:
        for table in source.tables():
            texts, stop = table["text"].tolist(), start + len(table)
            if stop > len(index):
                raise fail(f"more than {len(index):,} rows")
            labels = [index.classes.codes.get(index.names.get(label, ""), -1) for label in table["label"]]
            differs = (hash_texts(texts) != index.hashes[start:stop]) | (labels != index.labels[start:stop])
            if differs.any():
                place = int(differs.argmax())
                label = table["label"].iloc[place]
                what = " differs" if label in index.names else f": label {quote_labels([label])} is new"
                raise fail(f"row {start + place + 1}{what}")
            yield np.arange(start, stop), texts
            start = stop
    except UserError as error:
        raise fail(str(error)) from None  # the same rows were readable before
    if start < len(index):
        raise fail(f"rows: {len(index):,} -> {start:,}")
