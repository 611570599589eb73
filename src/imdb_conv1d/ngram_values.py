"""What each n-gram of a text adds to the linear model's logit, at the place where it begins, for batches of texts."""

import mmap
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import tensorflow as tf

from imdb_conv1d import id_ngrams
from imdb_conv1d.batches import share
from imdb_conv1d.id_ngrams import NONE
from imdb_conv1d.ids import EncodedPart, explain_full_disk
from imdb_conv1d.ngram_model import NgramModel
from tracked.console.progress import track


class NgramValues:
    """The values of the n-grams in a part's texts.

    A part's texts stand in ``part.values``; the numbers of their n-grams lie in a file of as many rows, mapped into
    memory as the ids are.

    Args:
        numbers: of the n-grams that begin at each place, int32 [places, longest], else ``NONE``.
        models: the model to take for each text, int32 [n].
    """

    def __init__(self, part: EncodedPart, model: NgramModel, numbers: np.ndarray, models: np.ndarray) -> None:
        self._numbers, self._models = share(numbers), tf.constant(models, tf.int32)
        self._norms = tf.constant(compute_norms(part, model, numbers, models))
        self._count, self.width = len(model.keys), numbers.shape[1] * model.outputs
        used = model.weights[: 1 + models.max(initial=0)]  # the validation part needs the first one alone
        # A row of zeros in each model, for places without an n-gram.
        self._weights = tf.constant(np.pad(used, ((0, 0), (0, 1), (0, 0))).reshape(-1, model.outputs))

    def __call__(self, rows: tf.Tensor, at: tf.Tensor, is_text: tf.Tensor) -> tf.Tensor:
        """Look up the values of a batch.

        Args:
            rows: the texts, [batch].
            at: the place of each position in the part's values, [batch, length].
            is_text: whether a position is one of the text's, [batch, length].

        Returns:
            float32 [batch, length, longest], or [batch, length, longest, outputs] of several outputs.
        """
        numbers = tf.gather(self._numbers, at)
        has_value = (numbers > NONE) & is_text[:, :, tf.newaxis]
        first = (tf.gather(self._models, rows) * (self._count + 1))[:, tf.newaxis, tf.newaxis]
        weights = tf.gather(self._weights, first + tf.where(has_value, numbers, self._count))
        values = weights / tf.gather(self._norms, rows)[:, tf.newaxis, tf.newaxis, tf.newaxis]
        return values[..., 0] if values.shape[-1] == 1 else values


def number_in_file(parts: list[EncodedPart], size: int, longest: int, keys: np.ndarray, folder: Path) -> np.ndarray:
    """Number the n-grams at each place of the parts' shared values, in a file without a name in the run folder.

    Returns:
        int32 [places, longest].
    """
    places, width = len(parts[0].values), longest * np.dtype(np.int32).itemsize
    with explain_full_disk(folder, "the numbers of the n-grams"), TemporaryFile(dir=folder) as file:
        # Written, as a page of a hole that a full disk cannot take would end the process.
        for start in range(0, places, id_ngrams.PLACES):
            file.write(np.full((min(id_ngrams.PLACES, places - start), longest), NONE, np.int32).data)
        file.flush()
        mapped = mmap.mmap(file.fileno(), places * width)
        numbers = np.frombuffer(mapped, np.int32).reshape(places, longest)
        with track("numbering n-grams", sum(map(len, parts)), "texts") as progress:
            for part in parts:
                for rows in id_ngrams.divide(part, np.argsort(part.starts, kind="stable")):
                    found = id_ngrams.number_ngrams(part, rows, size, longest, keys)
                    ends = np.cumsum(part.lengths[rows])
                    for row, end in zip(rows, ends, strict=True):
                        start, length = part.starts[row], part.lengths[row]
                        numbers[start : start + length] = found[end - length : end]
                    progress.advance(len(rows))
    return numbers


def compute_norms(part: EncodedPart, model: NgramModel, numbers: np.ndarray, models: np.ndarray) -> np.ndarray:
    """Compute the length of each text's vector of ratios: float32 [n]; 1 for a text without an n-gram that counts."""
    norms = np.zeros(len(part), np.float32)
    for row, (start, length, number) in enumerate(zip(part.starts, part.lengths, models, strict=True)):
        own = numbers[start : start + length]
        norms[row] = np.sqrt(np.square(model.ratios[number][own[own > NONE]], dtype=np.float64).sum())
    return np.where(norms > 0, norms, np.float32(1))
