"""Map a stream of texts to ids in a file that is mapped into memory: no moment holds all texts, or all of their words.

The ids are nearly the texts. Their file lies in the run folder and has no name, so it vanishes with the process.
"""

import mmap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, Self

import numpy as np

from imdb_conv1d import leaks, words
from imdb_conv1d.tokenizer import PADDING, RESERVED, START, UNKNOWN, keep_vocabulary
from tracked.console.errors import RunFailed
from tracked.console.progress import track

CHUNK = 4000  # texts whose words are in memory at once
CHUNK_OF_IDS = 1 << 20
MAX_SHORT = 1 << 16  # ids of so many words fit in 16 bits


@dataclass(frozen=True, eq=False)
class EncodedPart:
    """The ids of a part's texts, each with the start id in front if there is room: ``maxlen`` at most.

    Row n is ``values[starts[n] : starts[n] + lengths[n]]``; ``values``, uint16 or int32, may hold other
    parts' rows too.
    """

    values: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    maxlen: int

    def __len__(self) -> int:
        return len(self.starts)

    @classmethod
    def from_padded(cls, ids: np.ndarray) -> Self:
        """Make a part of ids that are padded in front, int [n, maxlen]."""
        present = ids != PADDING
        lengths = present.sum(axis=1)
        return cls(ids[present].astype(np.int32), np.cumsum(lengths) - lengths, lengths.astype(np.int32), ids.shape[1])

    def to_padded(self) -> np.ndarray:
        """Pad the ids in front, int32 [n, maxlen], as ``keras.utils.pad_sequences`` does."""
        ids = np.full((len(self), self.maxlen), PADDING, np.int32)
        for row, start, length in zip(ids, self.starts, self.lengths, strict=True):
            row[self.maxlen - length :] = self.values[start : start + length]
        return ids


@dataclass(frozen=True, eq=False)
class Encoding:
    """What a training needs of its texts: the vocabulary's file, the parts' ids, and the keys of their rows.

    ``keys`` are those of :mod:`imdb_conv1d.leaks`, as bytes, in the order of the parts' rows one after the other.
    """

    vocabulary: Path
    parts: list[EncodedPart]
    keys: np.ndarray


def encode_parts(
    pieces: Iterable[tuple[np.ndarray, Sequence[str]]],
    positions: Sequence[np.ndarray],
    folder: Path,
    max_features: int,
    maxlen: int,
    tokens: str = "words",
) -> Encoding:
    """Make the vocabulary of the first part, as a file in the run folder, and the ids of all parts.

    Args:
        pieces: row numbers and texts, in any order; each row once.
        positions: the row numbers of each part, the training part first, in the order of the part's rows.
        tokens: words or characters.

    Raises:
        ValueError: if ``pieces`` lack a row of a part.
    """
    every = np.concatenate(positions)
    count = int(every.max()) + 1
    is_training = np.zeros(count, bool)
    is_training[positions[0]] = True
    starts, lengths = np.zeros(count, np.int64), np.zeros(count, np.int32)
    keys = np.zeros(count, f"S{leaks.DIGITS}")
    numbers, frequencies, end = _Numbers(), _Frequencies(), 0
    with (
        explain_full_disk(folder),
        TemporaryFile(dir=folder) as file,
        track("words to ids", len(every), "texts") as progress,
    ):
        for rows, texts in _divide(pieces):
            split = words.split_many(texts, tokens)
            found = np.fromiter(map(numbers.__getitem__, split.distinct), np.int32, len(split.distinct))
            of_training = split.indices[np.repeat(is_training[rows], split.lengths)]
            frequencies.add(found, np.bincount(of_training, minlength=len(found)))
            kept, lengths[rows] = _keep_last(found[split.indices], split.lengths, maxlen)
            starts[rows] = end + np.cumsum(lengths[rows]) - lengths[rows]
            file.write(kept.data)
            end += len(kept)
            keys[rows] = leaks.digest_split(texts, split, maxlen, tokens)
            progress.advance(len(texts))
        if not lengths[every].all():
            raise ValueError(f"{np.sum(lengths[every] == 0):,} rows have no text")
        vocabulary = keep_vocabulary(folder, lambda: choose_words(numbers, frequencies.counts, max_features))
        values = _number_by_vocabulary(file, end, numbers, vocabulary.read_text("utf-8").split("\n")[:-1])
    parts = [EncodedPart(values, starts[part], lengths[part], maxlen) for part in positions]
    return Encoding(vocabulary, parts, keys[every])


@contextmanager
def explain_full_disk(folder: Path, what: str = "the ids of the words") -> Iterator[None]:
    """Explain an error of the disk within the block.

    Raises:
        RunFailed: in its place.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise RunFailed(f"{what} cannot be written to {folder} ({reason}); free or mend the disk") from None


class _Numbers(dict[str, int]):
    """A number for each word, by its first use, from 1 on; 0 is the start of a text."""

    def __missing__(self, word: str) -> int:
        self[word] = number = len(self) + 1
        return number


class _Frequencies:
    """How often each word occurs, by its number."""

    def __init__(self) -> None:
        self.counts = np.zeros(1 << 16, np.int64)

    def add(self, numbers: np.ndarray, counts: np.ndarray) -> None:
        """Add counts of distinct numbers."""
        if len(numbers) and (largest := int(numbers.max())) >= len(self.counts):
            self.counts = np.concatenate([self.counts, np.zeros(largest + 1, np.int64)])  # twice as many at least
        self.counts[numbers] += counts


def choose_words(numbers: Iterable[str], counts: np.ndarray, max_features: int) -> list[str]:
    """List the word of each id: the reserved ones, then the most frequent words; ties in alphabetical order.

    Args:
        numbers: all words, in the order of their numbers from 1 on; ``counts`` has how often each number occurs.
    """
    size = max_features - len(RESERVED)
    counts = counts[1:]
    present = np.flatnonzero(counts)
    if len(present) > size:  # sort no more words than those that may be chosen
        least = np.partition(counts[present], len(present) - size)[len(present) - size]
        present = present[counts[present] >= least]
    is_present = np.zeros(len(counts), bool)
    is_present[present] = True
    ordered = sorted(zip((-counts[present]).tolist(), compress(numbers, is_present), strict=True))
    return [*RESERVED, *(word for _, word in ordered[:size])]


def _divide(pieces: Iterable[tuple[np.ndarray, Sequence[str]]]) -> Iterator[tuple[np.ndarray, Sequence[str]]]:
    for rows, texts in pieces:
        for at in range(0, len(texts), CHUNK):
            yield rows[at : at + CHUNK], texts[at : at + CHUNK]


def _keep_last(numbers: np.ndarray, lengths: np.ndarray, maxlen: int) -> tuple[np.ndarray, np.ndarray]:
    """Keep each text's last ``maxlen`` words, with the start's number in front where there is room."""
    kept = np.minimum(lengths + 1, maxlen)
    ends = np.cumsum(kept)
    # Where each word goes: as far from its text's end as it was.
    to = np.arange(len(numbers)) + np.repeat(ends - np.cumsum(lengths), lengths)
    stays = to >= np.repeat(ends - kept, lengths)
    result = np.zeros(ends[-1], np.int32)
    result[to[stays]] = numbers[stays]
    return result, kept


def _number_by_vocabulary(file: BinaryIO, count: int, numbers: _Numbers, vocabulary: Sequence[str]) -> np.ndarray:
    """Replace the numbers in a file by ids, in place since ids are not larger, and map the file into memory."""
    kind = np.dtype(np.uint16 if len(vocabulary) <= MAX_SHORT else np.int32)
    ids = np.full(len(numbers) + 1, UNKNOWN, kind)
    ids[0] = START
    for number, word in enumerate(vocabulary[len(RESERVED) :], len(RESERVED)):
        if word in numbers:
            ids[numbers[word]] = number
    numbers.clear()
    for at in range(0, count, CHUNK_OF_IDS):
        file.seek(at * np.dtype(np.int32).itemsize)
        chunk = np.frombuffer(file.read(CHUNK_OF_IDS * np.dtype(np.int32).itemsize), np.int32)
        file.seek(at * kind.itemsize)
        file.write(ids[chunk].data)
    file.truncate(count * kind.itemsize)
    file.flush()
    # Copy on write: TensorFlow shares no memory that cannot be written.
    return np.frombuffer(mmap.mmap(file.fileno(), count * kind.itemsize, access=mmap.ACCESS_COPY), kind)
