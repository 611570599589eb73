"""Explanations of a stored model: its own logits, the windows' words, the text in pieces."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from helpers.gated import build_network, fit_ngrams, make_parameters
from imdb_conv1d import networks, text_model, tokenizer
from imdb_conv1d.explanation import Explanation, Piece, tabulate
from imdb_conv1d.labels import Classes
from imdb_conv1d.ngram_lookup import NgramLookup
from imdb_conv1d.parameters import TrainParameters
from imdb_conv1d.schema import EXPLANATION_COLUMNS
from imdb_conv1d.text_explainer import Explainer

SMALL = TrainParameters(maxlen=6, max_features=8, embedding_dims=4, filters=5, hidden_dims=3)
VOCABULARY = [*tokenizer.RESERVED, "good", "bad", "film", "été", "it's"]
BINARY = Classes(("negative", "positive"))
TEXTS = ["Good, good!", "bad<br />film " * 9, "...", "Été", "It’s a GOOD film\nor\tbad"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A text model as it is loaded."""
    folder = tmp_path_factory.mktemp("model")
    keras.utils.set_random_seed(0)
    network = networks.build(SMALL).plain
    chance = np.random.default_rng(1)
    network.set_weights([chance.normal(size=weight.shape) for weight in network.get_weights()])
    tokenizer.write_vocabulary(folder / "vocabulary.txt", VOCABULARY)
    classifier = text_model.TextClassifier(network, folder / "vocabulary.txt", SMALL.maxlen)
    tf.saved_model.save(classifier, str(folder / "saved"))
    return tf.saved_model.load(str(folder / "saved"))


@pytest.fixture(scope="module")
def explainer(saved: Any) -> Explainer:
    return Explainer(saved, BINARY, SMALL.maxlen)


def with_classes(saved: Any, classes: int, folder: Path) -> Any:
    """The same model with another last layer: a logit for each class."""
    chance = np.random.default_rng(2)
    *first, hidden_bias = (np.asarray(weight) for weight in saved.weights[:5])
    last = [chance.normal(size=(SMALL.hidden_dims, classes)), chance.normal(size=classes)]
    tokenizer.write_vocabulary(folder / "vocabulary.txt", VOCABULARY)
    table = tokenizer.make_lookup(folder / "vocabulary.txt")
    plain = keras.Sequential(list(networks.build(SMALL).plain.layers[:-2]))
    plain.build((None, SMALL.maxlen))
    plain.set_weights([*first, hidden_bias])

    def logits(texts: tf.Tensor) -> tf.Tensor:
        ids = tokenizer.to_ids(tokenizer.tokenize(texts), table, SMALL.maxlen)
        return tf.constant(np.asarray(plain(ids)) @ last[0] + last[1])

    return SimpleNamespace(weights=[*first, hidden_bias, *last], words=saved.words, logits=logits)


@pytest.mark.parametrize("text", TEXTS)
def test_prediction_of_an_explanation_is_the_models(saved: Any, explainer: Explainer, text: str) -> None:
    found = explainer.explain(text, "positive")
    probability = float(saved(tf.constant([text])).numpy()[0])
    expected = ("positive", probability) if probability > 0.5 else ("negative", 1 - probability)
    assert found.predicted == expected[0]
    assert found.probability == pytest.approx(expected[1], abs=1e-6)
    assert found.logit == pytest.approx(np.log(found.probability / (1 - found.probability)))
    assert found.label == "positive"


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_of_an_explanation_are_the_text(explainer: Explainer, text: str) -> None:
    found = explainer.explain(text)
    assert "".join(piece.text for piece in found.pieces) == text
    assert found.is_own_text


def test_pieces_know_what_the_model_reads_and_knows(explainer: Explainer) -> None:
    pieces = explainer.explain("Good film of it’s été and bad film").pieces
    words = [piece for piece in pieces if piece.effect is not None]
    assert [piece.text for piece in words if not piece.is_known] == ["of", "and"]
    assert [piece.text for piece in words if not piece.is_read] == ["Good", "film"]
    assert [piece.effect for piece in words if not piece.is_read] == [0.0, 0.0]
    assert [piece.text for piece in pieces if piece.effect is None and not piece.is_read] == [" ", " "]


def test_windows_are_words_of_the_text_and_add_up_over_each_word(explainer: Explainer) -> None:
    text = "A good<br />FILM... bad"
    found = explainer.explain(text)
    allowed = {
        "[padding] [start] A": 0, "[start] A good": 0, "A good FILM": 1, "good FILM... bad": 2,
    }  # fmt: skip
    assert {window.words: window.first for window in found.windows}.items() <= allowed.items()
    assert found.windows
    words = {piece.text: piece.effect for piece in found.pieces if piece.effect is not None}
    for word, effect in words.items():
        parts = (window.effect for window in found.windows if word in window.words.replace("...", "").split())
        assert effect == pytest.approx(sum(parts))
    assert all(window.share == window.filters / SMALL.filters for window in found.windows)


def test_text_without_words_is_explained_by_its_start(explainer: Explainer) -> None:
    found = explainer.explain("...")
    assert found.pieces == (Piece("..."),)
    assert {window.words for window in found.windows} == {"[padding] [start]"}


def test_words_stand_for_a_text_in_which_they_are_not_found(
    explainer: Explainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imdb_conv1d.text_explainer.find_spans", lambda text, words: None)
    found = explainer.explain("Good, FILM!")
    assert ("".join(piece.text for piece in found.pieces), found.is_own_text) == ("good film", False)
    assert {window.words for window in found.windows} <= {
        "[padding] [start]", "[padding] [start] good", "[start] good film"
    }  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_prediction_of_many_classes_is_the_class_with_the_largest_logit(saved: Any, text: str, tmp_path: Path) -> None:
    model = with_classes(saved, 4, tmp_path)
    found = Explainer(model, Classes(("a", "b", "c", "d")), SMALL.maxlen).explain(text)
    logits = model.logits(tf.constant([text])).numpy()[0]
    assert found.predicted == "abcd"[logits.argmax()]
    assert found.logit == pytest.approx(logits.max())
    assert found.probability == pytest.approx(np.exp(logits.max()) / np.exp(logits).sum())


@pytest.mark.parametrize(
    ("labels", "maxlen", "fault"),
    [
        (("a", "b", "c"), 6, "has 1 outputs and maxlen 6, for 3 labels"),
        (("a", "b"), 2, "has 1 outputs and maxlen 2, for 2 labels"),
    ],
)
def test_model_with_other_labels_or_length_is_refused(
    saved: Any, labels: tuple[str, ...], maxlen: int, fault: str
) -> None:
    with pytest.raises(ValueError, match=fault):
        Explainer(saved, Classes(labels), maxlen)


def test_model_whose_weights_do_not_give_its_logits_is_refused(saved: Any) -> None:
    with pytest.raises(ValueError, match="gives the logits"):
        Explainer(saved, BINARY, SMALL.maxlen - 1).explain("good film bad film good bad film été")
    other = SimpleNamespace(weights=[], logits=saved.logits)
    with pytest.raises(ValueError, match="holds no weights and words"):
        Explainer(other, BINARY, SMALL.maxlen)


def test_table_has_the_first_windows_and_no_words_where_they_may_not_be_stored(explainer: Explainer) -> None:
    explanations: list[Explanation] = [explainer.explain(text, "negative") for text in TEXTS[:2]]
    table = tabulate(explanations, 2, with_words=True)
    assert list(table) == list(EXPLANATION_COLUMNS)
    assert table["number"].value_counts().max() <= 2
    assert table["effect"].iloc[0] == explanations[0].windows[0].effect
    assert "words" not in tabulate(explanations, 2, with_words=False)
    assert tabulate([], 2, with_words=True).empty


def save_gated(folder: Path, members: int, classes: int) -> Any:
    """A gated text model as it is loaded."""
    parameters = make_parameters(members)
    ngrams = fit_ngrams(parameters, classes)
    lookup = NgramLookup(ngrams, parameters.max_features, parameters.ngrams)
    tokenizer.write_vocabulary(folder / "vocabulary.txt", VOCABULARY)
    network = build_network(parameters, ngrams)
    classifier = text_model.TextClassifier(network, folder / "vocabulary.txt", parameters.maxlen, "words", lookup)
    tf.saved_model.save(classifier, str(folder / "saved"))
    return tf.saved_model.load(str(folder / "saved"))


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return save_gated(tmp_path_factory.mktemp("gated"), 1, 2)


@pytest.mark.parametrize("text", TEXTS)
def test_explanation_of_a_gated_model_adds_up_to_its_own_logit(gated: Any, text: str) -> None:
    found = Explainer(gated, BINARY, 12).explain(text, "positive")
    logit = float(gated.logits(tf.constant([text])).numpy()[0])
    assert found.predicted == ("positive" if logit > 0 else "negative")
    assert found.logit == pytest.approx(abs(logit), abs=1e-4)
    assert found.intercept is not None
    assert found.intercept + sum(window.effect for window in found.windows) == pytest.approx(found.logit, abs=1e-9)
    assert "".join(piece.text for piece in found.pieces) == text


def test_ngrams_of_a_gated_model_are_words_of_the_text_and_divided_among_them(gated: Any) -> None:
    found = Explainer(gated, BINARY, 12).explain("A good<br />FILM... bad")
    assert {window.words: window.first for window in found.windows}.items() <= {
        "[start]": 0, "[start] A": 0, "[start] A good": 0, "A": 1, "A good": 1, "A good FILM": 1, "good": 2,
        "good FILM": 2, "good FILM... bad": 2, "FILM": 3, "FILM... bad": 3, "bad": 4,
    }.items()  # fmt: skip
    assert {"good", "FILM", "bad"} <= {window.words for window in found.windows}
    for word, effect in ((piece.text, piece.effect) for piece in found.pieces if piece.effect is not None):
        every = [(window.words.replace("...", "").split(), window.effect) for window in found.windows]
        assert effect == pytest.approx(sum(effect / len(words) for words, effect in every if word in words))
    assert all((window.filters, window.share) == (None, None) for window in found.windows)
    assert all(window.gate is not None and 0 < window.gate < 2 for window in found.windows)


def test_explanation_of_a_gated_model_leaves_out_words_that_it_does_not_read(gated: Any) -> None:
    found = Explainer(gated, BINARY, 12).explain("été " + "good bad film " * 4)
    words = [piece for piece in found.pieces if piece.effect is not None]
    assert [piece.text for piece in words if not piece.is_read] == ["été"]
    assert not any("été" in window.words or "[start]" in window.words for window in found.windows)


def test_explanation_of_a_gated_model_of_members_and_classes_is_its_own_prediction(tmp_path: Path) -> None:
    model = save_gated(tmp_path, 2, 3)
    explainer = Explainer(model, Classes(("a", "b", "c")), 12)
    for text in TEXTS:
        found, logits = explainer.explain(text), model.logits(tf.constant([text])).numpy()[0].astype(float)
        assert found.predicted == "abc"[logits.argmax()]
        assert found.logit == pytest.approx(logits.max(), abs=1e-4)
        assert found.probability == pytest.approx(np.exp(logits.max()) / np.exp(logits).sum(), abs=1e-4)


def test_gated_model_that_does_not_fit_is_refused(gated: Any) -> None:
    with pytest.raises(ValueError, match="has 1 outputs and maxlen 12, for 3 labels"):
        Explainer(gated, Classes(("a", "b", "c")), 12)
    with pytest.raises(ValueError, match="gives the logits"):
        Explainer(gated, BINARY, 5).explain("good film bad film good bad film été")
    without = SimpleNamespace(weights=gated.weights, words=gated.words, logits=gated.logits)
    with pytest.raises(ValueError, match="are of another network"):
        Explainer(without, BINARY, 12)


def test_table_of_ngrams_has_gates_and_intercepts_and_no_filters(gated: Any) -> None:
    one = Explainer(gated, BINARY, 12).explain("a good film")
    table = tabulate([one], 3, with_words=True)
    assert list(table) == list(EXPLANATION_COLUMNS)
    assert table["gate"].tolist() == [window.gate for window in one.windows[:3]]
    assert set(table["intercept"]) == {one.intercept}
    assert table[["filters", "share"]].isna().all(axis=None)


def test_table_of_windows_has_no_gates(explainer: Explainer) -> None:
    table = tabulate([explainer.explain("a good film")], 3, with_words=True)
    assert table[["gate", "intercept"]].isna().all(axis=None)
    assert (table["filters"] > 0).all()
