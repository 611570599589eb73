"""Trainings of ``network=gated``: what is fitted on what, resumes, refusals, the registered model's logits."""

import shutil
from collections.abc import Callable
from pathlib import Path

import keras
import mlflow
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from helpers.resuming import break_off, folder, metrics, resume
from helpers.reviews import make_noisy_reviews
from imdb_conv1d import gated, ngram_fit, ngram_model, tokenizer
from imdb_conv1d.dataset import LabelledTexts
from imdb_conv1d.experiment import EXPERIMENT
from imdb_conv1d.ids import EncodedPart
from imdb_conv1d.networks import NetworkTrainee
from imdb_conv1d.ngram_lookup import NgramLookup
from imdb_conv1d.numbered_texts import NumberedTexts
from imdb_conv1d.parameters import MAX_GATED, TrainParameters
from imdb_conv1d.text_model import TextClassifier
from tracked.console.errors import UserError
from tracked.training import files
from tracked.training.dataset_cache import DatasetCache

GATED = ["--network=gated", "--members=2", "--ngrams=2", "--embedding_dims=4", "--hidden_dims=4", "--word_dropout=0.2"]
SMALL = TrainParameters(
    network="gated", maxlen=12, max_features=60, embedding_dims=4, hidden_dims=3, ngrams=2, batch_size=16,
    learning_rate=0.01, word_dropout=0.2,
)  # fmt: skip


def with_values(**changes: object) -> TrainParameters:
    return TrainParameters(**(SMALL.model_dump() | changes))


def build(texts: pd.DataFrame, place: Path, parameters: TrainParameters) -> NetworkTrainee:
    """Build the trainee as the experiment does, without a store."""
    place.mkdir(exist_ok=True)
    texts.to_csv(place / "texts.csv", index=False)
    keras.utils.set_random_seed(parameters.seed)
    loaded = EXPERIMENT.load(parameters.model_copy(update={"data": str(place / "texts.csv")}), "")
    return EXPERIMENT.build(parameters, loaded, place, {})


def make_texts(classes: int, rows: int = 120) -> pd.DataFrame:
    reviews = make_noisy_reviews(rows)
    labels = [f"c{row % classes}" for row in range(rows)]
    return pd.DataFrame(
        {"text": [f"{text} word{label}" for text, label in zip(reviews["text"], labels, strict=True)], "label": labels}
    )


def fit(trainee: NetworkTrainee) -> dict[str, list[float]]:
    kept = keras.callbacks.History()
    trainee.fit([kept], 0, 1)
    return dict(kept.history)


ODD = ["...", "!!", "word", "a"]  # texts without a word, and of one


@pytest.mark.slow
@pytest.mark.parametrize(
    ("classes", "changes"),
    [
        (2, {"tokens": "characters", "class_weight": "balanced", "ngrams": 1}),
        (3, {"class_weight": "balanced", "members": 2, "fused": False}),
        (3, {"maxlen": 1, "kernel_size": 1, "max_features": 4}),
    ],
)
def test_registered_models_logits_are_those_of_the_trained_network(
    classes: int, changes: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = pd.concat([make_texts(classes), pd.DataFrame({"text": ODD, "label": [f"c{row % 2}" for row in range(4)]})])
    parameters = with_values(**changes)
    trainee = build(texts, tmp_path / "folder", parameters)
    assert trainee.tags == {"layers": "plain"}
    assert trainee.note == ""
    history = fit(trainee)
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert np.isfinite(np.concatenate(list(history.values()))).all()
    trainee.save(tmp_path / "best.keras")
    model = ngram_model.NgramModel.read(ngram_model.find(tmp_path / "folder"))
    lookup = NgramLookup(model, parameters.max_features, parameters.ngrams)
    vocabulary = tokenizer.find_vocabulary(tmp_path / "folder")
    network = keras.saving.load_model(tmp_path / "best.keras")
    classifier = TextClassifier(network, vocabulary, parameters.maxlen, parameters.tokens, lookup)
    tf.saved_model.save(classifier, str(tmp_path / "saved"))
    shutil.rmtree(tmp_path / "folder")
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    texts.to_csv(tmp_path / "texts.csv", index=False)
    dataset = EXPERIMENT.load(parameters.model_copy(update={"data": str(tmp_path / "texts.csv")}), "")
    first, found = dataset.positions("validation")[0], {}
    for rows, pieces in dataset.read_texts(["validation"]):
        logits = loaded.logits(tf.constant(pieces)).numpy()
        found |= dict(zip((rows - first).tolist(), logits, strict=True))
    numbered = NumberedTexts.of(list(pieces), parameters.tokens, loaded.words)
    by_ids = loaded.logits_of_ids(numbered.pad(parameters.maxlen)).numpy()
    np.testing.assert_allclose(by_ids, logits, rtol=1e-4, atol=1e-5)
    losses = []
    for row, label in enumerate(dataset.labels("validation")):
        logits = found[row].astype(float)
        losses.append(np.logaddexp(0, logits) - label * logits if classes == 2
                      else np.log(np.exp(logits).sum()) - logits[label])  # fmt: skip
    assert np.mean(losses) == pytest.approx(history["val_loss"][0], rel=1e-4)


def test_fit_and_training_values_have_seen_neither_validation_part_nor_the_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_values, used = gated.ngram_values.NgramValues, []

    def record(part: EncodedPart, model: ngram_model.NgramModel, numbers: np.ndarray, models: np.ndarray) -> object:
        used.append(models.tolist())
        return make_values(part, model, numbers, models)

    monkeypatch.setattr(gated.ngram_values, "NgramValues", record)
    chance = np.random.default_rng(0)
    train = EncodedPart.from_padded(chance.integers(1, 20, (40, 12)).astype(np.int32))
    labels = (np.arange(40) % 2).astype(np.float32)
    files = []
    for number, changed in enumerate((False, True)):
        place = tmp_path / str(number)
        place.mkdir()
        ids = chance.integers(1, 20, (10, 12)).astype(np.int32)
        both = EncodedPart.from_padded(np.concatenate([train.to_padded(), ids]))
        parts = [
            EncodedPart(both.values, both.starts[span], both.lengths[span], 12) for span in (slice(40), slice(40, 50))
        ]
        held_out = np.full(10, changed, np.float32)
        gated.build(SMALL, (parts[0], labels), (parts[1], held_out), 2, place, None)
        files.append(ngram_model.find(place).name)
    assert files[0] == files[1]
    assert used == [ngram_fit.assign_folds(train, SMALL.seed, SMALL.ngrams).tolist(), [0] * 10] * 2
    assert 0 not in used[0]


def forbid(*_: object) -> None:
    raise AssertionError("fitted again")


@pytest.mark.slow
def test_resume_of_a_gated_training_gives_equal_bits_and_fits_nothing_again(
    store: str, noisy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = break_off(noisy, 2, "--epochs=3", *GATED)  # not packaged
    run = break_off(noisy, 1, "--epochs=2", *GATED)
    assert run.data.tags["layers"] == "plain"
    (kept,) = folder(run).glob("ngrams-*.npz")
    written = kept.stat()
    with monkeypatch.context() as patch:
        patch.setattr(ngram_fit, "fit", forbid)
        patch.setattr(files, "write_safely", forbid)  # the vocabulary is kept, too
        assert kept.stat() == written
        resume("--resume", run.info.run_id)
    resumed = mlflow.get_run(run.info.run_id)
    of_epochs = {name: values for name, values in metrics(reference).items() if values.keys() == {1, 2}}
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(of_epochs)
    found = metrics(resumed)
    assert {name: found[name] for name in of_epochs} == of_epochs
    assert (resumed.data.tags["layers"], resumed.info.status) == ("plain", "FINISHED")
    assert "registered_version" in resumed.data.tags
    assert not folder(run).exists()


def refused(make: Callable[[], object]) -> str:
    with pytest.raises(UserError) as failed:
        make()
    return str(failed.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"ngrams": 5, "max_features": 30000},
            "ngrams: '5' is not allowed; allowed: at most 4 with max_features=30000",
        ),
        ({"ngrams": 9}, "ngrams: '9' is not allowed; allowed: a whole number from 1 to 8"),
        ({"members": 0}, "members: '0' is not allowed; allowed: a whole number from 1 to 100"),
        ({"dropout": 1}, "dropout: '1' is not allowed; allowed: a finite number, 0 or more, less than 1"),
        ({"word_dropout": 1}, "word_dropout: '1' is not allowed; allowed: a finite number, 0 or more, less than 1"),
        ({"network": "lstm"}, "network: 'lstm' is not allowed; allowed: conv or gated"),
    ],
)
def test_refused_value_names_what_is_allowed(values: dict[str, object], message: str) -> None:
    flags = [f"--{name}={value}" for name, value in ({"network": "gated"} | values).items()]
    assert message in refused(lambda: TrainParameters.parse(flags))


def test_longest_ngrams_of_the_convolution_are_not_checked() -> None:
    assert TrainParameters(ngrams=8, max_features=30000).ngrams == 8
    assert with_values(ngrams=8, max_features=215).ngrams == 8  # 215⁸ is below 2⁶²; 216⁸ is above
    assert "at most 7" in refused(
        lambda: TrainParameters.parse(["--network=gated", "--ngrams=8", "--max_features=216"])
    )


def test_more_labels_than_values_fit_in_memory_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = np.repeat(np.arange(MAX_GATED + 1), 4)
    texts = pd.DataFrame({"text": [f"text {row}" for row in range(len(labels))], "label": labels})
    texts.to_csv(tmp_path / "many.csv", index=False)
    parameters = with_values(data=str(tmp_path / "many.csv"))
    cache = DatasetCache(EXPERIMENT)
    message = refused(lambda: cache.load(parameters, ""))
    assert message.startswith("network: 'gated' is not allowed; allowed: conv with more than 200 labels; ")
    assert message.endswith("many.csv has 201")
    dataset = cache.load(parameters.model_copy(update={"network": "conv"}), "")
    assert isinstance(dataset, LabelledTexts)
    assert len(dataset.classes) == MAX_GATED + 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EXPERIMENT, "load", forbid)  # the dataset that conv was given is refused for gated
        assert refused(lambda: cache.load(parameters, "")) == message
