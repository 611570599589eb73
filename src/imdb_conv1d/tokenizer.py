"""Words to ids: one definition in TensorFlow operations, for training and for the registered model.

Words are what ``keras.datasets.imdb`` has: lower case, line breaks and punctuation are blanks, apostrophes stay. Id 0
is padding, 1 starts a review, 2 is a word outside the vocabulary, and from 3 on come the most frequent words of the
training part.
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

RESERVED = ("[padding]", "[start]", "[unknown]")  # no word can be called so: cleaning takes the brackets away
PADDING, START, UNKNOWN = range(3)
CHUNK = 500  # texts in one call: enough to be fast, few enough to need little memory


def tokenize(texts: tf.Tensor) -> tf.RaggedTensor:
    """The words of each text: string [n] to a ragged string [n, (words)]."""
    texts = tf.strings.regex_replace(texts, r"\x00", " ")  # else a text would end there, for lower
    texts = tf.strings.lower(texts, encoding="utf-8")
    texts = tf.strings.regex_replace(texts, r"<br\s*/?>", " ")
    for apostrophe in "’ʼ":  # each by itself: a literal is found faster than a class
        texts = tf.strings.regex_replace(texts, apostrophe, "'")
    return tf.strings.split(tf.strings.regex_replace(texts, r"[^\p{L}\p{M}\p{N}']+", " "))


def split_words(texts: Iterable[str]) -> list[tf.RaggedTensor]:
    """The words of many texts, in pieces of ``CHUNK`` texts, as :func:`tokenize` gives them."""
    chunks = tf.data.Dataset.from_tensor_slices(list(texts)).batch(CHUNK)
    return list(chunks.map(tokenize, num_parallel_calls=count_cores()).with_options(without_autotune()))


def join_words(pieces: Iterable[tf.RaggedTensor], maxlen: int | None = None) -> list[bytes]:
    """Each text's words with blanks between them, in UTF-8; with ``maxlen``, its last words alone."""
    kept = (piece if maxlen is None else piece[:, -maxlen:] for piece in pieces)
    return [one for piece in kept for one in tf.strings.reduce_join(piece, axis=-1, separator=" ").numpy()]


def make_vocabulary(pieces: Sequence[tf.RaggedTensor], max_features: int) -> list[str]:
    """The word of each id: the reserved ones, then the most frequent words of all; ties in alphabetical order."""
    found = tf.concat([piece.flat_values for piece in pieces], axis=0)
    known, _, counts = tf.unique_with_counts(found)
    names = known.numpy()
    order = np.lexsort((names, -counts.numpy()))[: max_features - len(RESERVED)]
    return [*RESERVED, *(name.decode() for name in names[order])]


def encode_parts(
    parts: Sequence[Sequence[tf.RaggedTensor]], folder: Path, max_features: int, maxlen: int
) -> tuple[Path, list[np.ndarray]]:
    """The vocabulary of the first part, as a file in a training's folder, and the ids of all parts.

    Args:
        parts: the words of each part, as :func:`split_words` gives them.

    Returns:
        the vocabulary's path, and int32 [n, maxlen] for each part.
    """
    path = keep_vocabulary(folder, lambda: make_vocabulary(parts[0], max_features))
    table = make_lookup(path)
    return path, [encode(part, table, maxlen) for part in parts]


def write_vocabulary(path: Path, known: Iterable[str]) -> None:
    """One word a line; the line's number, from 0, is the word's id."""
    path.write_bytes(_lines(known))


def _lines(known: Iterable[str]) -> bytes:
    return "".join(f"{word}\n" for word in known).encode()


def keep_vocabulary(folder: Path, make: Callable[[], list[str]]) -> Path:
    """The vocabulary's file in a training's folder: the one that is there, if it is whole, else a new one.

    A network's weights mean nothing with other words, which another version of the code may find when the training
    goes on.
    """
    with suppress(FileNotFoundError):
        return find_vocabulary(folder)
    content = _lines(make())
    path = folder / VOCABULARY.format(sha256=hashlib.sha256(content).hexdigest())
    write_safely(path, lambda to: to.write_bytes(content))
    return path


def find_vocabulary(folder: Path) -> Path:
    """Find the whole vocabulary's file in a training's folder.

    Raises:
        FileNotFoundError: if there is none.
    """
    for path in folder.glob(VOCABULARY.format(sha256="*")):
        if path.name == VOCABULARY.format(sha256=sha256_of(path)):
            return path
    raise FileNotFoundError(f"no whole vocabulary in {folder}")


def make_lookup(path: Path) -> tf.lookup.StaticHashTable:
    """Word to id, from a file with one word a line."""
    rows = tf.lookup.TextFileInitializer(
        str(path), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
    )
    return tf.lookup.StaticHashTable(rows, default_value=UNKNOWN)


def to_ids(texts: tf.RaggedTensor, table: tf.lookup.StaticHashTable, maxlen: int) -> tf.Tensor:
    """Ids of the last ``maxlen`` words of texts, padded in front: ragged string [n, (words)] to int32 [n, maxlen].

    As ``keras.utils.pad_sequences`` does with the start id and the words of a review.
    """
    ids = tf.ragged.map_flat_values(table.lookup, texts)
    start = tf.fill([texts.nrows(), 1], tf.constant(START, tf.int64))
    ids = tf.concat([start, ids], axis=1)[:, -maxlen:]
    padded_behind = ids.to_tensor(PADDING, shape=[None, maxlen])
    # Row by row, the padding moves from the end to the front.
    places = (tf.range(maxlen, dtype=tf.int64) + ids.row_lengths()[:, tf.newaxis]) % maxlen
    return tf.cast(tf.gather(padded_behind, places, batch_dims=1), tf.int32)


def encode(pieces: Iterable[tf.RaggedTensor], table: tf.lookup.StaticHashTable, maxlen: int) -> np.ndarray:
    """Ids of the words of many texts: int32 [n, maxlen]."""
    return np.concatenate([to_ids(piece, table, maxlen).numpy() for piece in pieces])
