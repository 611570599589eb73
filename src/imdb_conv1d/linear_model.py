"""A linear model of texts, to compare the network with: words and pairs, weighted, in a logistic regression.

Two classes: binary counts weighted by naive Bayes's log ratios (Wang and Manning 2012). More: TF-IDF, and a regression
a class against the others. Rows have unit length, and the validation part chooses the regularisation. Where regressions
of so many classes would take minutes: naive Bayes.
"""

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, vstack

from imdb_conv1d import ngrams
from tracked.console.progress import track

MAX_VALUES = 20_000_000  # counts to fit on, of 55,000 texts of the reviews' lengths: below a gigabyte
MAX_VALIDATION_VALUES = 4_000_000
MAX_WEIGHTS = 30_000_000  # columns times classes
MAX_WORK = 100_000_000  # counts times classes of the regressions, which take up to 20 seconds for each of ``STRENGTHS``
STRENGTHS = (3.0, 10.0, 30.0)  # inverse regularisation; of naive Bayes, the smoothing
SMOOTHINGS = (0.001, 0.01, 0.1, 1.0)
MIN_TEXTS = 2  # of the training part, for a column to count
ROWS = 2000  # texts in one call: bounds the memory
EPSILON = np.finfo(float).eps


@dataclass
class Sample:
    """Counts of texts, bounded: above ``limit`` values, a half of the texts is dropped, by a hash of each.

    Which texts stay depends on neither their order nor the pieces that they come in.
    """

    limit: int
    share: float = 1.0
    total: int = 0
    _pieces: list[tuple[np.ndarray, np.ndarray, csr_matrix]] = field(default_factory=list)

    def add(self, texts: Sequence[str], labels: np.ndarray, tokens: str) -> None:
        """Count some texts."""
        for start in range(0, len(texts), ROWS):
            self._add(texts[start : start + ROWS], labels[start : start + ROWS], tokens)

    def _add(self, texts: Sequence[str], labels: np.ndarray, tokens: str) -> None:
        self.total += len(texts)
        draws = np.array([draw(text) for text in texts])
        kept = np.flatnonzero(draws < self.share)
        if len(kept):
            counts = ngrams.count_ngrams([texts[row] for row in kept.tolist()], tokens)
            self._pieces.append((draws[kept], labels[kept], counts))
        while sum(counts.nnz for _, _, counts in self._pieces) > self.limit:
            self.share /= 2
            halves = [(draws < self.share, draws, labels, counts) for draws, labels, counts in self._pieces]
            self._pieces = [(draws[take], labels[take], counts[take]) for take, draws, labels, counts in halves]

    def take(self) -> tuple[csr_matrix, np.ndarray]:
        """Return the counts [n, columns] and the labels [n], whatever order they came in, and free the pieces."""
        pieces, self._pieces = self._pieces, []
        if not pieces:
            return csr_matrix((0, ngrams.COLUMNS), dtype=np.float32), np.zeros(0, dtype=int)
        order = np.argsort(np.concatenate([draws for draws, _, _ in pieces]), kind="stable")
        labels = np.concatenate([labels for _, labels, _ in pieces])
        return vstack([counts for *_, counts in pieces], format="csr")[order], labels[order]


def draw(text: str) -> float:
    """Draw a number from 0 to 1 that depends on the text alone; the parts depend on another hash."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).digest()) / 2**48


@dataclass(frozen=True, eq=False)
class LinearModel:
    """A fitted model: ``weights`` of the ``columns`` that count, and the classifier on them."""

    tokens: str
    classes: int
    columns: np.ndarray
    weights: np.ndarray
    classifier: Any

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        """Predict the probability of each class, float64 [n, classes]; classes without a training text get 0."""
        pieces = [texts[start : start + ROWS] for start in range(0, len(texts), ROWS)]
        return np.concatenate([self.predict_counts(self.select(ngrams.count_ngrams(p, self.tokens))) for p in pieces])

    def select(self, counts: csr_matrix) -> csr_matrix:
        """Select the columns that count, and weigh them."""
        return weigh(counts[:, self.columns], self.weights, self.classes)

    def predict_counts(self, weighed: csr_matrix) -> np.ndarray:
        """Predict the probability of each class from weighed counts."""
        probabilities = np.zeros((weighed.shape[0], self.classes))
        probabilities[:, self.classifier.classes_] = self.classifier.predict_proba(weighed)
        return probabilities


def fit(train: Sample, validation: Sample, classes: int, tokens: str) -> LinearModel:
    """Fit the model on the training part, and choose its regularisation by the validation part's loss.

    Raises:
        ValueError: if the training part's sample has one label only.
    """
    counts, labels = train.take()
    if len(np.unique(labels)) < 2:
        raise ValueError("the training part's sample has one label only")
    texts_with = np.bincount(counts.indices, minlength=counts.shape[1])
    columns = np.flatnonzero(texts_with >= MIN_TEXTS)
    columns = columns if len(columns) else np.flatnonzero(texts_with)
    if len(columns) * classes > MAX_WEIGHTS:
        columns = np.sort(columns[np.argsort(-texts_with[columns], kind="stable")[: MAX_WEIGHTS // classes]])
    counts = counts[:, columns]
    weights = compute_log_ratios(counts, labels) if classes == 2 else compute_rarities(texts_with[columns], len(labels))
    inputs, chosen, least = weigh(counts, weights, classes), None, np.inf
    held_out, truth = validation.take()
    held_out = weigh(held_out[:, columns], weights, classes)
    candidates = make_classifiers(inputs.nnz * classes, classes)
    with track("fitting the linear model", len(candidates), "candidates", summary=False) as progress:
        for classifier in candidates:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a regression that has not converged is measured all the same
                model = LinearModel(tokens, classes, columns, weights, classifier.fit(inputs, labels))
            loss = measure(model, held_out, truth)
            if chosen is None or loss < least:
                chosen, least = model, loss
            progress.advance()
    assert chosen
    return chosen


def compute_log_ratios(counts: csr_matrix, labels: np.ndarray) -> np.ndarray:
    """Compute naive Bayes's log ratio of each column from binary counts, with one text added to each class."""
    present = counts.sign()
    ones, zeros = (1 + np.asarray(present[labels == label].sum(axis=0)).ravel() for label in (1, 0))
    return np.log((ones / ones.sum()) / (zeros / zeros.sum())).astype(np.float32)


def compute_rarities(texts_with: np.ndarray, texts: int) -> np.ndarray:
    """Compute the inverse document frequency of each column, smoothed as in scikit-learn."""
    return (np.log((1 + texts) / (1 + texts_with)) + 1).astype(np.float32)


def weigh(counts: csr_matrix, weights: np.ndarray, classes: int) -> csr_matrix:
    """Weigh counts, binary ones for two classes and 1 + ln for more, and bring each row to unit length."""
    values = np.ones_like(counts.data) if classes == 2 else 1 + np.log(counts.data)
    weighed = csr_matrix((values * weights[counts.indices], counts.indices, counts.indptr), shape=counts.shape)
    lengths = np.sqrt(np.asarray(weighed.multiply(weighed).sum(axis=1)).ravel())
    weighed.data /= np.repeat(np.where(lengths > 0, lengths, 1), np.diff(weighed.indptr))
    return weighed


def make_classifiers(work: int, classes: int) -> list[Any]:
    """Make the candidates: regressions, or naive Bayes where these would take minutes."""
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.naive_bayes import MultinomialNB

    if classes > 2 and work > MAX_WORK:
        return [MultinomialNB(alpha=smoothing) for smoothing in SMOOTHINGS]
    made = [make_regression(strength) for strength in STRENGTHS]
    return made if classes == 2 else [OneVsRestClassifier(one) for one in made]


def make_regression(strength: float) -> Any:
    """Make a regression of two classes that is fast on many sparse columns, and the same each time.

    Args:
        strength: inverse regularisation.
    """
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, solver="liblinear", dual=True, tol=0.01, random_state=0)


def measure(model: LinearModel, weighed: csr_matrix, labels: np.ndarray) -> float:
    """Measure the mean loss of weighed counts; 0 without rows."""
    total = 0.0
    for start in range(0, len(labels), ROWS):
        truth = labels[start : start + ROWS]
        probability = model.predict_counts(weighed[start : start + ROWS])[np.arange(len(truth)), truth]
        total -= float(np.log(np.maximum(probability, EPSILON)).sum())
    return total / max(len(labels), 1)
