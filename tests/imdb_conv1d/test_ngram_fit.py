"""Linear models of n-grams: scikit-learn's own decisions, each text's values from a model that has not seen it."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from imdb_conv1d import linear_model, ngram_fit
from imdb_conv1d.ids import EncodedPart
from imdb_conv1d.ngram_fit import FOLDS, assign_folds, find_present, fit
from imdb_conv1d.ngram_model import ARRAYS, NgramModel

SIZE = 12


def make_part(rows: int, classes: int, seed: int = 0, longest_text: int = 9) -> tuple[EncodedPart, np.ndarray]:
    """Texts of 1 to 9 ids, many of which tell the label."""
    chance = np.random.default_rng(seed)
    labels = np.arange(rows) % classes
    ids = np.zeros((rows, longest_text), np.int32)
    for row, label in zip(ids, labels, strict=True):
        length = chance.integers(1, longest_text + 1)
        row[-length:] = np.where(chance.random(length) < 0.5, 2 + label % (SIZE - 2), chance.integers(1, SIZE, length))
    return EncodedPart.from_padded(ids), labels


def sum_values(model: NgramModel, part: EncodedPart, number: int, longest: int) -> np.ndarray:
    """The logits by the model's own formula, [n, outputs]."""
    present = find_present(part, np.arange(len(part)), SIZE, longest, model.keys)
    norms = np.sqrt(present @ np.square(model.ratios[number].astype(float)))
    sums = present @ model.weights[number].astype(float)
    return np.asarray(sums / np.where(norms > 0, norms, 1)[:, np.newaxis] + model.intercepts[number])


@pytest.mark.parametrize(("classes", "longest"), [(2, 3), (2, 1), (3, 2), (30, 2)])
def test_sum_of_values_is_scikit_learns_decision(classes: int, longest: int) -> None:
    part, labels = make_part(180, classes)
    folds = assign_folds(part, 7, longest)
    model = fit(part, labels, classes, folds, SIZE, longest)
    outputs = 1 if classes == 2 else classes
    assert [getattr(model, name).dtype for name in ARRAYS] == [np.int64, np.float32, np.float32, np.float32]
    assert model.weights.shape == (FOLDS + 1, len(model.keys), outputs)
    for number in (0, 3):
        rows = np.flatnonzero(folds != number)
        counts = find_present(part, rows, SIZE, longest, model.keys)
        texts_with = np.bincount(counts.indices, minlength=len(model.keys))
        columns = texts_with >= 2
        if classes == 2:
            ratios = linear_model.compute_log_ratios(counts[:, columns], labels[rows])
        else:
            ratios = linear_model.compute_rarities(texts_with[columns], len(rows))
        weighed = counts[:, columns].toarray() * ratios
        norms = np.sqrt(np.square(weighed).sum(axis=1, keepdims=True))
        weighed /= np.where(norms > 0, norms, 1)
        regression = LogisticRegression(C=ngram_fit.STRENGTH, solver="liblinear", dual=True, tol=0.01, random_state=0)
        if classes > 2:
            regression = OneVsRestClassifier(regression)
        expected = regression.fit(weighed, labels[rows]).decision_function(weighed).reshape(len(rows), outputs)
        np.testing.assert_allclose(sum_values(model, part, number, longest)[rows], expected, atol=2e-3)


def equal(model: NgramModel, other: NgramModel, number: int) -> bool:
    return all(np.array_equal(getattr(model, name)[number], getattr(other, name)[number]) for name in ARRAYS[1:])


@pytest.mark.parametrize("classes", [2, 3])
def test_label_of_a_text_does_not_change_the_model_that_gives_its_values(classes: int) -> None:
    part, labels = make_part(60, classes)
    folds = assign_folds(part, 7, 2)
    model = fit(part, labels, classes, folds, SIZE, 2)
    row = 17
    changed = labels.copy()
    changed[row] = (labels[row] + 1) % classes
    other = fit(part, changed, classes, folds, SIZE, 2)
    assert np.array_equal(model.keys, other.keys)
    assert equal(model, other, folds[row])
    assert not any(equal(model, other, number) for number in range(FOLDS + 1) if number != folds[row])
    assert model.to_bytes() == fit(part, labels, classes, folds, SIZE, 2).to_bytes()


def test_folds_are_of_equal_size_and_depend_on_the_seed_alone() -> None:
    part, _ = make_part(103, 2)
    folds = assign_folds(part, 7, 3)
    assert np.bincount(folds).tolist() == [0, 21, 21, 21, 20, 20]
    assert np.array_equal(folds, assign_folds(part, 7, 3))
    assert not np.array_equal(folds, assign_folds(part, 8, 3))


def test_texts_beyond_the_bound_are_left_out_and_get_the_model_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    part, labels = make_part(100, 2)
    for longest, places in ((1, 200), (2, 400)):
        monkeypatch.setattr(ngram_fit, "MAX_PLACES", places)
        folds = assign_folds(part, 7, longest)
        taken = folds > 0
        assert 200 - part.maxlen < part.lengths[taken].sum() <= 200
    changed = np.where(taken, labels, 1 - labels)  # theirs change nothing
    assert fit(part, labels, 2, folds, SIZE, 2).to_bytes() == fit(part, changed, 2, folds, SIZE, 2).to_bytes()
    monkeypatch.setattr(ngram_fit, "MAX_PLACES", 1)
    assert np.count_nonzero(assign_folds(part, 7, 2)) == 2 * FOLDS  # at least


def test_number_of_ngrams_is_bounded_by_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    part, labels = make_part(60, 3)
    folds = assign_folds(part, 7, 2)
    monkeypatch.setattr(ngram_fit, "MAX_WEIGHTS", 5 * 3 * (FOLDS + 1))
    assert fit(part, labels, 3, folds, SIZE, 2).weights.shape == (FOLDS + 1, 5, 3)


@pytest.mark.parametrize("classes", [2, 3])
def test_class_that_a_fold_lacks_has_a_small_logit_or_the_model_says_nothing(classes: int) -> None:
    part, labels = make_part(40, classes)
    folds = assign_folds(part, 7, 2)
    only = folds == 1
    labels = np.where(only, 0, np.maximum(labels, 1)).astype(np.int32)  # without fold 1, class 0 is missing
    model = fit(part, labels, classes, folds, SIZE, 2)
    assert all(np.isfinite(getattr(model, name)).all() for name in ARRAYS)
    logits = sum_values(model, part, 1, 2)
    if classes == 2:
        assert not logits.any()
    else:
        np.testing.assert_allclose(logits[:, 0], -np.log(np.sum(~only)), rtol=1e-5)
        np.testing.assert_allclose(logits[:, 1], -logits[:, 2], atol=1e-5)  # of two classes, one regression
        assert (logits[~only].argmax(axis=1) == labels[~only]).mean() > 0.8


@pytest.mark.parametrize("classes", [2, 3])
def test_texts_that_share_nothing_are_fitted(classes: int) -> None:
    ids = np.zeros((SIZE - 1, 4), np.int32)
    ids[:, -1] = np.arange(1, SIZE)
    part = EncodedPart.from_padded(ids)
    labels = np.arange(len(part)) % classes
    model = fit(part, labels, classes, assign_folds(part, 7, 3), SIZE, 3)
    assert len(model.keys) == len(part)
    assert all(np.isfinite(getattr(model, name)).all() for name in ARRAYS)


@pytest.mark.parametrize("classes", [2, 3])
def test_ngram_of_one_fold_alone_leaves_that_folds_model_without_any(classes: int) -> None:
    """Texts of one word; two of the same fold share theirs, the only one to be chosen."""
    part = EncodedPart.from_padded(np.arange(1, 16, dtype=np.int32)[:, np.newaxis])
    labels = np.arange(len(part)) % classes
    folds = assign_folds(part, 7, 1)
    first, second = np.flatnonzero(folds == 2)[:2]
    part.values[first] = part.values[second]
    model = fit(part, labels, classes, folds, 16, 1)
    assert model.keys.tolist() == [part.values[second]]
    assert not model.weights[2].any()
    assert not model.intercepts[2].any()
    assert np.isfinite(model.weights).all()
