"""The scorer of texts: answers equal to the model's, bad rows, what is observed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from helpers.reviews import make_reviews, read_part
from imdb_conv1d import dataset, networks, sources, text_model, text_observations, tokenizer
from imdb_conv1d.experiment import EXPERIMENT
from imdb_conv1d.numbered_texts import NumberedTexts
from imdb_conv1d.parameters import PredictParameters, TrainParameters
from imdb_conv1d.text_scorer import TextScorer
from tracked.analysis.observations import Counts
from tracked.console.errors import UserError
from tracked.console.parameters import Parameters
from tracked.experiment import Request, TrainedOn

# So many hidden units that a product of all of them is one of a library's larger kernels.
SMALL = TrainParameters(maxlen=6, max_features=8, embedding_dims=4, filters=40, hidden_dims=64)
VOCABULARY = [*tokenizer.RESERVED, "good", "bad", "film", "été", "it's"]
TEXTS = ["Good, good!", "bad<br />film " * 9, "!", "été", "It’s good", "unknown words good"]
# A logit adds up some hundred products, in an order that depends on the CPU and on the number of texts; each addition
# rounds by 2⁻²⁴ of what it has got so far, which is of the size of the largest logits.
ROUNDING = 200 * 2.0**-24


class Pyfunc:
    """What a scorer needs of an ``mlflow.pyfunc.PyFuncModel``."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def get_raw_model(self) -> Any:
        return self._raw

    def predict(self, texts: Any) -> Any:
        return self._raw(tf.constant(np.asarray(texts, dtype=object))).numpy()


class WithoutIds:
    """A model as versions before have stored it: without ``logits_of_ids``."""

    def __init__(self, raw: Any) -> None:
        self._raw, self.words = raw, raw.words

    def __call__(self, texts: Any) -> Any:
        return self._raw(texts)


class Scaled:
    """A model with logits of any size; they are those of its ids alone."""

    def __init__(self, raw: Any) -> None:
        self._raw, self.words = raw, raw.words

    def logits_of_ids(self, ids: np.ndarray) -> tf.Tensor:
        wide = self._raw.logits_of_ids(ids).shape.rank == 2
        known = np.random.default_rng(0).normal(scale=5, size=(997, 4)).astype(np.float32)
        logits = known[ids @ 7 ** np.arange(ids.shape[1]) % len(known)]
        return tf.constant(logits if wide else logits[:, 0])


@pytest.fixture(scope="module", params=[2, 4])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, Any]]:
    """A model that was saved and loaded, and its metadata."""
    folder: Path = tmp_path_factory.mktemp("model")
    network = networks.build(SMALL, classes=request.param).plain
    chance = np.random.default_rng(0)
    network.set_weights([chance.normal(size=weight.shape) for weight in network.get_weights()])
    tokenizer.write_vocabulary(folder / "vocabulary.txt", VOCABULARY)
    classifier = text_model.TextClassifier(network, folder / "vocabulary.txt", SMALL.maxlen)
    tf.saved_model.save(classifier, str(folder / "saved"))
    labels = ["no", "yes"] if request.param == 2 else ["a", "b", "c", "d"]
    metadata = {"labels": labels, "tokens": "words", "maxlen": SMALL.maxlen, "read_as": {"text_column": "body"}}
    return tf.saved_model.load(str(folder / "saved")), metadata


def open_scorer(loaded: tuple[Any, dict[str, Any]], **parameters: Any) -> TextScorer:
    given = PredictParameters(data="x.csv", output="out", **parameters)
    return EXPERIMENT.open_scorer(Pyfunc(loaded[0]), Request("x.csv", True, given, loaded[1]))


class ServingParameters(Parameters):
    """Parameters of a verb that reads no table: without columns and an encoding."""


def online(loaded: tuple[Any, dict[str, Any]]) -> Request:
    return Request("", True, ServingParameters(), loaded[1], online=True)


def open_online(loaded: tuple[Any, dict[str, Any]]) -> TextScorer:
    return EXPERIMENT.open_scorer(Pyfunc(loaded[0]), online(loaded))


def test_answers_are_the_models_own(loaded: tuple[Any, dict[str, Any]]) -> None:
    scorer, names = open_scorer(loaded), np.array(loaded[1]["labels"], dtype=object)
    table = pd.DataFrame({"body": TEXTS}, index=range(7, 13))
    answers, expected = scorer.answer(table), loaded[0](tf.constant(TEXTS)).numpy()
    chosen = (expected > 0.5).astype(int) if expected.ndim == 1 else expected.argmax(axis=1)
    assert list(answers.index) == list(table.index)
    assert list(answers["predicted"]) == list(names[chosen])
    assert {name: str(dtype) for name, dtype in answers.dtypes.items()} == dict(scorer.columns)
    wanted = expected if expected.ndim == 1 else expected.max(axis=1)
    np.testing.assert_allclose(answers["probability"], wanted, atol=1e-6)


def test_answers_are_described_from_the_models_own_output(loaded: tuple[Any, dict[str, Any]]) -> None:
    scorer, table = open_scorer(loaded), pd.DataFrame({"body": TEXTS}, index=range(7, 13))
    output = scorer.predict(table)
    assert (output.shape, output.dtype) == ((6,) if scorer.classes.is_binary else (6, 4), np.float64)
    np.testing.assert_allclose(output, Pyfunc(loaded[0]).predict(TEXTS), atol=1e-6)
    described = scorer.describe(output)
    assert described.index.equals(pd.RangeIndex(6))
    pd.testing.assert_frame_equal(described.set_axis(table.index), scorer.answer(table), check_exact=True)


def test_online_answers_are_those_of_the_model_alone_and_among_others(loaded: tuple[Any, dict[str, Any]]) -> None:
    chance = np.random.default_rng(3)
    texts = [" ".join(chance.choice(["good", "Film!", "bad,", "été", "unknown"], size)) or "!" for size in range(40)]
    expected = Pyfunc(loaded[0]).predict(texts)
    for model in (loaded[0], WithoutIds(loaded[0])):
        scorer = open_online((model, loaded[1]))
        together = scorer.predict(pd.DataFrame({"body": texts}))
        alone = np.concatenate([scorer.predict(pd.DataFrame({"body": [text]})) for text in texts])
        # Where logits move, the logarithm of a probability moves by at most twice as much.
        rounded = 2 * ROUNDING * max(1.0, np.abs(loaded[0].logits(tf.constant(texts))).max())
        np.testing.assert_allclose(together, expected, rtol=rounded, atol=np.finfo(np.float32).tiny)
        np.testing.assert_allclose(alone, expected, rtol=rounded, atol=np.finfo(np.float32).tiny)


def test_online_answers_do_not_call_the_model(
    loaded: tuple[Any, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, table = Pyfunc(loaded[0]), pd.DataFrame({"body": TEXTS}, index=range(7, 13))
    scorer, expected = EXPERIMENT.open_scorer(model, online(loaded)), open_scorer(loaded).answer(table)
    monkeypatch.setattr(model, "predict", lambda texts: pytest.fail("called"))
    pd.testing.assert_frame_equal(scorer.answer(table), expected, check_exact=False, rtol=0, atol=1e-6)
    assert scorer.observe(table, expected) == open_scorer(loaded).observe(table, expected)


def test_explanation_of_an_online_answer_is_the_text_in_pieces(loaded: tuple[Any, dict[str, Any]]) -> None:
    scorer, parts = open_online(loaded), 0
    for text in TEXTS:
        found = scorer.explain(pd.DataFrame({"body": [text]})) or pytest.fail("not explained")
        assert "".join(piece["text"] for piece in found["pieces"]) == text
        assert {part["note"].split()[1].rstrip("s") for part in found["parts"]} <= {"filter"}
        assert json.loads(json.dumps(found)) == found
        parts += len(found["parts"])
    assert parts


def test_model_of_another_network_or_length_is_not_explained(loaded: tuple[Any, dict[str, Any]]) -> None:
    table = pd.DataFrame({"body": TEXTS[:1]})
    assert open_online((WithoutIds(loaded[0]), loaded[1])).explain(table) is None
    unknown = {name: value for name, value in loaded[1].items() if name != "maxlen"}
    assert open_online((loaded[0], unknown)).explain(table) is None


def test_answers_of_a_model_without_ids_are_the_same_up_to_rounding(loaded: tuple[Any, dict[str, Any]]) -> None:
    table = pd.DataFrame({"body": TEXTS})
    former = open_scorer((WithoutIds(loaded[0]), loaded[1])).answer(table)
    now = open_scorer(loaded).answer(table)
    assert list(former["predicted"]) == list(now["predicted"])
    np.testing.assert_allclose(former["probability"], now["probability"], atol=1e-6)


def test_bits_of_an_answer_do_not_depend_on_the_other_rows(loaded: tuple[Any, dict[str, Any]]) -> None:
    chance = np.random.default_rng(1)
    texts = [TEXTS[number % 6] + " good" * (number % 7) for number in range(text_model.CHUNK * 2 + 3)]
    scorer, order = open_scorer(loaded), chance.permutation(len(texts))
    whole = scorer.answer(pd.DataFrame({"body": texts}))["probability"].to_numpy()
    shuffled = scorer.answer(pd.DataFrame({"body": [texts[place] for place in order]}))["probability"].to_numpy()
    assert np.array_equal(shuffled, whole[order])
    few = scorer.answer(pd.DataFrame({"body": texts[:5]}))["probability"].to_numpy()
    assert np.array_equal(few, whole[:5])


def test_bits_of_an_answer_do_not_depend_on_the_number_of_rows(loaded: tuple[Any, dict[str, Any]]) -> None:
    chance = np.random.default_rng(1)
    texts = [" ".join(chance.choice(VOCABULARY[-5:], 6)) for _ in range(70)]
    scorer, table = open_scorer((Scaled(loaded[0]), loaded[1])), pd.DataFrame({"body": texts})
    answers = scorer.answer(table)
    for count in range(1, len(texts)):
        pd.testing.assert_frame_equal(scorer.answer(table[:count]), answers[:count], check_exact=True)


def test_no_rows_have_no_answers(loaded: tuple[Any, dict[str, Any]]) -> None:
    scorer = open_scorer(loaded)
    answers = scorer.answer(pd.DataFrame({"body": pd.Series([], dtype=object)}))
    assert {name: str(dtype) for name, dtype in answers.dtypes.items()} == dict(scorer.columns)


def test_bad_rows_are_told_with_a_reason_without_their_text(loaded: tuple[Any, dict[str, Any]]) -> None:
    values = ["good", "", "  \n", None, 7, np.nan, {"a": 1}, "!"]
    table = pd.DataFrame({"body": pd.Series(values, dtype=object, index=range(10, 18))})
    assert open_scorer(loaded).find_bad(table) == {
        11: "an empty text", 12: "an empty text", 13: "no text", 14: "no text but int", 15: "no text",
        16: "no text but dict",
    }  # fmt: skip


def test_several_columns_are_joined_by_line_breaks(loaded: tuple[Any, dict[str, Any]]) -> None:
    table = pd.DataFrame({"subject": ["good", None, None, 3], "body": ["film", "bad", None, "good"]}, dtype=object)
    scorer = open_scorer(loaded, text_column="subject,body")
    assert scorer.find_bad(table) == {2: "no text", 3: "no text but int"}
    alone = open_scorer(loaded).answer(pd.DataFrame({"body": ["good\nfilm", "\nbad"]}))
    assert scorer.answer(table[:2]).equals(alone)


def test_observed_rows_are_counted_once_in_each_thing(loaded: tuple[Any, dict[str, Any]]) -> None:
    scorer, table = open_scorer(loaded), pd.DataFrame({"body": TEXTS})
    seen = scorer.observe(table, scorer.answer(table))
    counts = {name: Counts.read(name, values) for name, values in seen.items()}
    assert {name: one.rows for name, one in counts.items()} == dict.fromkeys(counts, len(TEXTS))
    assert list(counts)[:3] == ["words of a text", "unknown words in percent", "predicted label"]
    assert seen["words of a text"]["up_to"] | {"0": 1, "2": 3, "4": 1, "32": 1} == seen["words of a text"]["up_to"]
    assert seen["unknown words in percent"]["up_to"] | {"0": 5, "inf": 1} == seen["unknown words in percent"]["up_to"]
    assert scorer.observe_texts(TEXTS) == seen


def test_inputs_are_those_of_the_training_unless_others_are_given(loaded: tuple[Any, dict[str, Any]]) -> None:
    def find(**parameters: Any) -> tuple[list[str], str]:
        given = PredictParameters(data="x.csv", output="out", **parameters)
        found = EXPERIMENT.find_inputs(Request("x.csv", True, given, loaded[1]))
        return list(found.columns), found.encoding

    assert find() == (["body"], "utf-8")
    assert find(text_column="a, b", encoding="latin-1") == (["a", "b"], "iso8859-1")
    with pytest.raises(UserError, match="encoding: 'x'"):
        find(encoding="x")


def test_inputs_of_a_verb_without_a_table_are_those_of_the_training(loaded: tuple[Any, dict[str, Any]]) -> None:
    found = EXPERIMENT.find_inputs(online(loaded))
    assert (list(found.columns), found.encoding) == (["body"], "utf-8")


@pytest.fixture
def of_reviews(loaded: tuple[Any, dict[str, Any]], reviews_csv: Path) -> tuple[TextScorer, TrainedOn]:
    """A scorer of two labels, and what says that it was trained on some reviews."""
    metadata = {**loaded[1], "labels": ["0", "1"], "read_as": {}}
    digest = dataset.load(sources.resolve(str(reviews_csv)), 0.2).digest
    return open_scorer((loaded[0], metadata)), TrainedOn(
        None, digest, {"validation_split": "0.2"}, str(reviews_csv), metadata
    )


@pytest.mark.parametrize("loaded", [2], indirect=True)
def test_training_is_observed_in_its_validation_part(
    of_reviews: tuple[TextScorer, TrainedOn], monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer, trained_on = of_reviews
    part = read_part(dataset.load(sources.resolve(trained_on.source), 0.2), "validation")
    assert EXPERIMENT.observe_training(scorer, trained_on) == scorer.observe_texts(part["text"].tolist())
    monkeypatch.setattr(text_observations, "MAX_REFERENCE", 7)
    assert EXPERIMENT.observe_training(scorer, trained_on) == scorer.observe_texts(part["text"].tolist()[:7])


@pytest.mark.parametrize("loaded", [2], indirect=True)
def test_training_whose_data_have_changed_is_not_observed(of_reviews: tuple[TextScorer, TrainedOn]) -> None:
    scorer, trained_on = of_reviews
    make_reviews(120).to_csv(trained_on.source, index=False)
    with pytest.raises(UserError, match="changed since the training"):
        EXPERIMENT.observe_training(scorer, trained_on)


@given(st.lists(st.text(st.sampled_from("good bad film été it's x!<>/br"), max_size=60), max_size=8))
def test_ids_of_any_texts_are_those_of_the_tokenizer(texts: list[str]) -> None:
    for maxlen in (1, 3, 6):
        numbered = NumberedTexts.of(texts, "words", TABLE)
        split = tokenizer.tokenize(tf.constant(texts, tf.string))
        assert np.array_equal(numbered.pad(maxlen), tokenizer.to_ids(split, TABLE, maxlen).numpy())
        if len(texts) > 2:
            assert np.array_equal(numbered.pad(maxlen, 1, 3), numbered.pad(maxlen)[1:3])


TABLE = tf.lookup.StaticHashTable(
    tf.lookup.KeyValueTensorInitializer(VOCABULARY, tf.range(len(VOCABULARY), dtype=tf.int64)), tokenizer.UNKNOWN
)
