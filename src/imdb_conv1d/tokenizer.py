"""Tokenize texts and map words to ids, in TensorFlow operations for training and the registered model alike.

Words are those of ``keras.datasets.imdb``: lower case, apostrophes kept, line breaks and punctuation as blanks. Id 0 is
padding, 1 starts a review, 2 is a word outside the vocabulary; from 3 on follow the most frequent words of the training
part.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import tensorflow as tf

from imdb_conv1d.schema import VOCABULARY
from tracked.training.files import find_kept, keep_file

RESERVED = ("[padding]", "[start]", "[unknown]")  # never a word: tokenizing removes brackets
PADDING, START, UNKNOWN = range(3)
# Letters beside I and J that a Turkish, Azerbaijani or Lithuanian locale lowers in another way.
LOCALE_DEPENDENT = {"İ": "i\u0307", "Ì": "ì", "Í": "í", "Ĩ": "ĩ", "Į": "į"}


def tokenize(texts: tf.Tensor, tokens: str = "words") -> tf.RaggedTensor:
    """Split texts into words, or into the characters of these words: string [n] to ragged string [n, (tokens)].

    Args:
        tokens: words or characters. A character is a code point; a combining mark is one of its own.
    """
    texts = clean(texts)
    if tokens == "words":
        return tf.strings.split(texts)
    return tf.strings.unicode_split(tf.strings.regex_replace(texts, " ", ""), "UTF-8")


def clean(texts: tf.Tensor) -> tf.Tensor:
    """Lower all letters, and make all but letters, marks, digits and apostrophes blanks: string [n] to string [n].

    The result is the same in every locale.
    """
    texts = tf.strings.regex_replace(texts, r"\x00", " ")  # lower would cut the text there
    texts = tf.strings.lower(texts)  # of ASCII alone: by a Turkish locale, the next line would make ı of I
    for capital, small in LOCALE_DEPENDENT.items():
        texts = tf.strings.regex_replace(texts, capital, small)
    texts = tf.strings.lower(texts, encoding="utf-8")
    texts = tf.strings.regex_replace(texts, r"<br\s*/?>", " ")
    for apostrophe in "’ʼ":  # one by one: a literal is faster than a character class
        texts = tf.strings.regex_replace(texts, apostrophe, "'")
    return tf.strings.regex_replace(texts, r"[^\p{L}\p{M}\p{N}']+", " ")


def write_vocabulary(path: Path, words: Iterable[str]) -> None:
    """Write one word a line; the line number, from 0, is the word's id."""
    path.write_bytes(_encode_lines(words))


def _encode_lines(words: Iterable[str]) -> bytes:
    return "".join(f"{word}\n" for word in words).encode()


def keep_vocabulary(folder: Path, make: Callable[[], list[str]]) -> Path:
    """Return the vocabulary file of a run folder: an existing complete one, else a new one, written atomically.

    Weights belong to their vocabulary, and a newer version of the code could make another one on resume.
    """
    return keep_file(folder, VOCABULARY, lambda: _encode_lines(make()))


def find_vocabulary(folder: Path) -> Path:
    """Find the vocabulary file of a run folder whose content matches the digest in its name.

    Raises:
        FileNotFoundError: if no file does.
    """
    if path := find_kept(folder, VOCABULARY):
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
