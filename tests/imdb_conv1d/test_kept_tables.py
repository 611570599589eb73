"""Kept tables give what the loaded model gives, of any text among any others; or there are none."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from imdb_conv1d import networks, text_model, tokenizer
from imdb_conv1d.kept_tables import KeptTables
from imdb_conv1d.parameters import TrainParameters

MAXLEN = 8
VOCABULARY = [*tokenizer.RESERVED, "good", "bad", "film", "été", "it's", "o"]
WORDS = ["Good", "bad,", "film<br />", "ÉTÉ", "it’s", "unknown", "...", "o"]
CASES = [(3, 2, "words"), (3, 4, "words"), (1, 2, "words"), (2, 3, "words"), (MAXLEN, 2, "words"), (3, 2, "characters")]


def save(folder: Path, kernel_size: int, classes: int, tokens: str) -> Any:
    """A text model with random weights as it is loaded."""
    parameters = TrainParameters(
        maxlen=MAXLEN, max_features=9, embedding_dims=4, filters=7, hidden_dims=3, kernel_size=kernel_size
    )
    network = networks.build(parameters, classes=classes).plain
    chance = np.random.default_rng(kernel_size)
    network.set_weights([chance.normal(size=weight.shape) for weight in network.get_weights()])
    tokenizer.write_vocabulary(folder / "vocabulary.txt", VOCABULARY)
    classifier = text_model.TextClassifier(network, folder / "vocabulary.txt", MAXLEN, tokens)
    tf.saved_model.save(classifier, str(folder / "saved"))
    return tf.saved_model.load(str(folder / "saved"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int, str], tuple[Any, KeptTables]]:
    """Loaded models and their kept tables."""
    found = {}
    for case in CASES:
        model, (_, classes, tokens) = save(tmp_path_factory.mktemp("model"), *case), case
        kept = KeptTables.of(model, 1 if classes == 2 else classes, MAXLEN, tokens)
        found[case] = model, kept or pytest.fail(f"{case} has no tables")
    return found


@pytest.mark.slow
@given(st.sampled_from(CASES), st.lists(st.lists(st.sampled_from(WORDS), max_size=2 * MAXLEN), max_size=5))
def test_probabilities_of_any_texts_are_the_models(
    models: dict[tuple[int, int, str], tuple[Any, KeptTables]], case: tuple[int, int, str], texts: list[list[str]]
) -> None:
    (model, kept), joined = models[case], [" ".join(text) for text in texts]
    found = kept.predict(joined)
    assert found.dtype == np.float64
    assert found.shape == ((len(texts),) if case[1] == 2 else (len(texts), case[1]))
    np.testing.assert_allclose(found, model(tf.constant(joined, tf.string)).numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_text_of_any_length_has_the_same_answer_alone_and_among_others(
    models: dict[tuple[int, int, str], tuple[Any, KeptTables]], case: tuple[int, int, str]
) -> None:
    model, kept = models[case]
    chance = np.random.default_rng(0)
    texts = [" ".join(chance.choice(WORDS, size)) for size in [*range(2 * MAXLEN), MAXLEN - 1, MAXLEN, 500]]
    together = kept.predict(texts)
    alone = np.concatenate([kept.predict([text]) for text in texts])
    np.testing.assert_allclose(alone, together, rtol=0, atol=1e-6)
    np.testing.assert_allclose(alone, np.concatenate([model(tf.constant([text])) for text in texts]), rtol=0, atol=1e-6)
    assert len(set(together.reshape(len(texts), -1)[:, 0].round(6))) > 2  # answers differ


def replace(model: Any, **others: Any) -> SimpleNamespace:
    """The same model with other members."""
    members = {"weights": model.weights, "words": model.words, "logits": model.logits}
    return SimpleNamespace(**(members | others))


OTHERS: dict[str, Callable[[Any], Any]] = {
    "a gated network": lambda model: replace(model, ngrams=object()),
    "more layers": lambda model: replace(model, weights=[*model.weights, *model.weights[-2:]]),
    "no convolution": lambda model: replace(model, weights=[model.weights[0], *model.weights[3:]]),
    "layers that do not fit": lambda model: replace(
        model, weights=[*model.weights[:2], *model.weights[3:], tf.ones(2)]
    ),
    "no weights": lambda model: replace(model, weights=[]),
    "other logits": lambda model: replace(model, logits=lambda texts: model.logits(texts) + 1e-3),
    "logits that are no numbers": lambda model: replace(model, logits=lambda texts: model.logits(texts) * np.nan),
    "a vocabulary larger than its embedding": lambda model: replace(
        model, weights=[model.weights[0][:-1], *model.weights[1:]]
    ),
    "a foreign one": lambda model: SimpleNamespace(weights=model.weights),
}


@pytest.mark.parametrize("other", OTHERS)
def test_other_model_has_no_tables(models: dict[tuple[int, int, str], tuple[Any, KeptTables]], other: str) -> None:
    model, _ = models[CASES[0]]
    assert KeptTables.of(replace(model), 1, MAXLEN, "words")
    assert KeptTables.of(OTHERS[other](model), 1, MAXLEN, "words") is None


@pytest.mark.parametrize(
    ("outputs", "maxlen", "tokens"),
    [(3, MAXLEN, "words"), (1, 0, "words"), (1, 2, "words"), (1, MAXLEN - 1, "words"), (1, MAXLEN, "characters")],
)
def test_model_of_other_metadata_has_no_tables(
    models: dict[tuple[int, int, str], tuple[Any, KeptTables]], outputs: int, maxlen: int, tokens: str
) -> None:
    assert KeptTables.of(models[CASES[0]][0], outputs, maxlen, tokens) is None


def test_model_whose_tables_would_be_large_has_none(
    models: dict[tuple[int, int, str], tuple[Any, KeptTables]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, size = models[CASES[0]][0], 4 * 3 * 9 * 7
    monkeypatch.setattr("imdb_conv1d.kept_tables.MAX_BYTES", size)
    assert KeptTables.of(model, 1, MAXLEN, "words")
    monkeypatch.setattr("imdb_conv1d.kept_tables.MAX_BYTES", size - 1)
    assert KeptTables.of(model, 1, MAXLEN, "words") is None
