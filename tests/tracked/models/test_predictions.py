"""What an evaluation takes from an experiment's predictions, and what it refuses; what earlier versions have stored."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.recording import record
from helpers.stores import copied_store
from helpers.verbs import Verb
from imdb_conv1d import dataset, leaks, predict, reviews_part, sources
from imdb_conv1d.experiment import EXPERIMENT
from tracked.console.errors import RunFailed
from tracked.console.signals import Signals
from tracked.experiment import TrainedOn
from tracked.models import predictions
from tracked.runs import evaluations

from diabetes import Diabetes  # isort: skip  # its folder is on the path since verbs is imported

Piece = tuple[pd.DataFrame, pd.DataFrame]


def piece(ids: list[Any], losses: list[Any], **columns: Any) -> Piece:
    """Predictions of some rows, and inputs that name them."""
    return pd.DataFrame({"id": ids, "loss": losses, **columns}), pd.DataFrame({"input": ids})


def write(folder: Path, *pieces: Piece, count: int | None = None) -> predictions.Predictions:
    rows = sum(len(table) for table, _ in pieces) if count is None else count
    return predictions.write(pieces, rows, folder / "p.parquet", lambda done: None)


FAULTS: dict[str, tuple[list[Piece], int, str]] = {
    "an id twice": ([piece(["a", "b", "a"], [1, 2, 3])], 3, "the predictions have the id 'a' twice"),
    "an id twice, in two pieces": ([piece(["a"], [1]), piece(["b"], [2]), piece(["b"], [2])], 3, "have the id 'b' twi"),
    "an id twice, as number and text": ([piece([7, "7"], [1, 2])], 2, "have the id '7' twice"),
    "a loss that is NaN": ([piece(["a", "b"], [1, np.nan])], 2, "the loss of row 'b' is nan, no finite number"),
    "a loss that is missing": (
        [piece(["a", "b"], pd.array([1.0, None], dtype="Float64"))], 2, "the loss of row 'b' is nan"),
    "a loss that is none": ([piece(["a", "b"], [1, None])], 2, "the loss of row 'b' is nan"),
    "a loss that is text": ([piece(["a", "b"], [1, "much"])], 2, "the loss of row 'b' is nan"),
    "an infinite loss": ([piece(["a"], [np.inf])], 1, "the loss of row 'a' is inf, no finite number from 0 on"),
    "a loss of less than nothing": ([piece(["a", "b"], [0, -1e-9])], 2, "the loss of row 'b' is -1e-09"),
    "a loss of less than nothing, later": ([piece(["a"], [0]), piece(["b"], [-1])], 2, "the loss of row 'b' is -1.0"),
    "no loss": (
        [(pd.DataFrame({"id": ["a"], "error": [1]}), pd.DataFrame({"x": [1]}))], 1, "no column 'loss' but id, error"),
    "no id": ([(pd.DataFrame({"loss": [1]}), pd.DataFrame({"x": [1]}))], 1, "the predictions have no column 'id' but"),
    "fewer rows": ([piece(["a", "b"], [1, 2])], 3, "the predictions are of 2 rows, and the part has 3"),
    "more rows": ([piece(["a", "b"], [1, 2])], 1, "the predictions are of 2 rows, and the part has 1"),
    "no rows": ([], 3, "the predictions are of 0 rows, and the part has 3"),
    "a column that a later piece lacks": (
        [piece(["a"], [1], guess=[0.5]), piece(["b"], [1])], 2, "from row 2 on, the predictions have other columns"),
    "a column of another type later": (
        [piece(["a"], [1], guess=[1]), piece(["b"], [1], guess=["b"])], 2, "from row 2 on, the predictions have other"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_what_are_no_predictions_is_refused_in_one_line(tmp_path: Path, fault: str) -> None:
    pieces, count, told = FAULTS[fault]
    with pytest.raises(RunFailed) as failed:
        write(tmp_path, *pieces, count=count)
    assert told in str(failed.value)
    assert str(failed.value).endswith("; no figure is logged")
    assert "\n" not in str(failed.value)


def test_predictions_are_stored_with_a_key_and_with_what_was_seen(tmp_path: Path) -> None:
    found = write(
        tmp_path, piece([1, 2], [1, 0], guess=[0.5, 0.7]), piece([3], [2.5], guess=[0.1]), piece([], [], guess=[])
    )
    for table in (found.rows, pd.read_parquet(tmp_path / "p.parquet")):
        assert list(table) == ["id", "loss", "key", "seen", "guess"]
        assert table["id"].tolist() == table["key"].tolist() == ["1", "2", "3"]
        assert table["loss"].tolist() == [1, 0, 2.5]
        assert table["guess"].tolist() == [0.5, 0.7, 0.1]
        assert table["seen"].isna().all()


def test_what_is_not_known_to_be_seen_stays_unknown(tmp_path: Path) -> None:
    pieces = [
        piece(["a", "b"], [1, 2], seen=[True, False]),
        piece(["c", "d"], [1, 2], seen=[None, True]),
        piece(["e"], [1], seen=None),
        piece(["f"], [1]),
    ]
    expected = [True, False, pd.NA, True, pd.NA, pd.NA]
    found = write(tmp_path, *pieces)
    for table in (found.rows, pd.read_parquet(tmp_path / "p.parquet")):
        assert str(table["seen"].dtype) == "boolean"
        assert table["seen"].equals(pd.Series(expected, dtype="boolean"))
    assert str(pq.read_schema(tmp_path / "p.parquet").field("seen").type) == "bool"


LOSSES = st.lists(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, 3.0, 1e-300, 1e300]), max_size=40), max_size=8)


@given(LOSSES.filter(lambda pieces: sum(map(len, pieces))), st.booleans())
@settings(max_examples=200, deadline=None)
def test_the_worst_rows_are_those_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[list[float]], tells_right: bool
) -> None:
    """In the order of their losses; of equal ones the first, however the rows are cut into pieces."""
    made, start = [], 0
    for losses in pieces:
        ids = [f"row {number}" for number in range(start, start + len(losses))]
        right = {"correct": [loss < 0.5 for loss in losses]} if tells_right else {}
        made.append(piece(ids, losses, **right))
        start += len(losses)
    found = write(tmp_path_factory.mktemp("worst"), *made)
    whole = pd.concat([table for table, _ in made], ignore_index=True)
    candidates = whole[~whole["correct"].astype(bool)] if tells_right else whole
    expected = candidates.astype({"loss": float}).nlargest(predictions.WORST, "loss")
    assert found.worst["input"].tolist() == expected["id"].tolist()
    assert list(found.worst) == ["input"]
    assert len(found.rows) == len(whole)


def test_progress_is_told_now_and_then(tmp_path: Path) -> None:
    told: list[int] = []
    pieces = [piece([f"{start + n}" for n in range(2000)], [1.0] * 2000) for start in range(0, 12_000, 2000)]
    predictions.write(pieces, 12_000, tmp_path / "p.parquet", told.append)
    assert told == [6000, 10_000]


# Through the verb, with an experiment whose predictions are none.


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Path]:
    """A folder with a store that has one training of the diabetes experiment and its version."""
    assert not any(name.startswith("MLFLOW_RUN") for name in os.environ)
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch, copied_store(empty_store, folder, patch):
        Verb("train", Diabetes()).main(["--epochs=2"], Signals())
        yield folder


def evaluate_with(change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Evaluate with an experiment whose predictions are changed."""

    class Changed(Diabetes):
        def predict(self, model: Any, part: Any, trained_on: TrainedOn) -> Iterator[Any]:
            for table, inputs in super().predict(model, part, trained_on):
                changed = change(table)
                yield changed, inputs.iloc[: len(changed)]

    Verb("evaluate", Changed()).main([], Signals())


CHANGES: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "an id twice": (lambda t: t.assign(id=[*t["id"][:-1], t["id"][0]]), "twice"),
    "a loss that is NaN": (lambda t: t.assign(loss=[np.nan, *t["loss"][1:]]), "is nan, no finite number from 0 on"),
    "an infinite loss": (lambda t: t.assign(loss=[*t["loss"][:-1], np.inf]), "is inf, no finite number from 0 on"),
    "a negative loss": (lambda t: t.assign(loss=-t["loss"]), "no finite number from 0 on"),
    "no loss": (lambda t: t.drop(columns="loss"), "have no column 'loss' but id, key, target, predicted, seen"),
    "fewer rows": (lambda t: t.iloc[:-1], "are of 146 rows, and the part has 147"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_evaluation_by_what_are_no_predictions_fails_and_logs_no_figure(
    trained: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.chdir(trained)
    mlflow.set_tracking_uri(f"sqlite:///{trained}/mlflow.db")
    changed, told = CHANGES[change]
    client = mlflow.MlflowClient()
    before = client.get_model_version("diabetes", "1")
    with pytest.raises(RunFailed) as failed:
        evaluate_with(changed)
    assert told in str(failed.value)
    assert "\n" not in str(failed.value)
    (run,) = mlflow.search_runs(filter_string="tags.verb = 'evaluate'", output_format="list", max_results=1)
    assert (run.info.status, run.data.metrics) == ("FAILED", {})
    assert (run.data.tags["stop_reason"], run.data.tags["error"]) == ("error", str(failed.value))
    assert client.list_artifacts(run.info.run_id) == []
    after = client.get_model_version("diabetes", "1")
    assert (after.tags, after.description) == (before.tags, before.description)
    at_the_model = client.get_logged_model(before.source.removeprefix("models:/")).metrics or []
    assert not [metric.key for metric in at_the_model if metric.key.startswith("test_")]


# What earlier versions have stored.


class Guesses:
    """A model that finds a text positive by its hash."""

    def predict(self, texts: np.ndarray) -> np.ndarray:
        return np.array([int(hashlib.sha256(text.encode()).hexdigest()[:4], 16) / 65536 for text in texts])


def reviews_with_copies() -> pd.DataFrame:
    """Reviews of which some are there twice, some under both labels, and some in other bytes."""
    texts = [f"a film about {n} friends" for n in range(12)]
    texts += [texts[0], texts[0], texts[3], texts[4].upper()]
    labels = [0, 1] * 6 + [0, 1, 1, 0]
    return pd.DataFrame({"text": texts, "label": labels, "split": ""})


def predicted(folder: Path, seen: list[str] | None) -> pd.DataFrame:
    """Predictions of those reviews, of a model that was trained on the texts of ``seen``."""
    table = reviews_with_copies()
    source = sources.Source("made up", "", lambda: (table.iloc[at : at + 5] for at in range(0, len(table), 5)))
    rows = dataset.index_rows(source)
    part = reviews_part.ReviewsPart(
        source, rows, reviews_part.choose_rows(rows, whole=True), dataset.digest_rows(rows), "made up"
    )
    known = None
    if seen is not None:
        known = pd.DataFrame({"words": leaks.digest_words(leaks.split_words(seen), 400), "split": "train"})
        known.attrs["maxlen"] = 400
    pieces = predict.predict(Guesses(), part, TrainedOn(known))
    return predictions.write(pieces, part.count, folder / "new.parquet", lambda done: None).rows


COMMON = ["id", "loss", "key", "seen", "correct"]


def test_predictions_of_format_2_are_read_as_they_would_be_stored_now(tmp_path: Path) -> None:
    new = predicted(tmp_path, seen=["a film about 3 friends"])
    assert new["seen"].sum() == 2
    assert new["id"].is_unique
    old = new[["text_sha256", "label", "probability", "words", "seen"]]
    upgraded = EXPERIMENT.upgrade_predictions(old, "2")
    pd.testing.assert_frame_equal(upgraded[COMMON], new[COMMON], check_dtype=False)
    assert np.array_equal(upgraded["loss"], new["loss"])  # to the last bit


def test_predictions_without_a_format_tell_neither_words_nor_what_was_seen(tmp_path: Path) -> None:
    new = predicted(tmp_path, seen=["a film about 3 friends"])
    upgraded = EXPERIMENT.upgrade_predictions(new[["text_sha256", "label", "probability"]], "1")
    assert upgraded["seen"].isna().all()
    assert upgraded["key"].tolist() == new["text_sha256"].tolist()
    columns = ["id", "loss", "correct"]
    pd.testing.assert_frame_equal(upgraded[columns], new[columns], check_dtype=False)


def stored(folder: Path, table: pd.DataFrame, **tags: str) -> mlflow.entities.Run:
    """An evaluation with predictions as they are."""
    run_id = record([], tags={"verb": "evaluate", **tags})
    table.to_parquet(folder / "predictions.parquet")
    mlflow.MlflowClient().log_artifact(run_id, str(folder / "predictions.parquet"))
    return mlflow.get_run(run_id)


def test_evaluations_of_all_formats_are_read_as_one(store: str, tmp_path: Path) -> None:
    new = predicted(tmp_path, seen=["a film about 3 friends"])
    old = new[["text_sha256", "label", "probability", "words", "seen"]].sample(frac=1, random_state=1)
    found = [
        evaluations.read_predictions(EXPERIMENT, run, tmp_path)
        for run in (
            stored(tmp_path, new, evaluation_format="3"),
            stored(tmp_path, old.astype({"seen": bool}), evaluation_format="2"),
            stored(tmp_path, old[["text_sha256", "label", "probability"]]),
        )
    ]
    third, second, first = found
    pd.testing.assert_frame_equal(second, third)
    assert evaluations.have_same_rows(first, third)
    assert first["loss"].equals(third["loss"])
    assert evaluations.find_unseen(first, third).tolist() == (~third["seen"].astype(bool)).tolist()


@pytest.mark.parametrize("version", ["4", "next"])
def test_predictions_of_a_later_version_are_not_read(store: str, tmp_path: Path, version: str) -> None:
    new = predicted(tmp_path, seen=None)
    run = stored(tmp_path, new[["id", "loss"]], evaluation_format=version)
    with pytest.raises(
        RunFailed, match=r"has no predictions\.parquet that can be read \(.*\); delete that run"
    ) as told:
        evaluations.read_predictions(EXPERIMENT, run, tmp_path)
    assert "\n" not in str(told.value)


def test_an_experiment_that_never_stored_other_predictions_reads_none(store: str, tmp_path: Path) -> None:
    table = pd.DataFrame({"id": ["a"], "loss": [1.0], "key": ["a"], "seen": [False]})
    run = stored(tmp_path, table, evaluation_format="2", experiment="diabetes")
    with pytest.raises(RunFailed, match="format 2 of predictions is unknown to this experiment"):
        evaluations.read_predictions(Diabetes(), run, tmp_path)
    assert len(evaluations.read_predictions(Diabetes(), stored(tmp_path, table, evaluation_format="3"), tmp_path)) == 1
