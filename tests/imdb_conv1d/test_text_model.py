from pathlib import Path

import keras
import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from imdb_conv1d import networks, table_convolution, text_model, tokenizer
from imdb_conv1d.parameters import TrainParameters
from tracked.predict.places import place

SMALL = TrainParameters(maxlen=6, max_features=8, embedding_dims=4, filters=5, hidden_dims=3)
TEXTS = ["Good, good!", "bad<br />film " * 9, "", "été", "It’s good"]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[keras.Model, Path, Path]:
    """A network, its vocabulary and the folder of the saved text model."""
    folder = tmp_path_factory.mktemp("model")
    keras.utils.set_random_seed(0)
    network = networks.build(SMALL).plain
    chance = np.random.default_rng(0)
    network.set_weights([chance.normal(size=weight.shape) for weight in network.get_weights()])
    tokenizer.write_vocabulary(folder / "vocabulary.txt", [*tokenizer.RESERVED, "good", "bad", "film", "été", "it's"])
    classifier = text_model.TextClassifier(network, folder / "vocabulary.txt", SMALL.maxlen)
    tf.saved_model.save(classifier, str(folder / "saved"))
    return network, folder / "vocabulary.txt", folder / "saved"


def test_text_model_scores_texts_as_the_network_their_ids(parts: tuple[keras.Model, Path, Path]) -> None:
    network, vocabulary, saved = parts
    split = tokenizer.tokenize(tf.constant(TEXTS))
    ids = tokenizer.to_ids(split, tokenizer.make_lookup(vocabulary), SMALL.maxlen)
    expected = network.predict(ids, verbose=0)[:, 0]
    vocabulary.rename(vocabulary.with_suffix(".gone"))  # the saved model must not need it
    found = tf.saved_model.load(str(saved))(tf.constant(TEXTS)).numpy()
    vocabulary.with_suffix(".gone").rename(vocabulary)
    assert found.shape == (5,)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert len(set(found.round(6))) > 2  # scores differ


def test_text_model_scores_words_after_a_nul(parts: tuple[keras.Model, Path, Path]) -> None:
    loaded = tf.saved_model.load(str(parts[2]))
    with_nul, with_blank, before = loaded(tf.constant(["good\0bad film", "good bad film", "good"])).numpy()
    assert with_nul == with_blank != before


def test_text_model_scores_any_number_of_texts_in_order(parts: tuple[keras.Model, Path, Path]) -> None:
    loaded = tf.saved_model.load(str(parts[2]))
    many = [TEXTS[number % 5] for number in range(text_model.CHUNK * 2 + 3)]
    single = loaded(tf.constant(TEXTS)).numpy()
    np.testing.assert_allclose(loaded(tf.constant(many)).numpy(), single[np.arange(len(many)) % 5], atol=1e-6)
    assert loaded(tf.constant([], tf.string)).shape == (0,)


MANY = 4


@pytest.fixture(scope="module")
def many(parts: tuple[keras.Model, Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[keras.Model, Path]:
    """A network of four classes and the folder of its saved text model."""
    network = networks.build(SMALL, classes=MANY).plain
    chance = np.random.default_rng(0)
    network.set_weights([chance.normal(size=weight.shape) for weight in network.get_weights()])
    saved = tmp_path_factory.mktemp("many") / "saved"
    tf.saved_model.save(text_model.TextClassifier(network, parts[1], SMALL.maxlen), str(saved))
    return network, saved


def test_text_model_of_many_classes_gives_each_its_probability(
    parts: tuple[keras.Model, Path, Path], many: tuple[keras.Model, Path]
) -> None:
    network, saved = many
    texts = [TEXTS[number % 5] for number in range(text_model.CHUNK + 3)]
    ids = tokenizer.to_ids(tokenizer.tokenize(tf.constant(texts)), tokenizer.make_lookup(parts[1]), SMALL.maxlen)
    loaded = tf.saved_model.load(str(saved))
    found, logits = loaded(tf.constant(texts)).numpy(), loaded.logits(tf.constant(texts)).numpy()
    assert (found.shape, found.dtype) == ((len(texts), MANY), np.float64)
    assert (logits.shape, logits.dtype) == ((len(texts), MANY), np.float32)
    np.testing.assert_allclose(found, network.predict(ids, verbose=0), atol=1e-6)
    np.testing.assert_allclose(found, scipy.special.softmax(logits.astype(float), axis=1), rtol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)
    assert loaded(tf.constant([], tf.string)).shape == (0, MANY)


def test_logits_of_certain_texts_give_an_exact_loss(tmp_path: Path) -> None:
    network = networks.build(SMALL).plain
    weights = [np.zeros_like(weight) for weight in network.get_weights()]
    weights[-1] = np.array([60.0])  # the last bias: every text scores a logit of 60
    network.set_weights(weights)
    tokenizer.write_vocabulary(tmp_path / "v.txt", [*tokenizer.RESERVED, "good"])
    classifier = text_model.TextClassifier(network, tmp_path / "v.txt", SMALL.maxlen)
    assert classifier.logits(tf.constant(["good"])).numpy().tolist() == [60.0]
    assert classifier(tf.constant(["good"])).numpy().tolist() == [1.0]


def test_text_model_gives_few_texts_and_many_the_same_up_to_rounding(parts: tuple[keras.Model, Path, Path]) -> None:
    loaded, enough = tf.saved_model.load(str(parts[2])), table_convolution.PAYS * SMALL.max_features // SMALL.maxlen
    assert 1 < enough < len(TEXTS)
    single = [loaded.logits(tf.constant([text])).numpy()[0] for text in TEXTS]  # by the network's own layers
    np.testing.assert_allclose(loaded.logits(tf.constant(TEXTS)).numpy(), single, rtol=1e-5, atol=1e-5)


def test_text_model_by_tables_gives_a_text_the_same_bits_among_any_others(
    parts: tuple[keras.Model, Path, Path],
) -> None:
    loaded, chance = tf.saved_model.load(str(parts[2])), np.random.default_rng(0)
    texts = np.array([TEXTS[number % 5] + " good" * (number % 7) for number in range(100)], dtype=object)

    def answer(texts: np.ndarray) -> np.ndarray:
        placed, places = place(texts, text_model.CHUNK, "")  # as a scorer does: not in every place on every CPU
        return np.asarray(loaded(placed))[places]

    order = chance.permutation(len(texts))
    assert np.array_equal(answer(texts[order]), answer(texts)[order])
