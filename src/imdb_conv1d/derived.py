"""The keys under which what is derived from texts is kept for later processes: all that its bits depend on."""

import hashlib
import importlib.metadata
import platform
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tracked.experiment import SEEN_PARTS
from tracked.training.reproducibility import describe_host, digest_programs

if TYPE_CHECKING:
    from imdb_conv1d.dataset import LabelledTexts
    from imdb_conv1d.ids import EncodedPart
    from imdb_conv1d.texts_part import TextsPart

HERE = Path(__file__).parent
# The modules that derive each thing and name its arrays. A test compares them with what they import.
OF_CHARACTERS = ("words.py", "tokenizer.py")
OF_IDS = (*OF_CHARACTERS, "ids.py", "leaks.py", "text_index.py", "dataset.py", "prepare.py")
OF_NUMBERS = ("ngram_values.py", "id_ngrams.py", "gated.py")
OF_LINEAR = (
    *OF_CHARACTERS,
    "linear_model.py",
    "ngrams.py",
    "baselines.py",
    "text_index.py",
    "dataset.py",
    "texts_part.py",
)
OF_NGRAMS = ("ngram_fit.py", "ngram_model.py", "linear_model.py", "id_ngrams.py", "gated.py")


def describe_characters() -> dict[str, Any]:
    """Describe what becomes of each character, which TensorFlow decides."""
    return {"what": "characters", **_describe_code(OF_CHARACTERS, ("tensorflow", "numpy"))}


def describe_encoding(dataset: "LabelledTexts", max_features: int, maxlen: int, tokens: str) -> dict[str, Any]:
    """Describe the vocabulary of a training part and the ids of the parts that a training sees.

    The texts are named by the hashes of the source's rows, in its order, and by the rows of each part, in the part's.
    """
    rows = [dataset.order[dataset.positions(part)] for part in SEEN_PARTS]
    return {
        "what": "ids",
        "data": dataset.digest,
        "rows": _digest([dataset.index.hashes, *rows]),
        "counts": [len(part) for part in rows],
        "parameters": {"max_features": max_features, "maxlen": maxlen, "tokens": tokens},
        **_describe_code(OF_IDS, ("tensorflow", "numpy", "pyarrow")),
    }


def describe_numbers(parts: "Sequence[EncodedPart]", size: int, longest: int, keys: np.ndarray) -> dict[str, Any]:
    """Describe the numbers of the n-grams ``keys`` in parts that share their values."""
    return {
        "what": "numbers of n-grams",
        "ids": _digest_parts(parts),
        "ngrams": _digest([keys]),
        "parameters": {"size": size, "longest": longest},
        **_describe_code(OF_NUMBERS, ("numpy",)),
    }


def describe_ngrams(
    part: "EncodedPart", labels: np.ndarray, classes: int, folds: np.ndarray, size: int, longest: int
) -> dict[str, Any]:
    """Describe the models of a training part's n-grams. Their last bits depend on the processor, too."""
    return {
        "what": "n-grams",
        "ids": _digest_parts([part]),
        "labels": _digest([labels, folds]),
        "parameters": {"classes": classes, "size": size, "longest": longest},
        "host": describe_host(),
        **_describe_code(OF_NGRAMS, ("numpy", "scipy", "scikit-learn")),
    }


def describe_baselines(dataset: "LabelledTexts", part: "TextsPart", recipe: str) -> dict[str, Any]:
    """Describe what the baselines of a dataset predict for a part. Their last bits depend on the processor, too.

    Args:
        recipe: all that they depend on beside the texts and their labels.
    """
    rows = [dataset.order[dataset.positions(name)] for name in SEEN_PARTS]
    labels = [dataset.labels(name) for name in SEEN_PARTS]
    return {
        "what": "baselines",
        "recipe": recipe,
        "trained on": _digest([dataset.index.hashes, *rows, *labels]),
        "predicted": _digest([part.index.hashes, part.take]),
        "host": describe_host(),
        **_describe_code(OF_LINEAR, ("tensorflow", "numpy", "pyarrow", "scipy", "scikit-learn")),
    }


def _describe_code(modules: Sequence[str], packages: Sequence[str]) -> dict[str, Any]:
    return {
        "code": digest_programs(HERE / module for module in modules),
        "packages": {name: importlib.metadata.version(name) for name in packages},
        "python": [platform.python_version(), unicodedata.unidata_version, platform.machine()],
    }


def _digest_parts(parts: "Sequence[EncodedPart]") -> str:
    return _digest([parts[0].values, *(array for part in parts for array in (part.starts, part.lengths))])


def _digest(arrays: Iterable[np.ndarray]) -> str:
    """Digest arrays with their types and lengths."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
