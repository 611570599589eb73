"""A linear model of the n-grams of ids in a text, as arrays in one file of the run folder.

The file is kept as the vocabulary is: written once, named after its content, and taken by every resume.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Self

import numpy as np

from imdb_conv1d.ids import explain_full_disk
from imdb_conv1d.reuse import KeptContent, Last
from imdb_conv1d.schema import NGRAMS
from tracked.training.files import find_kept, keep_file

ARRAYS = ("keys", "ratios", "weights", "intercepts")


@dataclass(frozen=True, eq=False)
class NgramModel:
    """Linear models of the same n-grams: number 0 of all training texts, the others each without some of them.

    With the n-grams that occur in a text, model m gives the logits ``intercepts[m]`` + Σ ``weights[m]`` / ‖r‖, where r
    are their ``ratios[m]``: a row of unit length, whose products with a regression's coefficients are summed.

    Args:
        keys: of the n-grams (``id_ngrams``), int64 [n-grams], ascending.
        ratios: of naive Bayes or the inverse document frequency, float32 [models, n-grams].
        weights: ratios times coefficients, float32 [models, n-grams, outputs]; two classes have one output.
        intercepts: float32 [models, outputs].
    """

    keys: np.ndarray
    ratios: np.ndarray
    weights: np.ndarray
    intercepts: np.ndarray

    @property
    def outputs(self) -> int:
        """The number of logits."""
        return self.weights.shape[2]

    def to_bytes(self) -> bytes:
        """Write the arrays as an .npz file without pickles."""
        file = BytesIO()
        np.savez(file, allow_pickle=False, **{name: getattr(self, name) for name in ARRAYS})
        return file.getvalue()

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file that ``to_bytes`` made."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(*(arrays[name] for name in ARRAYS))


def keep(
    folder: Path, make: Callable[[], NgramModel], last: Last[KeptContent] | None = None, key: Hashable = None
) -> NgramModel:
    """Return the model in a run folder: an existing complete one, else a new one, written atomically.

    Args:
        last: the content that an earlier training of the process has kept, taken if it has this key and the run folder
            has no other; it holds the content afterwards.

    Raises:
        RunFailed: if it cannot be written.
    """
    last = last or Last()

    def make_content() -> KeptContent:
        is_new = find_kept(folder, NGRAMS) is None
        return KeptContent(keep_file(folder, NGRAMS, lambda: make().to_bytes()), is_new)

    with explain_full_disk(folder, "the n-grams"):
        content = last.take(key, make_content, lambda held: held.fits(folder, NGRAMS))
        return NgramModel.read(keep_file(folder, NGRAMS, content.read))


def find(folder: Path) -> Path:
    """Find the file in a run folder whose content matches the digest in its name.

    Raises:
        FileNotFoundError: if no file does.
    """
    if path := find_kept(folder, NGRAMS):
        return path
    raise FileNotFoundError(f"no complete n-grams in {folder}")
