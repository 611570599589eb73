"""Package a checkpoint for registration: text in, probabilities out, checked after loading back."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
from scipy.special import expit, softmax

from imdb_conv1d import ngram_model, tokenizer
from imdb_conv1d.dataset import LabelledTexts
from imdb_conv1d.labels import Classes
from imdb_conv1d.metrics import compute_logit_losses
from imdb_conv1d.ngram_lookup import NgramLookup
from imdb_conv1d.ngram_model import NgramModel
from imdb_conv1d.parameters import TrainParameters
from imdb_conv1d.schema import LABELS, MAXLEN, NETWORK, READ_AS, TOKENS
from imdb_conv1d.text_model import TextClassifier
from tracked.console.cores import map_in_threads
from tracked.console.progress import track
from tracked.experiment import Package

Pieces: TypeAlias = Iterable[tuple[np.ndarray, Sequence[str]]]  # codes [n] and their texts
TOLERANCE = 1e-5  # between a probability and that of its logits
SAMPLE = 256  # texts whose probabilities are compared with their logits: the loss needs the logits alone
LISTED = 1000  # characters of the labels that the signature lists
EXAMPLE = ("A film to see twice: funny, warm and well played.", "Two hours of my life that I will never get back.")
READ_BY = ("text_column", "label_column", "positive_label", "encoding", "test_split")


def package(checkpoint: Path, folder: Path, dataset: LabelledTexts, parameters: TrainParameters) -> Package:
    """Package a model that maps text, string [n], to the probability of label 1, float64 [n].

    Of more than two classes, it maps to the probability of each, float64 [n, classes]. The input example is made up, so
    no text of the data is logged with it.

    Args:
        folder: the run folder, with the vocabulary and the n-grams.
    """
    classes = dataset.classes

    def loss(model: Any) -> float:
        """Compute the validation loss from logits, as in training."""
        with track("checking the stored model", dataset.count("validation"), "texts") as progress:
            return compute_loss(model, read_validation(dataset), classes, progress.advance)

    network, vocabulary, ngrams = keras.saving.load_model(checkpoint), tokenizer.find_vocabulary(folder), None
    if parameters.network == "gated":
        model = NgramModel.read(ngram_model.find(folder))
        ngrams = NgramLookup(model, parameters.max_features, parameters.ngrams)
    return Package(
        TextClassifier(network, vocabulary, parameters.maxlen, parameters.tokens, ngrams),
        inputs=(object, (-1,)),
        outputs=(np.float64, (-1,) if classes.is_binary else (-1, len(classes))),
        example=np.array(EXAMPLE, dtype=object),
        loss=loss,
        checked=f"the {dataset.count('validation'):,} validation reviews",
        metadata=describe_model(classes, parameters),
        output_name="" if classes.is_zero_one else name_output(classes),
    )


def describe_model(classes: Classes, parameters: TrainParameters) -> dict[str, Any]:
    """Collect what is stored with the model: its labels in the order of their codes, and how its data were read."""
    settings = parameters.model_dump()
    read_as = {name: settings[name] for name in READ_BY}
    return {
        LABELS: list(classes.names),
        TOKENS: parameters.tokens,
        MAXLEN: parameters.maxlen,
        NETWORK: parameters.network,
        READ_AS: read_as,
    }


def name_output(classes: Classes) -> str:
    """Name the model's output in its signature by the labels; many are cut, as the metadata have all of them."""
    if classes.is_binary:
        return f"probability of {classes.names[1]!r} (not {classes.names[0]!r})"
    listed = ", ".join(map(repr, classes.names))
    if len(listed) > LISTED:
        listed = f"{listed[:LISTED]}… ({len(classes)} labels: see the metadata)"
    return f"probabilities of {listed}"


def read_validation(dataset: LabelledTexts) -> Iterator[tuple[np.ndarray, list[str]]]:
    """Read the codes and the texts of the validation part in pieces, in the order of the source."""
    first, codes = dataset.positions("validation")[0], dataset.labels("validation")
    for numbers, texts in dataset.read_texts(["validation"]):
        yield codes[numbers - first], texts


def compute_loss(
    model: Any, pieces: Pieces, classes: Classes, advance: Callable[[int], None] = lambda count: None
) -> float:
    """Compute the mean loss of a loaded model in nats, from its logits; each text is scored once.

    Probabilities are compared with those of the logits on the first ``SAMPLE`` texts, which are scored once more.

    Args:
        model: an ``mlflow.pyfunc.PyFuncModel`` of a :class:`TextClassifier`.
        advance: called with the number of texts scored since the last call.

    Raises:
        ValueError: if probabilities and logits disagree, or the model has another number of classes.
    """
    to_logits, total, rows, compared = model.get_raw_model().logits, 0.0, 0, 0

    def score(piece: tuple[np.ndarray, Sequence[str]]) -> np.ndarray:
        return np.asarray(to_logits(np.array(piece[1], dtype=object))).astype(float)

    for (codes, texts), logits in map_in_threads(score, pieces):
        expected = (len(texts),) if classes.is_binary else (len(texts), len(classes))
        if logits.shape != expected:
            raise ValueError(f"gives logits of shape {logits.shape} for {len(texts)} texts of {len(classes)} classes")
        if compared < SAMPLE:
            sample = np.array(texts[: SAMPLE - compared], dtype=object)
            _compare(np.asarray(model.predict(sample)), logits[: len(sample)])
            compared += len(sample)
        total += float(compute_logit_losses(codes, logits).sum())
        rows += len(texts)
        advance(len(texts))
    return total / rows


def _compare(probabilities: np.ndarray, logits: np.ndarray) -> None:
    expected = expit(logits) if logits.ndim == 1 else softmax(logits, axis=1)
    if probabilities.shape != expected.shape:
        raise ValueError(f"gives probabilities of shape {probabilities.shape}, not {expected.shape}")
    gap = float(np.abs(probabilities - expected).max())
    if not gap <= TOLERANCE:
        raise ValueError(f"gives probabilities up to {gap:.7f} apart from those of its logits")
