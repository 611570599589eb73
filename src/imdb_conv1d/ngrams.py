"""Count words and pairs of words, or runs of characters, as numbers of hashed columns: no vocabulary is kept."""

from collections.abc import Sequence
from zlib import crc32

import numpy as np
from scipy.sparse import csr_matrix

from imdb_conv1d import words

BITS = 22  # of a column's number: two frequent pairs rarely share one
COLUMNS = 2**BITS
MAX_LENGTHS = {"words": 2, "characters": 3}  # the longest run of tokens that is counted
FACTOR, LAST_FACTOR = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)  # odd, with bits of no pattern


def count_ngrams(texts: Sequence[str], tokens: str) -> csr_matrix:
    """Count the runs of one to ``MAX_LENGTHS`` tokens of each text: float32 [n, COLUMNS], sparse."""
    split = words.split_many(texts, tokens)  # as the network splits them
    hashes = np.fromiter((crc32(token.encode()) for token in split.distinct), np.uint64, len(split.distinct))
    first = hashes[split.indices]
    row_of = np.repeat(np.arange(len(texts), dtype=np.uint64), split.lengths)
    runs, codes, rows = first, list[np.ndarray](), list[np.ndarray]()
    for length in range(1, MAX_LENGTHS[tokens] + 1):
        if length > 1:  # unsigned products wrap around, as they should
            runs = runs[:-1] * FACTOR + first[length - 1 :]
        within = row_of[: len(runs)] == row_of[length - 1 :]
        codes.append((runs[within] * LAST_FACTOR + np.uint64(length)) * FACTOR >> np.uint64(64 - BITS))
        rows.append(row_of[: len(runs)][within])
        if len(runs) < 2:
            break
    places, counts = np.unique(np.concatenate(rows) << np.uint64(BITS) | np.concatenate(codes), return_counts=True)
    starts = np.searchsorted(places, np.arange(len(texts) + 1, dtype=np.uint64) << np.uint64(BITS))
    columns = (places & np.uint64(COLUMNS - 1)).astype(np.int32)
    return csr_matrix((counts.astype(np.float32), columns, starts.astype(np.int64)), shape=(len(texts), COLUMNS))
