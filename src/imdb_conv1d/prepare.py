"""Encode a dataset's texts for a training, or take the encoding of an earlier one."""

import hashlib
from pathlib import Path

import numpy as np

from imdb_conv1d import derived, ids
from imdb_conv1d.dataset import LabelledTexts
from imdb_conv1d.ids import EncodedPart, Encoding
from imdb_conv1d.parameters import TrainParameters
from imdb_conv1d.reuse import KeptContent, Prepared
from imdb_conv1d.schema import VOCABULARY
from tracked.experiment import SEEN_PARTS
from tracked.training.array_file import Arrays
from tracked.training.derived_cache import DerivedCache
from tracked.training.files import find_kept, keep_file

TITLE = "words to ids"


def encode(dataset: LabelledTexts, parameters: TrainParameters, folder: Path, cache: DerivedCache) -> Prepared:
    """Make the vocabulary, kept in the run folder, and the ids of the training and validation parts.

    The dataset holds them, and so does the cache. A training with equal ``max_features``, ``maxlen`` and ``tokens``
    gets them again, unless its run folder has another vocabulary.

    Raises:
        RunFailed: if the source has changed since it was read first, or the disk is full.
    """
    size, maxlen, tokens = parameters.max_features, parameters.maxlen, parameters.tokens

    def make() -> Prepared:
        kept = find_kept(folder, VOCABULARY)
        key = derived.describe_encoding(dataset, size, maxlen, tokens)
        found = cache.find(key, TITLE)
        if found is not None and (kept is None or kept.name == _name_vocabulary(found)):
            cache.tell(TITLE)
            with ids.explain_full_disk(folder, "the vocabulary"):
                path = keep_file(folder, VOCABULARY, found["vocabulary"].tobytes)
            return Prepared(_from_arrays(found, path, maxlen), KeptContent(path, is_new=True))
        positions = [dataset.positions(part) for part in SEEN_PARTS]
        encoding = ids.encode_parts(dataset.read_texts(), positions, folder, size, maxlen, tokens)
        if kept is None:  # that of a resumed training may come from an earlier version of the code
            cache.keep(key, TITLE, _to_arrays(encoding))
        return Prepared(encoding, KeptContent(encoding.vocabulary, is_new=kept is None))

    prepared = dataset.prepared.take(
        (size, maxlen, tokens), make, lambda held: held.vocabulary.fits(folder, VOCABULARY)
    )
    with ids.explain_full_disk(folder, "the vocabulary"):
        keep_file(folder, VOCABULARY, prepared.vocabulary.read)
    return prepared


def _to_arrays(encoding: Encoding) -> Arrays:
    """Name the arrays of an encoding, whose parts share their values."""
    parts = {
        f"{name}_{what}": array
        for name, part in zip(SEEN_PARTS, encoding.parts, strict=True)
        for what, array in (("starts", part.starts), ("lengths", part.lengths))
    }
    vocabulary = np.frombuffer(encoding.vocabulary.read_bytes(), np.uint8)
    return {"vocabulary": vocabulary, "values": encoding.parts[0].values, "keys": encoding.keys, **parts}


def _from_arrays(arrays: Arrays, vocabulary: Path, maxlen: int) -> Encoding:
    parts = [
        EncodedPart(arrays["values"], arrays[f"{name}_starts"], arrays[f"{name}_lengths"], maxlen)
        for name in SEEN_PARTS
    ]
    return Encoding(vocabulary, parts, arrays["keys"])


def _name_vocabulary(arrays: Arrays) -> str:
    return VOCABULARY.format(sha256=hashlib.sha256(arrays["vocabulary"].data).hexdigest())
