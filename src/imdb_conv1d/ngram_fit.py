"""Fit linear models of n-grams before the first epoch: one on all training texts, and one without each fifth of them.

What a model says of its own training texts is better than what it says of others. So whatever learns from its weights
in training texts takes those of the model that has not seen the text (cross-fitting).
"""

import warnings

import numpy as np
from scipy.sparse import csr_matrix

from imdb_conv1d import id_ngrams, linear_model
from imdb_conv1d.id_ngrams import NONE
from imdb_conv1d.ids import EncodedPart
from imdb_conv1d.ngram_model import NgramModel
from tracked.console.progress import track

FOLDS = 5
MIN_TEXTS = 2  # with an n-gram, for it to count
STRENGTH = 30.0  # inverse regularisation
MAX_NGRAMS = 2_000_000
MAX_PLACES = 45_000_000  # n-grams to fit on, of 60,000 texts of the reviews' lengths: bounds the memory
MAX_WEIGHTS = 40_000_000  # of all models: likewise


def assign_folds(part: EncodedPart, seed: int, longest: int) -> np.ndarray:
    """Assign each training text the number of the model that has not seen it, 1 to ``FOLDS``: int32 [n].

    Of many texts some are left out of every fit; theirs is number 0.
    """
    order = np.random.default_rng(seed).permutation(len(part))
    ends = np.cumsum(part.lengths[order], dtype=np.int64)
    taken = order[: max(2 * FOLDS, int(np.searchsorted(ends, MAX_PLACES // longest, "right")))]
    folds = np.zeros(len(part), np.int32)
    folds[taken] = 1 + np.arange(len(taken)) % FOLDS
    return folds


def fit(part: EncodedPart, labels: np.ndarray, classes: int, folds: np.ndarray, size: int, longest: int) -> NgramModel:
    """Fit the models on the training part.

    Args:
        labels: codes of the texts, [n].
        folds: of the texts, as :func:`assign_folds` gives them.
        size: the number of ids; ``longest``: the longest n-gram.
    """
    rows = np.flatnonzero(folds)
    outputs = 1 if classes == 2 else classes
    limit = min(MAX_NGRAMS, MAX_WEIGHTS // (outputs * (FOLDS + 1)))
    with track("fitting the n-grams", FOLDS + 2, "steps", summary=False) as progress:
        keys = id_ngrams.choose_keys(part, rows, size, longest, MIN_TEXTS, limit)
        if not len(keys):  # texts that share nothing
            keys = id_ngrams.choose_keys(part, rows, size, longest, 1, limit)
        present = find_present(part, rows, size, longest, keys)
        progress.advance()
        shape = FOLDS + 1, len(keys)
        ratios, weights = np.zeros(shape, np.float32), np.zeros((*shape, outputs), np.float32)
        intercepts = np.zeros((FOLDS + 1, outputs), np.float32)
        for number in range(FOLDS + 1):
            is_seen = folds[rows] != number
            ratios[number], weights[number], intercepts[number] = _fit(
                present[is_seen], labels[rows][is_seen].astype(int), classes
            )
            progress.advance()
    return NgramModel(keys, ratios, weights, intercepts)


def find_present(part: EncodedPart, rows: np.ndarray, size: int, longest: int, keys: np.ndarray) -> csr_matrix:
    """Find which of the chosen n-grams some texts have: float32 ones [rows, n-grams], sparse."""
    columns, starts = list[np.ndarray](), [np.zeros(1, np.int64)]
    for piece in id_ngrams.divide(part, rows):
        numbers = id_ngrams.number_ngrams(part, piece, size, longest, keys)
        places = np.concatenate([[0], np.cumsum((numbers > NONE).sum(axis=1))])
        starts.append(places[np.cumsum(part.lengths[piece])] + starts[-1][-1])
        columns.append(numbers[numbers > NONE])
    indices, indptr = np.concatenate(columns), np.concatenate(starts)
    return csr_matrix((np.ones(len(indices), np.float32), indices, indptr), shape=(len(rows), len(keys)))


def _fit(present: csr_matrix, labels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit one model: ratios [n-grams], weights [n-grams, outputs], intercepts [outputs]."""
    from sklearn.multiclass import OneVsRestClassifier

    texts_with = np.bincount(present.indices, minlength=present.shape[1])
    columns = np.flatnonzero(texts_with >= min(MIN_TEXTS, texts_with.max(initial=1)))
    counted = present[:, columns]
    if classes == 2:
        own = linear_model.compute_log_ratios(counted, labels)
    else:
        own = linear_model.compute_rarities(texts_with[columns], len(labels))
    ratios, outputs = np.zeros(len(texts_with), np.float32), 1 if classes == 2 else classes
    ratios[columns] = own
    weights, intercepts = np.zeros((len(texts_with), outputs), np.float32), np.zeros(outputs, np.float32)
    found = np.unique(labels)
    if len(found) < 2 or not len(columns):  # without a fold, a class or all n-grams may lack: the model says nothing
        return ratios, weights, intercepts
    inputs = linear_model.weigh(counted, own, 2)  # binary
    model = linear_model.make_regression(STRENGTH)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a regression that has not converged is measured all the same
        if classes == 2:
            model.fit(inputs, labels)
            weights[columns, 0], intercepts[0] = own * model.coef_[0], model.intercept_[0]
            return ratios, weights, intercepts
        several = OneVsRestClassifier(model).fit(inputs, labels)
    regressions = several.estimators_ if len(found) > 2 else several.estimators_ * 2
    intercepts[:] = -np.log(len(labels))  # of classes that the texts lack
    for code, regression in zip(found, regressions, strict=True):
        sign = -1 if len(found) == 2 and code == found[0] else 1  # of two classes, there is one regression
        weights[columns, code] = sign * own * regression.coef_[0]
        intercepts[code] = sign * regression.intercept_[0]
    return ratios, weights, intercepts
