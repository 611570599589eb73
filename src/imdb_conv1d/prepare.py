"""Encode a dataset's texts for a training, or take the encoding of the last one."""

from pathlib import Path

from imdb_conv1d import ids
from imdb_conv1d.dataset import LabelledTexts
from imdb_conv1d.parameters import TrainParameters
from imdb_conv1d.reuse import KeptContent, Prepared
from imdb_conv1d.schema import VOCABULARY
from tracked.experiment import SEEN_PARTS
from tracked.training.files import find_kept, keep_file


def encode(dataset: LabelledTexts, parameters: TrainParameters, folder: Path) -> Prepared:
    """Make the vocabulary and the ids of the training and validation parts; the vocabulary is kept in the run folder.

    The dataset holds them, and a training with equal ``max_features``, ``maxlen`` and ``tokens`` gets them again, unless
    its run folder has another vocabulary.

    Raises:
        RunFailed: if the source has changed since it was read first, or the disk is full.
    """
    key = size, maxlen, tokens = parameters.max_features, parameters.maxlen, parameters.tokens

    def make() -> Prepared:
        is_new = find_kept(folder, VOCABULARY) is None
        positions = [dataset.positions(part) for part in SEEN_PARTS]
        encoding = ids.encode_parts(dataset.read_texts(), positions, folder, size, maxlen, tokens)
        return Prepared(encoding, KeptContent(encoding.vocabulary, is_new))

    prepared = dataset.prepared.take(key, make, lambda held: held.vocabulary.fits(folder, VOCABULARY))
    with ids.explain_full_disk(folder, "the vocabulary"):
        keep_file(folder, VOCABULARY, prepared.vocabulary.read)
    return prepared
