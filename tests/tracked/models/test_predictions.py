"""Predictions of an evaluation: checked, written, read back from every format; faulty ones fail the run."""

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
from hypothesis import given
from hypothesis import strategies as st

from helpers.recording import record
from helpers.reviews import part_of
from helpers.stores import copied_store
from helpers.verbs import Verb
from imdb_conv1d import leaks, predict, sources
from imdb_conv1d.experiment import EXPERIMENT
from tracked.console.errors import RunFailed
from tracked.console.signals import Signals
from tracked.experiment import TrainedOn
from tracked.models import predictions
from tracked.runs import evaluations

from diabetes import Diabetes  # isort: skip  # its folder is on the path since verbs is imported

Piece = tuple[pd.DataFrame, pd.DataFrame]


def piece(ids: list[Any], losses: list[Any], **columns: Any) -> Piece:
    """Return predictions of some rows, and inputs with their ids."""
    return pd.DataFrame({"id": ids, "loss": losses, **columns}), pd.DataFrame({"input": ids})


def write(folder: Path, *pieces: Piece, count: int | None = None) -> predictions.Predictions:
    rows = sum(len(table) for table, _ in pieces) if count is None else count
    return predictions.write(pieces, rows, folder / "p.parquet", lambda done: None)


FAULTS: dict[str, tuple[list[Piece], int, str]] = {
    "an id twice": ([piece(["a", "b", "a"], [1, 2, 3])], 3, "the predictions have the id 'a' twice"),
    "an id twice, in two pieces": ([piece(["a"], [1]), piece(["b"], [2]), piece(["b"], [2])], 3, "have the id 'b' twi"),
    "an id twice, as number and text": ([piece([7, "7"], [1, 2])], 2, "have the id '7' twice"),
    "a loss that is NaN": ([piece(["a", "b"], [1, np.nan])], 2, "the loss of row 'b' is nan, not a finite number"),
    "a loss that is missing": (
        [piece(["a", "b"], pd.array([1.0, None], dtype="Float64"))], 2, "the loss of row 'b' is nan"),
    "a loss that is None": ([piece(["a", "b"], [1, None])], 2, "the loss of row 'b' is nan"),
    "a loss that is text": ([piece(["a", "b"], [1, "much"])], 2, "the loss of row 'b' is nan"),
    "an infinite loss": ([piece(["a"], [np.inf])], 1, "the loss of row 'a' is inf, not a finite number of 0 or more"),
    "a negative loss": ([piece(["a", "b"], [0, -1e-9])], 2, "the loss of row 'b' is -1e-09"),
    "a negative loss in a later piece": ([piece(["a"], [0]), piece(["b"], [-1])], 2, "the loss of row 'b' is -1.0"),
    "no loss": (
        [(pd.DataFrame({"id": ["a"], "error": [1]}), pd.DataFrame({"x": [1]}))], 1,
        "the predictions lack the column 'loss' (they have id, error)"),
    "no id": ([(pd.DataFrame({"loss": [1]}), pd.DataFrame({"x": [1]}))], 1, "the predictions lack the column 'id'"),
    "fewer rows": ([piece(["a", "b"], [1, 2])], 3, "the predictions have 2 rows, but the part has 3"),
    "more rows": ([piece(["a", "b"], [1, 2])], 1, "the predictions have 2 rows, but the part has 1"),
    "no rows": ([], 3, "the predictions have 0 rows, but the part has 3"),
    "a column that is missing in a later piece": (
        [piece(["a"], [1], guess=[0.5]), piece(["b"], [1])], 2, "the predictions change at row 2 (id"),
    "a column of another type later": (
        [piece(["a"], [1], guess=[1]), piece(["b"], [1], guess=["b"])], 2, "the predictions change at row 2 (id"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_write_of_faulty_predictions_fails_in_one_line(tmp_path: Path, fault: str) -> None:
    pieces, count, message = FAULTS[fault]
    with pytest.raises(RunFailed) as failed:
        write(tmp_path, *pieces, count=count)
    assert message in str(failed.value)
    assert str(failed.value).endswith("; no metrics are logged")
    assert "\n" not in str(failed.value)


def test_write_of_tables_that_are_no_pairs_fails(tmp_path: Path) -> None:
    """Without a yield, predict returns the pair itself."""
    with pytest.raises(RunFailed, match=r"^predict must yield pairs of tables, predictions and inputs; no metrics"):
        write(tmp_path, *piece(["a"], [1]), count=1)


def test_write_of_predictions_adds_key_and_seen(tmp_path: Path) -> None:
    written = write(
        tmp_path, piece([1, 2], [1, 0], guess=[0.5, 0.7]), piece([3], [2.5], guess=[0.1]), piece([], [], guess=[])
    )
    for table in (written.rows, pd.read_parquet(tmp_path / "p.parquet")):
        assert list(table) == ["id", "loss", "key", "seen", "guess"]
        assert table["id"].tolist() == table["key"].tolist() == ["1", "2", "3"]
        assert table["loss"].tolist() == [1, 0, 2.5]
        assert table["guess"].tolist() == [0.5, 0.7, 0.1]
        assert table["seen"].isna().all()


def test_write_of_rows_with_unknown_seen_keeps_it_missing(tmp_path: Path) -> None:
    pieces = [
        piece(["a", "b"], [1, 2], seen=[True, False]),
        piece(["c", "d"], [1, 2], seen=[None, True]),
        piece(["e"], [1], seen=None),
        piece(["f"], [1]),
    ]
    expected = [True, False, pd.NA, True, pd.NA, pd.NA]
    written = write(tmp_path, *pieces)
    for table in (written.rows, pd.read_parquet(tmp_path / "p.parquet")):
        assert str(table["seen"].dtype) == "boolean"
        assert table["seen"].equals(pd.Series(expected, dtype="boolean"))
    assert str(pq.read_schema(tmp_path / "p.parquet").field("seen").type) == "bool"


LOSSES = st.lists(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, 3.0, 1e-300, 1e300]), max_size=40), max_size=8)


@pytest.mark.slow
@given(LOSSES.filter(lambda pieces: sum(map(len, pieces))), st.booleans())
def test_worst_rows_of_pieces_are_those_of_the_whole_part(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[list[float]], has_correct: bool
) -> None:
    """Ordered by loss; of equal losses the first row comes first, however the part is cut into pieces."""
    tables, start = [], 0
    for losses in pieces:
        ids = [f"row {number}" for number in range(start, start + len(losses))]
        correct = {"correct": [loss < 0.5 for loss in losses]} if has_correct else {}
        tables.append(piece(ids, losses, **correct))
        start += len(losses)
    written = write(tmp_path_factory.mktemp("worst"), *tables)
    whole = pd.concat([table for table, _ in tables], ignore_index=True)
    candidates = whole[~whole["correct"].astype(bool)] if has_correct else whole
    expected = candidates.astype({"loss": float}).nlargest(predictions.WORST, "loss")
    assert written.worst["input"].tolist() == expected["id"].tolist()
    assert written.worst.index.tolist() == expected.index.tolist()
    assert list(written.worst) == ["input"]
    assert len(written.rows) == len(whole)


def test_write_advances_by_the_rows_of_each_piece(tmp_path: Path) -> None:
    calls: list[int] = []
    predictions.write([piece(["a", "b"], [1, 2]), piece([], []), piece(["c"], [1])], 3, tmp_path / "p", calls.append)
    assert calls == [2, 1]


# Through the verb, with an experiment whose predictions are faulty.


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Path]:
    """Return a folder with a store that holds one training of the diabetes experiment and its version."""
    assert not any(name.startswith("MLFLOW_RUN") for name in os.environ)
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch, copied_store(empty_store, folder, patch):
        Verb("train", Diabetes()).main(["--epochs=2"], Signals())
        yield folder


def evaluate_with(change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Evaluate with the diabetes experiment, its predictions changed."""

    class Changed(Diabetes):
        def predict(self, model: Any, part: Any, trained_on: TrainedOn) -> Iterator[Any]:
            for table, inputs in super().predict(model, part, trained_on):
                changed = change(table)
                yield changed, inputs.iloc[: len(changed)]

    Verb("evaluate", Changed()).main([], Signals())


CHANGES: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "an id twice": (lambda t: t.assign(id=[*t["id"][:-1], t["id"][0]]), "twice"),
    "a loss that is NaN": (
        lambda t: t.assign(loss=[np.nan, *t["loss"][1:]]),
        "is nan, not a finite number of 0 or more",
    ),
    "an infinite loss": (
        lambda t: t.assign(loss=[*t["loss"][:-1], np.inf]),
        "is inf, not a finite number of 0 or more",
    ),
    "a negative loss": (lambda t: t.assign(loss=-t["loss"]), "not a finite number of 0 or more"),
    "no loss": (
        lambda t: t.drop(columns="loss"),
        "lack the column 'loss' (they have id, key, target, predicted, seen)",
    ),
    "fewer rows": (lambda t: t.iloc[:-1], "have 146 rows, but the part has 147"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_evaluation_with_faulty_predictions_fails_and_logs_no_metrics(
    trained: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.chdir(trained)
    mlflow.set_tracking_uri(f"sqlite:///{trained}/mlflow.db")
    changed, message = CHANGES[change]
    client = mlflow.MlflowClient()
    before = client.get_model_version("diabetes", "1")
    with pytest.raises(RunFailed) as failed:
        evaluate_with(changed)
    assert message in str(failed.value)
    assert "\n" not in str(failed.value)
    (run,) = mlflow.search_runs(filter_string="tags.verb = 'evaluate'", output_format="list", max_results=1)
    assert (run.info.status, run.data.metrics) == ("FAILED", {})
    assert (run.data.tags["stop_reason"], run.data.tags["error"]) == ("error", str(failed.value))
    assert client.list_artifacts(run.info.run_id) == []
    after = client.get_model_version("diabetes", "1")
    assert (after.tags, after.description) == (before.tags, before.description)
    model_metrics = client.get_logged_model(before.source.removeprefix("models:/")).metrics or []
    assert not [metric.key for metric in model_metrics if metric.key.startswith("test_")]


# Formats of earlier versions of this project.


class Guesses:
    """A model whose probability follows from a text's hash."""

    def predict(self, texts: np.ndarray) -> np.ndarray:
        return np.array([int(hashlib.sha256(text.encode()).hexdigest()[:4], 16) / 65536 for text in texts])


def reviews_with_copies() -> pd.DataFrame:
    """Return reviews with copies: some exact, some under both labels, some in other bytes."""
    texts = [f"a film about {n} friends" for n in range(12)]
    texts += [texts[0], texts[0], texts[3], texts[4].upper()]
    labels = [0, 1] * 6 + [0, 1, 1, 0]
    return pd.DataFrame({"text": texts, "label": labels, "split": ""})


def predicted(folder: Path, seen: list[str] | None) -> pd.DataFrame:
    """Predict those reviews with a model that was trained on the texts of ``seen``."""
    table = reviews_with_copies()
    source = sources.Source("made up", "", lambda: (table.iloc[at : at + 5] for at in range(0, len(table), 5)))
    part = part_of(source)
    known = None
    if seen is not None:
        known = pd.DataFrame({"words": leaks.digest_words(leaks.split_words(seen), 400), "split": "train"})
        known.attrs["maxlen"] = 400
    pieces = predict.predict(Guesses(), part, TrainedOn(known))
    return predictions.write(pieces, part.count, folder / "new.parquet", lambda done: None).rows


COMMON = ["id", "loss", "key", "seen", "correct"]


def test_upgrade_of_format_2_equals_the_current_format(tmp_path: Path) -> None:
    new = predicted(tmp_path, seen=["a film about 3 friends"])
    assert new["seen"].sum() == 2
    assert new["id"].is_unique
    old = new[["text_sha256", "label", "probability", "words", "seen"]]
    upgraded = EXPERIMENT.upgrade_predictions(old, "2")
    pd.testing.assert_frame_equal(upgraded[COMMON], new[COMMON], check_dtype=False)
    assert np.array_equal(upgraded["loss"], new["loss"])  # to the last bit


def test_upgrade_of_predictions_without_a_format_has_no_words_and_unknown_seen(tmp_path: Path) -> None:
    new = predicted(tmp_path, seen=["a film about 3 friends"])
    upgraded = EXPERIMENT.upgrade_predictions(new[["text_sha256", "label", "probability"]], "1")
    assert upgraded["seen"].isna().all()
    assert upgraded["key"].tolist() == new["text_sha256"].tolist()
    columns = ["id", "loss", "correct"]
    pd.testing.assert_frame_equal(upgraded[columns], new[columns], check_dtype=False)


def log_evaluation(folder: Path, table: pd.DataFrame, **tags: str) -> mlflow.entities.Run:
    """Log an evaluation with exactly these predictions."""
    run_id = record([], tags={"verb": "evaluate", **tags})
    table.to_parquet(folder / "predictions.parquet")
    mlflow.MlflowClient().log_artifact(run_id, str(folder / "predictions.parquet"))
    return mlflow.get_run(run_id)


def test_evaluations_of_all_formats_are_read_alike(store: str, tmp_path: Path) -> None:
    new = predicted(tmp_path, seen=["a film about 3 friends"])
    old = new[["text_sha256", "label", "probability", "words", "seen"]].sample(frac=1, random_state=1)
    tables = [
        evaluations.read_predictions(EXPERIMENT, run, tmp_path)
        for run in (
            log_evaluation(tmp_path, new, evaluation_format="3"),
            log_evaluation(tmp_path, old.astype({"seen": bool}), evaluation_format="2"),
            log_evaluation(tmp_path, old[["text_sha256", "label", "probability"]]),
        )
    ]
    third, second, first = tables
    pd.testing.assert_frame_equal(second, third)
    assert evaluations.have_same_rows(first, third)
    assert first["loss"].equals(third["loss"])
    assert evaluations.find_unseen(first, third).tolist() == (~third["seen"].astype(bool)).tolist()


@pytest.mark.parametrize("version", ["4", "next"])
def test_read_of_predictions_in_a_later_format_fails(store: str, tmp_path: Path, version: str) -> None:
    new = predicted(tmp_path, seen=None)
    run = log_evaluation(tmp_path, new[["id", "loss"]], evaluation_format=version)
    with pytest.raises(
        RunFailed, match=r"has no predictions\.parquet that can be read \(.*\); delete that run"
    ) as failed:
        evaluations.read_predictions(EXPERIMENT, run, tmp_path)
    assert "\n" not in str(failed.value)


def test_read_of_format_2_by_an_experiment_without_former_formats_fails(store: str, tmp_path: Path) -> None:
    table = pd.DataFrame({"id": ["a"], "loss": [1.0], "key": ["a"], "seen": [False]})
    run = log_evaluation(tmp_path, table, evaluation_format="2", experiment="diabetes")
    with pytest.raises(RunFailed, match="format 2 of predictions is unknown to this experiment"):
        evaluations.read_predictions(Diabetes(), run, tmp_path)
    assert (
        len(evaluations.read_predictions(Diabetes(), log_evaluation(tmp_path, table, evaluation_format="3"), tmp_path))
        == 1
    )
