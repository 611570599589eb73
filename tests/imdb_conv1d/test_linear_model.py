"""The linear model: learns what is there, bounds what it holds, and depends on no order."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.naive_bayes import MultinomialNB

from helpers.reviews import make_reviews
from imdb_conv1d import linear_model, ngrams
from imdb_conv1d.linear_model import LinearModel, Sample


def sample(texts: list[str], labels: np.ndarray, tokens: str = "words", limit: int = 10**6, size: int = 7) -> Sample:
    made = Sample(limit)
    for start in range(0, len(texts), size):
        made.add(texts[start : start + size], labels[start : start + size], tokens)
    return made


def make_classes(rows: int, classes: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Texts with two words of their class and three of all."""
    chance = np.random.default_rng(seed)
    labels = chance.integers(classes, size=rows)
    words = np.concatenate([labels[:, None] * 3 + chance.integers(3, size=(rows, 2)),
                            1000 + chance.integers(20, size=(rows, 3))], axis=1)  # fmt: skip
    return [" ".join(f"w{word}" for word in row) for row in words], labels


def fit_classes(rows: int, classes: int) -> LinearModel:
    return linear_model.fit(
        sample(*make_classes(rows, classes, 1)), sample(*make_classes(60, classes, 2)), classes, "words"
    )


def test_two_classes_are_learned_with_sure_probabilities() -> None:
    train, test = make_reviews(120), make_reviews(60, seed=1)
    parts = [sample(one["text"].tolist(), one["label"].to_numpy()) for one in (train, make_reviews(40, seed=2))]
    model = linear_model.fit(*parts, 2, "words")
    predicted = model.predict(test["text"].tolist())
    assert predicted.shape == (60, 2)
    np.testing.assert_allclose(predicted.sum(axis=1), 1)
    assert ((predicted[:, 1] > 0.5) == test["label"]).all()
    assert -np.log(predicted[np.arange(60), test["label"]]).mean() < 0.4


def test_many_classes_are_learned() -> None:
    texts, labels = make_classes(100, 5, 3)
    predicted = fit_classes(200, 5).predict(texts)
    assert predicted.shape == (100, 5)
    np.testing.assert_allclose(predicted.sum(axis=1), 1)
    assert (predicted.argmax(axis=1) == labels).mean() > 0.9


def test_classes_that_would_take_long_are_learned_by_naive_bayes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_model, "MAX_WORK", 100)
    model = fit_classes(200, 5)
    assert isinstance(model.classifier, MultinomialNB)
    texts, labels = make_classes(100, 5, 3)
    assert (model.predict(texts).argmax(axis=1) == labels).mean() > 0.9


def test_weights_beyond_the_limit_leave_the_most_frequent_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fit_classes(200, 5).columns
    monkeypatch.setattr(linear_model, "MAX_WEIGHTS", 5 * 20)
    kept = fit_classes(200, 5).columns
    assert len(whole) > len(kept) == 20
    common = ngrams.count_ngrams([" ".join(f"w{1000 + number}" for number in range(20))], "words").indices
    assert len(set(kept.tolist()) & set(common.tolist())) > 15


def test_class_without_a_training_text_gets_no_probability() -> None:
    texts, labels = make_classes(80, 3, 1)
    model = linear_model.fit(sample(texts, labels + (labels == 2)), sample(texts, labels), 4, "words")
    assert (model.predict(texts)[:, 2] == 0).all()


def test_one_label_is_refused() -> None:
    with pytest.raises(ValueError, match="the training part's sample has one label only"):
        linear_model.fit(sample(["a", "b"], np.zeros(2, dtype=int)), sample([], np.zeros(0, dtype=int)), 2, "words")


def test_words_that_occur_once_count_where_there_are_no_others() -> None:
    made = sample(["good", "bad"], np.array([1, 0]))
    model = linear_model.fit(made, sample(["good"], np.array([1])), 2, "words")
    assert model.predict(["good"])[0, 1] > 0.5 > model.predict(["bad"])[0, 1]
    assert model.predict(["", "other"]).shape == (2, 2)


def test_predictions_depend_on_no_order_and_no_pieces() -> None:
    texts, labels = make_classes(150, 2, 1)
    turned = sample(texts[::-1], labels[::-1], size=40)
    held_out = make_classes(40, 2, 2)
    models = [linear_model.fit(one, sample(*held_out), 2, "words") for one in (sample(texts, labels), turned)]
    first, second = (model.predict(texts) for model in models)
    assert first.tobytes() == second.tobytes()


def test_sample_is_bounded_and_depends_on_no_order() -> None:
    texts, labels = make_classes(400, 2, 1)
    whole, some = sample(texts, labels), sample(texts, labels, limit=800)
    turned = sample(texts[::-1], labels[::-1], limit=800, size=90)
    assert (some.total, turned.total, whole.share) == (400, 400, 1)
    assert some.share == turned.share in (1 / 4, 1 / 8)
    (counts, own), (others, theirs) = some.take(), turned.take()
    assert counts.nnz <= 800
    assert 0.5 < counts.shape[0] / (400 * some.share) < 1.6
    assert (counts != others).nnz == 0
    assert (own == theirs).all()


def test_rarities_are_those_of_scikit_learn() -> None:
    counts = ngrams.count_ngrams(make_classes(50, 3, 1)[0], "words")
    columns = np.unique(counts.indices)
    counts = counts[:, columns]
    texts_with = np.bincount(counts.indices, minlength=len(columns))
    expected = TfidfTransformer(sublinear_tf=True).fit_transform(counts)
    weighed = linear_model.weigh(counts, linear_model.compute_rarities(texts_with, 50), 3)
    assert abs(weighed - expected).max() < 1e-6


def test_log_ratios_are_those_by_hand() -> None:
    counts = ngrams.count_ngrams(["a a", "a", "b"], "characters")
    columns = np.unique(counts.indices)
    ratios = linear_model.compute_log_ratios(counts[:, columns], np.array([1, 1, 0]))
    by_column = dict(zip(columns.tolist(), ratios.tolist(), strict=True))
    a, b = (int(ngrams.count_ngrams([text], "characters").indices[0]) for text in "ab")
    # Of label 1: a in two texts, aa in one; of label 0: b in one. Each column counts one more, three columns.
    assert by_column[a] == pytest.approx(np.log((3 / 6) / (1 / 4)), rel=1e-6)
    assert by_column[b] == pytest.approx(np.log((1 / 6) / (2 / 4)), rel=1e-6)


def test_regressions_of_hundreds_of_classes_that_would_take_minutes_are_left_out() -> None:
    """500 classes and 6,000 texts of 8 words are 46 million counts: 10 seconds for each of three regressions."""
    kinds = [type(linear_model.make_classifiers(work, 500)[0]).__name__ for work in (46_000_000, 150_000_000)]
    assert kinds == ["OneVsRestClassifier", "MultinomialNB"]
