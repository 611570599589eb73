"""The baselines of the texts' experiment: fitted on the model's own training part, refused where that has changed."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from helpers.reviews import make_reviews, read_part
from helpers.scores import compute_scores
from imdb_conv1d import baselines, dataset, sources, texts_part
from imdb_conv1d.experiment import EXPERIMENT
from imdb_conv1d.labels import Classes
from imdb_conv1d.parameters import EvaluateParameters
from tracked.console.errors import RunFailed, UserError
from tracked.experiment import Request, TrainedOn


@pytest.fixture
def trained_on(reviews_csv: Path) -> TrainedOn:
    digest = dataset.load(sources.resolve(str(reviews_csv)), 0.2).digest
    return TrainedOn(None, digest, {"validation_split": "0.2"}, str(reviews_csv))


def find_part(trained_on: TrainedOn) -> texts_part.TextsPart:
    parameters = EvaluateParameters.model_construct()
    return texts_part.load_part(Request(trained_on.source, False, parameters, trained_on.metadata))


def predict(trained_on: TrainedOn) -> dict[str, pd.DataFrame]:
    return baselines.predict_baselines(find_part(trained_on), trained_on)


def test_baselines_predict_the_rows_of_the_part(trained_on: TrainedOn) -> None:
    test = read_part(dataset.load(sources.resolve(trained_on.source), 0.2), "test")
    tables = predict(trained_on)
    assert list(tables) == list(EXPERIMENT.baselines) == ["most_frequent", "linear"]
    for table in tables.values():
        assert set(table["id"]) == {
            f"{digest}-{label}" for digest, label in zip(test["hash"], test["label"], strict=True)
        }
        scores = compute_scores(table["label"], table["probability"])
        assert scores["loss"] == pytest.approx(table["loss"].mean())
        assert scores["accuracy"] == table["correct"].mean()
    assert tables["linear"]["correct"].all()
    assert tables["most_frequent"]["probability"].nunique() == 1


@pytest.mark.parametrize("labels", [("0", "1"), ("no", "yes"), ("bug", "billing", "other")])
def test_rows_are_named_as_those_of_the_models_predictions(tmp_path: Path, labels: tuple[str, ...]) -> None:
    table = make_reviews(60).assign(label=[labels[row % len(labels)] for row in range(60)], split="test")
    pd.concat([table, table[20:40]]).to_csv(tmp_path / "copies.csv", index=False)
    trained_on = TrainedOn(source=str(tmp_path / "copies.csv"), metadata={"labels": list(labels)})
    part, width = find_part(trained_on), len(labels)
    model = SimpleNamespace(predict=lambda texts: np.full((len(texts), width) if width > 2 else len(texts), 1 / width))
    predictions = pd.concat([rows for rows, _ in EXPERIMENT.predict(model, part, trained_on)])
    ids, codes = baselines.name_part(part)
    assert ids == predictions["id"].tolist()
    assert codes.tolist() == predictions["label"].tolist()
    assert len(set(ids)) == 80


def test_most_frequent_class_has_the_training_parts_share(tmp_path: Path) -> None:
    path = tmp_path / "uneven.csv"
    table = make_reviews(200)
    table = pd.concat([table[table["label"] == 1], table[table["label"] == 0][:50]])
    table.to_csv(path, index=False)
    reviews = dataset.load(sources.resolve(str(path)), 0.2)
    share = reviews.labels("train").mean()
    often = predict(TrainedOn(None, reviews.digest, {"validation_split": "0.2"}, str(path)))["most_frequent"]
    assert often["probability"].unique() == pytest.approx([share])
    assert (often["correct"] == (often["label"] == 1)).all()
    assert often["loss"].tolist() == pytest.approx(-np.log(np.where(often["label"] == 1, share, 1 - share)))


def test_predictions_of_the_same_texts_in_another_order_are_the_same(trained_on: TrainedOn) -> None:
    first = predict(trained_on)["linear"].set_index("id").sort_index()
    make_reviews(200)[::-1].to_csv(trained_on.source, index=False)
    second = predict(trained_on)["linear"].set_index("id").sort_index()
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_training_data_that_have_changed_or_gone_are_refused(trained_on: TrainedOn) -> None:
    part = find_part(trained_on)
    table = make_reviews(200)
    table.assign(text=["another text", *table["text"][1:]]).to_csv(trained_on.source, index=False)
    with pytest.raises(
        UserError, match=r"^data: .*reviews\.csv changed since the training \(digest \w{12} -> \w{12}\)$"
    ):
        predict(trained_on)
    with pytest.raises(
        RunFailed, match=r"^data: .*reviews\.csv changed while it was read \(row 1 differs\); start again$"
    ):
        baselines.predict_baselines(part, trained_on)  # the part was read before
    another = find_part(trained_on)
    Path(trained_on.source).unlink()
    with pytest.raises(RunFailed, match=r"changed while it was read \(.*\); start again$"):
        baselines.predict_baselines(part, trained_on)
    with pytest.raises(UserError, match="does not exist"):
        baselines.predict_baselines(another, trained_on)
    with pytest.raises(UserError, match="the model does not name the data and the parameters that it was trained with"):
        baselines.predict_baselines(part, TrainedOn())


@pytest.mark.parametrize("case", ["same", "other labels", "other data"])
def test_training_data_are_read_again_unless_the_part_is_of_them(
    trained_on: TrainedOn, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    part, classes = find_part(trained_on), Classes(("0", "1"))
    if case == "other labels":
        part.index = replace(part.index, classes=Classes(("1", "0")))
    vars(part)["digest"] = "0" * 64 if case == "other data" else trained_on.digest  # a cached property
    read: list[str] = []
    load = dataset.load
    monkeypatch.setattr(dataset, "load", lambda source, *rest: (read.append(source.name), load(source, *rest))[1])
    shares = {"validation_split": "0.3", "test_split": "0.1"}
    texts = baselines.load_training(replace(trained_on, parameters=shares), classes, part)
    assert read == ([] if case == "same" else [trained_on.source])
    expected = load(sources.resolve(trained_on.source), 0.3, 0.1)
    assert texts.digest == expected.digest
    pd.testing.assert_frame_equal(texts.table, expected.table)


def test_recipe_names_what_predictions_depend_on() -> None:
    own = TrainedOn(parameters={"validation_split": "0.2", "seed": "7"})
    others = [
        TrainedOn(parameters={"validation_split": "0.3", "seed": "7"}),
        TrainedOn(parameters=own.parameters, metadata={"tokens": "characters"}),
        TrainedOn(parameters=own.parameters, metadata={"labels": ["no", "yes"]}),
    ]
    recipes = {EXPERIMENT.describe_recipe(one) for one in (own, *others)}
    assert len(recipes) == 4
    again = TrainedOn(parameters={"validation_split": "0.2", "seed": "8"})
    assert EXPERIMENT.describe_recipe(again) == EXPERIMENT.describe_recipe(own)
    named = TrainedOn(parameters=own.parameters, metadata={"labels": ["0", "1"], "tokens": "words"})
    newer = TrainedOn(parameters={"validation_split": "0.20", "test_split": "0.2"})  # as versions before it had it
    assert EXPERIMENT.describe_recipe(named) == EXPERIMENT.describe_recipe(newer) == EXPERIMENT.describe_recipe(own)
    assert json.loads(EXPERIMENT.describe_recipe(own))["labels"] == ["0", "1"]


def test_table_of_named_classes_has_names_and_finite_losses() -> None:
    classes = Classes(("billing", "bug", "other"))
    probabilities = np.array([[0.7, 0.2, 0.1], [0.5, 0.5, 0.0], [0.2, 0.1, 0.7]])
    table = baselines.make_table(["a", "b", "c"], np.array([0, 2, 2]), probabilities, classes)
    assert table["predicted_label"].tolist() == [0, 0, 2]
    assert table["predicted"].tolist() == ["billing", "billing", "other"]
    assert table["class"].tolist() == ["billing", "other", "other"]
    assert table["probability"].tolist() == [0.7, 0.5, 0.7]
    assert table["correct"].tolist() == [True, False, True]
    assert table["loss"].tolist() == pytest.approx([-np.log(0.7), -np.log(np.finfo(float).eps), -np.log(0.7)])


def test_table_of_two_named_classes_has_the_positive_labels_probability() -> None:
    table = baselines.make_table(
        ["a", "b"], np.array([0, 1]), np.array([[0.7, 0.3], [0.6, 0.4]]), Classes(("no", "yes"))
    )
    assert table["probability"].tolist() == [0.3, 0.4]
    assert table["loss"].tolist() == pytest.approx([-np.log(0.7), -np.log(0.4)])
    assert (table["class"].tolist(), table["predicted"].tolist()) == (["no", "yes"], ["no", "no"])
    assert "class" not in baselines.make_table(["a"], np.array([0]), np.array([[0.7, 0.3]]), Classes(("0", "1")))


def test_predictions_are_kept_for_equal_data_and_rows_alone(
    trained_on: TrainedOn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setenv("IMDB_CONV1D_CACHE_GB", "1")
    fitted, fit = [], baselines.fit
    monkeypatch.setattr(baselines, "fit", lambda *given: fitted.append(given) or fit(*given))  # type: ignore[func-returns-value]
    private = trained_on
    trained_on = replace(private, parameters={**private.parameters, "log_texts": "true"})
    first, second = predict(trained_on), predict(trained_on)
    assert len(fitted) == 1
    for name, table in first.items():
        pd.testing.assert_frame_equal(table, second[name], check_exact=True)
    other_rows = find_part(trained_on)
    other_rows.take[np.flatnonzero(other_rows.take)[0]] = False
    shorter = baselines.predict_baselines(other_rows, trained_on)["linear"]
    assert (len(fitted), len(shorter)) == (2, len(first["linear"]) - 1)
    other_splits = replace(trained_on, parameters={**trained_on.parameters, "validation_split": "0.3"})
    predict(other_splits)
    assert len(fitted) == 3
    predict(replace(trained_on, parameters={**trained_on.parameters, "log_texts": "false"}))
    predict(private)
    assert len(fitted) == 5
