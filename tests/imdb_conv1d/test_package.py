"""The registered model of many classes: its metadata, its check after loading back, and loading it without the code."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from mlflow.pyfunc import PyFuncModel

from helpers.shown_progress import record_progress
from helpers.stores import copied_store
from imdb_conv1d import networks, package, tokenizer
from imdb_conv1d.labels import Classes
from imdb_conv1d.parameters import TrainParameters
from tracked.experiment import Package
from tracked.models import loader, publisher

CLASSES = Classes(("<b>", "bill, paid", "card", "=1+1"))
SMALL = TrainParameters(
    maxlen=6, max_features=8, embedding_dims=4, filters=5, hidden_dims=3, tokens="words", label_column="intent"
)
TEXTS = ["Good, good!", "bad<br />film " * 9, "", "été", "It’s good"]
CODES = np.array([0, 1, 2, 3, 3])
METADATA = {
    "labels": list(CLASSES.names), "tokens": "words", "maxlen": 6, "network": "conv",
    "read_as": {
        "text_column": "text", "label_column": "intent", "positive_label": "auto", "encoding": "utf-8",
        "test_split": 0.2,
    },
}  # fmt: skip


@dataclass(frozen=True)
class MadeUp:
    """A dataset of five validation texts."""

    classes: Classes = CLASSES

    def count(self, part: str) -> int:
        return len(TEXTS)

    def positions(self, part: str) -> np.ndarray:
        return np.arange(10, 10 + len(TEXTS))

    def labels(self, part: str) -> np.ndarray:
        return CODES

    def read_texts(self, parts: list[str]) -> Iterator[tuple[np.ndarray, list[str]]]:
        for rows in ([3, 1], [0, 2, 4]):
            yield self.positions("validation")[rows], [TEXTS[row] for row in rows]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Package, keras.Model, Path]:
    """A package, the network that was saved, and its checkpoint."""
    folder = tmp_path_factory.mktemp("package")
    network = networks.build(SMALL, classes=len(CLASSES))
    chance = np.random.default_rng(0)
    network.plain.set_weights([chance.normal(size=weight.shape) for weight in network.plain.get_weights()])
    network.plain.save(folder / "best.keras")
    tokenizer.keep_vocabulary(folder, lambda: [*tokenizer.RESERVED, "good", "bad", "film", "été", "it's"])
    made = package.package(folder / "best.keras", folder, MadeUp(), SMALL)  # type: ignore[arg-type]
    return made, network.plain, folder / "best.keras"


@pytest.fixture(scope="module")
def stored(
    made: tuple[Package, keras.Model, Path], tmp_path_factory: pytest.TempPathFactory, empty_store: Path
) -> Iterator[tuple[str, Path]]:
    """The stored model's id and its folder."""
    folder = tmp_path_factory.mktemp("stored")
    with pytest.MonkeyPatch.context() as patch, copied_store(empty_store, folder, patch), mlflow.start_run():
        model_id = publisher.store_model("many", made[0], made[2], 1, {}, made[0].metadata)
        yield model_id, Path(mlflow.artifacts.download_artifacts(f"models:/{model_id}", dst_path=str(folder / "copy")))


@pytest.fixture(scope="module")
def loaded(stored: tuple[str, Path]) -> PyFuncModel:
    return loader.load(str(stored[1]))


def test_package_of_many_classes_names_its_labels(stored: tuple[str, Path], loaded: PyFuncModel) -> None:
    assert loaded.metadata.metadata == METADATA
    (output,) = loaded.metadata.signature.outputs.inputs
    assert (output.type, output.shape) == (np.dtype(float), (-1, 4))
    assert output.name == "probabilities of '<b>', 'bill, paid', 'card', '=1+1'"
    assert not [file for file in stored[1].rglob("*") if file.is_file() and not loader._is_data(file)]
    assert not list(stored[1].rglob("*.pkl"))


def test_stored_model_answers_arrays_series_and_tables(
    made: tuple[Package, keras.Model, Path], loaded: PyFuncModel
) -> None:
    ids = tokenizer.to_ids(tokenizer.tokenize(tf.constant(TEXTS)), made[0].model.words, SMALL.maxlen)
    expected = made[1].predict(ids, verbose=0)
    array = np.array(TEXTS, dtype=object)
    for texts in (array, pd.Series(TEXTS), pd.DataFrame({"anything": TEXTS})):
        found = loaded.predict(texts)
        assert (found.shape, found.dtype) == ((5, 4), np.float64)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert loaded.predict(array[:1]).shape == (1, 4)


def test_stored_model_loads_without_the_projects_code(
    stored: tuple[str, Path], loaded: PyFuncModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in ("imdb_conv1d", "tracked")]:
        monkeypatch.setitem(sys.modules, name, None)  # importing it fails
    found = mlflow.tensorflow.load_model(str(stored[1]))(tf.constant(TEXTS)).numpy()
    np.testing.assert_array_equal(found, loaded.predict(np.array(TEXTS, dtype=object)))


def test_loss_after_loading_back_equals_the_one_of_the_training(
    made: tuple[Package, keras.Model, Path], loaded: PyFuncModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = record_progress(monkeypatch, package)
    ids = tokenizer.to_ids(tokenizer.tokenize(tf.constant(TEXTS)), made[0].model.words, SMALL.maxlen)
    trained = made[1].evaluate(ids, CODES, verbose=0)[0]
    assert made[0].loss(loaded) == pytest.approx(trained, rel=1e-5)
    assert made[0].checked == "the 5 validation reviews"
    assert shown == [
        "checking the stored model: 2 of 5 texts, 2.0 a minute, 1.5 minutes left",
        "checking the stored model: 5 of 5 texts, 3.0 a minute, 0.0 seconds left",
    ]


class Counting:
    """A loaded model that counts the texts that it scores, by several threads; a text is the number of its row."""

    def __init__(self, logits: np.ndarray, probabilities: np.ndarray) -> None:
        self.rows, self.answers, self.scored, self.compared = logits, probabilities, list[int](), list[int]()

    def get_raw_model(self) -> "Counting":
        return self

    def logits(self, texts: np.ndarray) -> Any:
        self.scored += (numbers := texts.astype(int).tolist())
        return keras.ops.convert_to_tensor(self.rows[numbers])

    def predict(self, texts: np.ndarray) -> np.ndarray:
        self.compared += (numbers := texts.astype(int).tolist())
        return self.answers[numbers]


def pieces(rows: int, size: int = 400) -> Iterator[tuple[np.ndarray, list[str]]]:
    for start in range(0, rows, size):
        numbers = np.arange(start, min(start + size, rows))
        yield numbers % 2, [str(number) for number in numbers]


LOGITS = np.random.default_rng(0).normal(size=(2500, 3))
SOFTMAX = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
THREE, TWO = Classes(("a", "b", "c")), Classes(("0", "1"))


def test_check_scores_each_text_once_and_compares_a_sample() -> None:
    model = Counting(LOGITS, SOFTMAX)
    expected = -np.log(SOFTMAX[np.arange(2500), np.arange(2500) % 2]).mean()
    assert package.compute_loss(model, pieces(2500), THREE) == pytest.approx(expected, rel=1e-12)
    assert (sorted(model.scored), model.compared) == (list(range(2500)), list(range(package.SAMPLE)))
    odds = LOGITS[:, 0]
    model = Counting(odds, 1 / (1 + np.exp(-odds)))
    expected = (np.logaddexp(0, odds) - odds * (np.arange(2500) % 2)).mean()
    assert package.compute_loss(model, pieces(2500), TWO) == pytest.approx(expected, rel=1e-12)
    assert (sorted(model.scored), model.compared) == (list(range(2500)), list(range(package.SAMPLE)))


@pytest.mark.parametrize(
    ("logits", "probabilities", "classes", "message"),
    [
        (LOGITS, SOFTMAX + 2e-5, THREE, "gives probabilities up to 0.0000200 apart from those of its logits"),
        (LOGITS, SOFTMAX[:, :1], THREE, "gives probabilities of shape (256, 1), not (256, 3)"),
        (LOGITS, SOFTMAX * np.nan, THREE, "gives probabilities up to nan apart"),
        (LOGITS, SOFTMAX, TWO, "gives logits of shape (400, 3) for 400 texts of 2 classes"),
        (LOGITS[:, :2], SOFTMAX, THREE, "gives logits of shape (400, 2) for 400 texts of 3 classes"),
        (LOGITS[:, 0], SOFTMAX[:, 0] * 0 + 0.5, TWO, "apart from those of its logits"),
    ],
)
def test_check_of_a_model_that_disagrees_with_itself_fails(
    logits: np.ndarray, probabilities: np.ndarray, classes: Classes, message: str
) -> None:
    with pytest.raises(ValueError, match=r"^gives ") as failed:
        package.compute_loss(Counting(logits, probabilities), pieces(800), classes)
    assert message in str(failed.value)


def test_output_of_thousands_of_labels_has_a_short_name() -> None:
    name = package.name_output(Classes(tuple(f"label number {number}" for number in range(5000))))
    assert name.startswith("probabilities of 'label number 0', 'label number 1', ")
    assert name.endswith("… (5000 labels: see the metadata)")
    assert len(name) < 1100
    assert package.name_output(Classes(("no", "yes"))) == "probability of 'yes' (not 'no')"
