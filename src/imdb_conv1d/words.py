"""Split texts into words in Python, faster than TensorFlow's and equal: see ``tokenizer.tokenize``.

What becomes of a character is asked of TensorFlow, and kept for later processes: its tables of letters and of their
lower case are of another version than Python's. So the words are those of the registered model, whatever the versions.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imdb_conv1d import derived
from imdb_conv1d.schema import NAME
from tracked.training.array_file import Arrays
from tracked.training.derived_cache import DerivedCache

LINE_BREAK = r"<[bB][rR][\t\n\f\r \0]*/?>"  # \s of TensorFlow's expressions, and NUL, which counts as a blank
_BREAKS, _BYTE_BREAKS = re.compile(LINE_BREAK), re.compile(LINE_BREAK.encode())
SIGMA = "Σ"  # the one letter whose lower case depends on the letters around it
CODE_POINTS, SURROGATES = 0x110000, slice(0xD800, 0xE000)


def split_words(text: str, tokens: str = "words") -> list[str]:
    """Split a text into words, or into the characters of these words.

    Args:
        tokens: words or characters. A character is a code point; a combining mark is one of its own.
    """
    cleaned = clean(text)
    return cleaned.split() if tokens == "words" else list(cleaned.replace(" ", ""))


@dataclass(frozen=True, eq=False)
class Split:
    """Many texts' words: ``distinct`` ones, the position in it of each word of all texts, and each text's length.

    ``joined`` are the texts' words with a blank between them.
    """

    distinct: list[str]
    indices: np.ndarray
    lengths: np.ndarray
    joined: list[str]


def split_many(texts: Sequence[str], tokens: str = "words") -> Split:
    """Split many texts at once, which is faster than one by one."""
    cleaned = [text.strip() for text in _clean_many(texts)]
    if tokens == "characters":
        cleaned = [" ".join(text.replace(" ", "")) for text in cleaned]
    split = pc.ascii_split_whitespace(pa.array(cleaned, pa.large_string()))
    lengths = pc.list_value_length(split).to_numpy().astype(np.int64)
    every = split.flatten()
    if "" in cleaned:  # Arrow splits a text without words into one empty word
        lengths[[not text for text in cleaned]] = 0
        every = every.filter(pc.not_equal(every, ""))
    coded = every.dictionary_encode()
    joined = pc.binary_join(split, pa.scalar(" ", pa.large_string()))
    return Split(coded.dictionary.to_pylist(), coded.indices.to_numpy(), lengths, joined.to_pylist())


def clean(text: str) -> str:
    """Lower a text's letters, and make all but letters, marks, digits and apostrophes blanks."""
    table = _read_table()
    if text.isascii():
        ascii_text = text.encode()
        if b"<" in ascii_text:
            ascii_text = _BYTE_BREAKS.sub(b" ", ascii_text)
        return ascii_text.translate(table.of_bytes).decode()
    if SIGMA in text:
        return _clean_in_tensorflow([text])[0]
    if "<" in text:
        text = _BREAKS.sub(" ", text)
    for character, several in table.longer.items():
        text = text.replace(character, several)
    # A surrogate alone is no character, and becomes a blank like bytes that are not UTF-8.
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.dtype("<u4"))
    return str(table.of_codes[codes].tobytes(), "utf-32-le")


@dataclass(frozen=True)
class _Table:
    """What each character becomes: by code point, by byte of an ASCII text, and those that become several."""

    of_codes: np.ndarray
    of_bytes: bytes
    longer: dict[str, str]


@cache
def _read_table() -> _Table:
    """Read what becomes of each character, which is no user's data: whatever is forbidden to be stored, it is kept."""
    found = DerivedCache(NAME).take(derived.describe_characters(), "characters", _ask_tensorflow, is_told=False)
    codes = found["codes"]
    return _Table(codes, bytes(codes[:128].tolist()) + b" " * 128, json.loads(found["longer"].tobytes()))


def _ask_tensorflow() -> Arrays:
    """Clean each character by TensorFlow, all in one text."""
    from imdb_conv1d import tokenizer

    codes = np.arange(CODE_POINTS, dtype="<u4")
    # Zeros part the characters: neither a letter nor a blank, so no neighbour changes what a character becomes.
    alone = np.delete(codes, [*range(SURROGATES.start, SURROGATES.stop), ord("0")])
    parted = np.full(2 * len(alone), ord("0"), dtype="<u4")
    parted[::2] = alone
    text = str(parted.tobytes(), "utf-32-le").encode()
    *cleaned, rest = tokenizer.clean([text]).numpy()[0].decode().split("0")
    if rest or len(cleaned) != len(alone):
        raise RuntimeError(
            "TensorFlow's cleaning joins or divides characters; the table of characters needs another way"
        )
    several = [at for at, character in enumerate(cleaned) if len(character) != 1]
    longer = {chr(alone[at]): cleaned[at] for at in several}
    for at in several:
        cleaned[at] = " "
    codes[SURROGATES] = ord(" ")
    codes[alone] = np.frombuffer("".join(cleaned).encode("utf-32-le"), "<u4")
    return {"codes": codes, "longer": np.frombuffer(json.dumps(longer).encode(), np.uint8)}


def _clean_many(texts: Sequence[str]) -> list[str]:
    """Clean many texts: those that TensorFlow cleans all at once, in less than a fifth of the time."""
    of_tensorflow = [row for row, text in enumerate(texts) if SIGMA in text]
    cleaned = ["" if SIGMA in text else clean(text) for text in texts]
    for row, text in zip(of_tensorflow, _clean_in_tensorflow([texts[row] for row in of_tensorflow]), strict=True):
        cleaned[row] = text
    return cleaned


def _clean_in_tensorflow(texts: Sequence[str]) -> list[str]:
    if not texts:
        return []
    from imdb_conv1d import tokenizer

    raw: list[bytes] = tokenizer.clean([text.encode("utf-8", "replace") for text in texts]).numpy().tolist()
    return [text.decode() for text in raw]
