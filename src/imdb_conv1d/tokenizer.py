"""Tokenize texts and map words to ids, in TensorFlow operations for training and the registered model alike.

Words are those of ``keras.datasets.imdb``: lower case, apostrophes kept, line breaks and punctuation as blanks. Id 0 is
padding, 1 starts a review, 2 is a word outside the vocabulary; from 3 on follow the most frequent words of the training
part.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import tensorflow as tf

from imdb_conv1d.schema import VOCABULARY
from tracked.training.files import sha256_of, write_safely
from tracked.training.reproducibility import count_cores, without_autotune

RESERVED = ("[padding]", "[start]", "[unknown]")  # never a word: tokenizing removes brackets
PADDING, START, UNKNOWN = range(3)
CHUNK = 500  # texts in one call: fast, with little memory


def tokenize(texts: tf.Tensor) -> tf.RaggedTensor:
    """Split texts into words: string [n] to ragged string [n, (words)]."""
    texts = tf.strings.regex_replace(texts, r"\x00", " ")  # lower would cut the text there
    texts = tf.strings.lower(texts, encoding="utf-8")
    texts = tf.strings.regex_replace(texts, r"<br\s*/?>", " ")
    for apostrophe in "’ʼ":  # one by one: a literal is faster than a character class
        texts = tf.strings.regex_replace(texts, apostrophe, "'")
    return tf.strings.split(tf.strings.regex_replace(texts, r"[^\p{L}\p{M}\p{N}']+", " "))


def split_words(texts: Iterable[str]) -> list[tf.RaggedTensor]:
    """Split many texts into words with :func:`tokenize`, in pieces of ``CHUNK`` texts."""
    chunks = tf.data.Dataset.from_tensor_slices(list(texts)).batch(CHUNK)
    return list(chunks.map(tokenize, num_parallel_calls=count_cores()).with_options(without_autotune()))


def join_words(pieces: Iterable[tf.RaggedTensor], maxlen: int | None = None) -> list[bytes]:
    """Join each text's words (with ``maxlen``, its last words) with blanks, in UTF-8."""
    kept = (piece if maxlen is None else piece[:, -maxlen:] for piece in pieces)
    return [text for piece in kept for text in tf.strings.reduce_join(piece, axis=-1, separator=" ").numpy()]


def make_vocabulary(pieces: Sequence[tf.RaggedTensor], max_features: int) -> list[str]:
    """List the word of each id: the reserved ones, then the most frequent words; ties in alphabetical order."""
    words, _, counts = tf.unique_with_counts(tf.concat([piece.flat_values for piece in pieces], axis=0))
    names = words.numpy()
    order = np.lexsort((names, -counts.numpy()))[: max_features - len(RESERVED)]
    return [*RESERVED, *(name.decode() for name in names[order])]


def encode_parts(
    parts: Sequence[Sequence[tf.RaggedTensor]], folder: Path, max_features: int, maxlen: int
) -> tuple[Path, list[np.ndarray]]:
    """Make the vocabulary of the first part, as a file in the run folder, and the ids of all parts.

    Args:
        parts: the words of each part, from :func:`split_words`.

    Returns:
        the vocabulary's path, and int32 [n, maxlen] for each part.
    """
    path = keep_vocabulary(folder, lambda: make_vocabulary(parts[0], max_features))
    table = make_lookup(path)
    return path, [encode(part, table, maxlen) for part in parts]


def write_vocabulary(path: Path, words: Iterable[str]) -> None:
    """Write one word a line; the line number, from 0, is the word's id."""
    path.write_bytes(_encode_lines(words))


def _encode_lines(words: Iterable[str]) -> bytes:
    return "".join(f"{word}\n" for word in words).encode()


def keep_vocabulary(folder: Path, make: Callable[[], list[str]]) -> Path:
    """Return the vocabulary file of a run folder: an existing complete one, else a new one, written atomically.

    Weights belong to their vocabulary, and a newer version of the code could make another one on resume.
    """
    with suppress(FileNotFoundError):
        return find_vocabulary(folder)
    content = _encode_lines(make())
    path = folder / VOCABULARY.format(sha256=hashlib.sha256(content).hexdigest())
    write_safely(path, lambda to: to.write_bytes(content))
    return path


def find_vocabulary(folder: Path) -> Path:
    """Find the vocabulary file of a run folder whose content matches the digest in its name.

    Raises:
        FileNotFoundError: if no file does.
    """
    for path in folder.glob(VOCABULARY.format(sha256="*")):
        if path.name == VOCABULARY.format(sha256=sha256_of(path)):
            return path
    raise FileNotFoundError(f"no complete vocabulary in {folder}")


def make_lookup(path: Path) -> tf.lookup.StaticHashTable:
    """Make the table from words to ids of a vocabulary file."""
    rows = tf.lookup.TextFileInitializer(
        str(path), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
    )
    return tf.lookup.StaticHashTable(rows, default_value=UNKNOWN)


def to_ids(texts: tf.RaggedTensor, table: tf.lookup.StaticHashTable, maxlen: int) -> tf.Tensor:
    """Map texts to the ids of their last words, padded in front: ragged string [n, (words)] to int32 [n, maxlen].

    Equals ``keras.utils.pad_sequences`` of the start id and the ids of a review's words.
    """
    ids = tf.ragged.map_flat_values(table.lookup, texts)
    start = tf.fill([texts.nrows(), 1], tf.constant(START, tf.int64))
    ids = tf.concat([start, ids], axis=1)[:, -maxlen:]
    padded_behind = ids.to_tensor(PADDING, shape=[None, maxlen])
    # Rotate each row so that its padding moves from the end to the front.
    columns = (tf.range(maxlen, dtype=tf.int64) + ids.row_lengths()[:, tf.newaxis]) % maxlen
    return tf.cast(tf.gather(padded_behind, columns, batch_dims=1), tf.int32)


def encode(pieces: Iterable[tf.RaggedTensor], table: tf.lookup.StaticHashTable, maxlen: int) -> np.ndarray:
    """Map many texts to ids with :func:`to_ids`: int32 [n, maxlen]."""
    return np.concatenate([to_ids(piece, table, maxlen).numpy() for piece in pieces])
