"""The verb evaluate in this process, on a newly trained model."""

import hashlib
import json
import os
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run

from helpers.reviews import TINY, make_reviews, part_of, read_part
from helpers.scores import compute_scores
from helpers.stores import copied_store
from helpers.verbs import evaluate, train
from imdb_conv1d import baselines, dataset, predict, sources, texts_part
from imdb_conv1d.experiment import EXPERIMENT
from imdb_conv1d.text_index import Spellings
from tracked.console.errors import RunFailed, UserError
from tracked.console.signals import Signals
from tracked.experiment import TrainedOn
from tracked.models import predictions
from tracked.runs import evaluations, registry


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Path]:
    """A folder with a store that has one training of reviews.csv and its version."""
    assert not any(name.startswith("MLFLOW_RUN") for name in os.environ)
    folder = tmp_path_factory.mktemp("trained")
    make_reviews(200).to_csv(folder / "reviews.csv", index=False)
    with pytest.MonkeyPatch.context() as patch, copied_store(empty_store, folder, patch):
        train.main([*TINY, f"--data={folder / 'reviews.csv'}", "--epochs=4"], Signals())
        yield folder


@pytest.fixture(autouse=True)
def _here(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    mlflow.set_tracking_uri(f"sqlite:///{trained}/mlflow.db")


def run_evaluate(*arguments: str) -> Run:
    evaluate.main(arguments, Signals())
    found: list[Run] = mlflow.search_runs(filter_string="tags.verb = 'evaluate'", output_format="list", max_results=1)
    return mlflow.get_run(found[0].info.run_id)  # search_runs omits the models that a run used


def artifact(run: Run, name: str) -> Path:
    return Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path=name))


@pytest.mark.slow
def test_evaluate_scores_the_test_part_and_links_its_model(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_evaluate()
    client = mlflow.MlflowClient()
    reviews = dataset.load(sources.resolve(str(trained / "reviews.csv")), 0.2)
    test = read_part(reviews, "test")
    predictions = pd.read_parquet(artifact(run, "predictions.parquet"))
    assert sorted(predictions["text_sha256"]) == sorted(test["hash"])
    joined = predictions.merge(test, left_on="text_sha256", right_on="hash")
    assert (joined["label_x"] == joined["label_y"]).all()
    model = mlflow.pyfunc.load_model("models:/imdb-conv1d@candidate")
    again = model.predict(joined["text"].to_numpy(dtype=object))
    np.testing.assert_allclose(joined["probability"], again, atol=1e-6)
    expected = compute_scores(predictions["label"], predictions["probability"])
    assert {name: run.data.metrics[f"test_{name}"] for name in expected} == pytest.approx(expected)
    assert run.data.metrics["test_reviews"] == 40
    found = run.data.metrics
    assert (found["test_reviews_seen"], found["test_reviews_unseen"], found["test_reviews_distinct"]) == (0, 40, 40)
    assert found["test_accuracy_unseen"] == found["test_accuracy"]
    assert not predictions["seen"].any()
    assert predictions["words"].nunique() == 40

    version = client.get_model_version("imdb-conv1d", "1")
    assert run.data.tags["model_version"] == "1"
    assert run.data.tags["training_run_id"] == version.run_id
    model_id = version.source.removeprefix("models:/")
    assert [used.model_id for used in run.inputs.model_inputs] == [run.data.tags["model_id"]] == [model_id]
    at_the_model = {metric.key: metric.value for metric in client.get_logged_model(model_id).metrics or []}
    assert at_the_model["test_accuracy"] == run.data.metrics["test_accuracy"]
    assert at_the_model["test_reviews_seen"] == 0
    assert {item.path for item in client.list_artifacts(run.info.run_id)} == {
        "predictions.parquet", "confusion.png", "roc.png", "precision_recall.png", "calibration.png", "mistakes.json",
        "classes.csv", "confused.csv",
        "baselines.csv", "baselines",
    }  # fmt: skip
    shown = client.get_model_version("imdb-conv1d", "1").tags
    assert float(shown["test_accuracy"]) == run.data.metrics["test_accuracy"]
    assert float(shown["test_loss"]) == run.data.metrics["test_loss"]
    assert (shown["evaluation_run_id"], shown["test_reviews_seen"]) == (run.info.run_id, "0")
    evaluate.main([], Signals())  # again: replaces the line in the description
    best, about_data, line, worth = client.get_model_version("imdb-conv1d", "1").description.split("\n\n")
    assert best.startswith("Best epoch")
    assert about_data.startswith("Data:")
    assert line.startswith(f"Test part: test_loss {run.data.metrics['test_loss']:.4f}, test_accuracy")
    assert worth.startswith("Is the network worth it? ")
    assert run.info.run_name == "evaluate v1 imdb-conv1d"
    assert run.data.tags["data_digest"] == reviews.digest
    assert "test_accuracy" in capsys.readouterr().out


@pytest.mark.slow
def test_evaluate_logs_mistakes_with_texts_unless_log_texts_is_false(trained: Path, tmp_path: Path) -> None:
    table = make_reviews(60, seed=1)
    table["label"] = 1 - table["label"]  # so that nearly every prediction is wrong
    table.to_csv(tmp_path / "turned.csv", index=False)
    shown = json.loads(artifact(run_evaluate(f"--data={tmp_path / 'turned.csv'}"), "mistakes.json").read_text())
    assert shown["columns"] == ["label", "probability", "text"]
    errors = [abs(label - probability) for label, probability, _ in shown["data"]]
    assert errors == sorted(errors, reverse=True)
    assert 5 < len(errors) <= 50
    assert {text for _, _, text in shown["data"]} <= set(table["text"])
    examples = pd.read_csv(artifact(run_evaluate(f"--data={tmp_path / 'turned.csv'}"), "confused.csv"))
    assert set(examples["text_1"]) <= set(table["text"])
    hidden_run = run_evaluate(f"--data={tmp_path / 'turned.csv'}", "--log_texts=false")
    hidden = artifact(hidden_run, "mistakes.json").read_text()
    assert json.loads(hidden)["columns"] == ["label", "probability", "hash"]
    hidden += artifact(hidden_run, "confused.csv").read_text() + artifact(hidden_run, "classes.csv").read_text()
    assert not any(text in hidden for text in table["text"])
    assert pd.read_csv(artifact(hidden_run, "confused.csv"))["id_1"].str.fullmatch("[0-9a-f]{64}-[01]").all()


@pytest.mark.slow
def test_evaluate_of_a_training_without_log_texts_logs_no_text(trained: Path, tmp_path: Path) -> None:
    table = make_reviews(200, seed=5)
    table.loc[:99, "label"] = 1 - table.loc[:99, "label"]
    table.to_csv(tmp_path / "secret.csv", index=False)
    arguments = [f"--data={tmp_path / 'secret.csv'}", "--epochs=1", "--log_texts=false", "--model_name=secret"]
    train.main([*TINY, *arguments], Signals())
    run = run_evaluate("--model=models:/secret@candidate")
    assert json.loads(artifact(run, "mistakes.json").read_text())["columns"] == ["label", "probability", "hash"]


@pytest.mark.slow
def test_evaluate_without_the_trainings_run_reports_unknown_rows_and_logs_no_text(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = make_reviews(100, seed=6)
    table.loc[:49, "label"] = 1 - table.loc[:49, "label"]
    table.to_csv(tmp_path / "lost.csv", index=False)
    arguments = [f"--data={tmp_path / 'lost.csv'}", "--epochs=1", "--log_texts=false", "--model_name=lost"]
    train.main([*TINY, *arguments], Signals())
    source = mlflow.MlflowClient().get_model_version("lost", "1").run_id
    shutil.rmtree(Path(mlflow.get_run(source).info.artifact_uri.removeprefix("file://")) / "data")
    run = run_evaluate("--model=models:/lost@candidate", f"--data={tmp_path / 'lost.csv'}")
    assert not {"test_reviews_seen", "test_reviews_unseen", "test_accuracy_unseen"} & set(run.data.metrics)
    sentence = "Which of these reviews the model was trained or chosen on is not known."
    assert sentence in capsys.readouterr().out
    assert sentence in run.data.tags["mlflow.note.content"]
    assert pd.read_parquet(artifact(run, "predictions.parquet"))["seen"].isna().all()
    assert json.loads(artifact(run, "mistakes.json").read_text())["columns"] == ["label", "probability", "hash"]


def test_evaluate_of_a_file_scores_its_test_part_or_all(trained: Path, tmp_path: Path) -> None:
    table = make_reviews(50, seed=2)
    table.to_csv(tmp_path / "whole.csv", index=False)
    table.assign(split=["test"] * 20 + ["train"] * 30).to_parquet(tmp_path / "part.parquet")
    before = mlflow.MlflowClient().get_model_version("imdb-conv1d", "1").tags
    assert run_evaluate(f"--data={tmp_path / 'whole.csv'}").data.metrics["test_reviews"] == 50
    assert mlflow.MlflowClient().get_model_version("imdb-conv1d", "1").tags == before
    assert run_evaluate(f"--data={tmp_path / 'part.parquet'}").data.metrics["test_reviews"] == 20
    table.assign(split="train").to_csv(tmp_path / "train.csv", index=False)
    assert run_evaluate(f"--data={tmp_path / 'train.csv'}").data.metrics["test_reviews"] == 50


def test_evaluate_on_seen_texts_counts_them_and_logs_figures_without_them(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_evaluate(f"--data={trained / 'reviews.csv'}")
    found = run.data.metrics
    assert (found["test_reviews"], found["test_reviews_seen"], found["test_reviews_unseen"]) == (200, 160, 40)
    model = mlflow.MlflowClient().get_logged_model(run.data.tags["model_id"])
    assert 200 not in {metric.value for metric in model.metrics or [] if metric.key == "test_reviews"}
    predictions = pd.read_parquet(artifact(run, "predictions.parquet"))
    others = predictions[~predictions["seen"]]
    expected = compute_scores(others["label"], others["probability"])
    assert {name: found[f"test_{name}_unseen"] for name in expected} == pytest.approx(expected)
    whole = compute_scores(predictions["label"], predictions["probability"])
    assert found["test_accuracy"] == whole["accuracy"]
    out, note = capsys.readouterr().out, run.data.tags["mlflow.note.content"]
    for text in (out, note):
        assert "on 200 reviews, of which the model has seen 160 in its training" in text
        assert "The model has seen 160 of these reviews in its training; over the other 40: test_loss " in text


@pytest.mark.parametrize(
    "change", [lambda t: f"{t}\n", str.upper, lambda t: t.replace(" ", "<br />"), lambda t: t.replace(" ", "\u3000")]
)
def test_evaluate_on_seen_words_in_other_bytes_counts_them_as_seen(
    trained: Path, tmp_path: Path, change: Callable[[str], str]
) -> None:
    reviews = dataset.load(sources.resolve(str(trained / "reviews.csv")), 0.2)
    table = read_part(reviews, "train")[["text", "label"]]
    table.assign(text=table["text"].map(change)).to_parquet(tmp_path / "disguised.parquet")
    run = run_evaluate(f"--data={tmp_path / 'disguised.parquet'}")
    assert run.data.metrics["test_reviews_seen"] == run.data.metrics["test_reviews"] == 128
    assert "test_accuracy_unseen" not in run.data.metrics  # no unseen review exists


@pytest.mark.slow
def test_evaluate_on_texts_with_seen_last_words_counts_them_as_seen(trained: Path, tmp_path: Path) -> None:
    reviews = dataset.load(sources.resolve(str(trained / "reviews.csv")), 0.2)
    table = read_part(reviews, "validation")[["text", "label"]]
    longer = [f"{'another word ' * 15}{text}" for text in table["text"]]  # more words than maxlen
    table.assign(text=longer).to_csv(tmp_path / "longer.csv", index=False)
    assert run_evaluate(f"--data={tmp_path / 'longer.csv'}").data.metrics["test_reviews_seen"] == 0
    model = ["--maxlen=5", "--max_features=50", "--embedding_dims=8", "--filters=8", "--epochs=1", "--model_name=short"]
    train.main([*model, f"--data={trained / 'reviews.csv'}"], Signals())
    run = run_evaluate("--model=models:/short@candidate", f"--data={tmp_path / 'longer.csv'}")
    assert run.data.metrics["test_reviews_seen"] == len(table)


@pytest.mark.slow
def test_evaluate_of_an_older_training_reads_seen_words_from_its_data(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Earlier trainings logged only hashes of the texts' bytes."""
    make_reviews(200, seed=7).to_csv(tmp_path / "older.csv", index=False)
    train.main([*TINY, f"--data={tmp_path / 'older.csv'}", "--epochs=1", "--model_name=older"], Signals())
    source = mlflow.MlflowClient().get_model_version("older", "1").run_id
    rows = Path(mlflow.get_run(source).info.artifact_uri.removeprefix("file://")) / "data" / "rows.parquet"
    pd.read_parquet(rows)[["hash", "label", "split"]].to_parquet(rows)
    own = run_evaluate("--model=models:/older@candidate")
    assert own.data.metrics["test_reviews_seen"] == 0
    whole = run_evaluate("--model=models:/older@candidate", f"--data={tmp_path / 'older.csv'}")
    assert whole.data.metrics["test_reviews_seen"] == 160
    assert "reading the training data again" in capsys.readouterr().out
    pd.read_csv(tmp_path / "older.csv").iloc[:80].to_csv(tmp_path / "other.csv", index=False)
    other = run_evaluate("--model=models:/older@candidate", f"--data={tmp_path / 'other.csv'}")
    assert "test_reviews_seen" not in other.data.metrics
    assert "is not known." in capsys.readouterr().out


def test_evaluate_on_changed_data_warns(trained: Path) -> None:
    path = trained / "reviews.csv"
    before, runs = path.read_text(), len(mlflow.search_runs())
    path.write_text(before.replace("n0x7,", "n0x7 changed,"))
    try:
        with pytest.raises(
            UserError, match=r"differs from what imdb-conv1d version 1 was trained on .*; restore it, or"
        ):
            run_evaluate()
    finally:
        path.write_text(before)
    assert len(mlflow.search_runs()) == runs


def test_evaluate_scores_baselines_once_for_the_same_rows(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run_evaluate()
    assert "the linear model: loss 0." in capsys.readouterr().out
    scores = {name: first.data.metrics[f"baseline_{name}"] for name in ("linear_accuracy", "most_frequent_accuracy")}
    assert scores == {"linear_accuracy": 1.0, "most_frequent_accuracy": 0.5}
    monkeypatch.setattr(baselines, "fit", None)  # not called again
    second = run_evaluate()
    own = {name for name in first.data.metrics if name.startswith("baseline_")}
    assert {name: second.data.metrics.get(name) for name in own} == {name: first.data.metrics[name] for name in own}
    assert "baselines: predictions of an earlier evaluation" in capsys.readouterr().out
    assert "No difference is shown: " in second.data.tags["mlflow.note.content"]
    table = pd.read_csv(artifact(second, "baselines.csv"))
    assert table["baseline"].tolist() == ["most_frequent", "linear"]
    assert table["difference_rows"].tolist() == [40, 40]


def test_evaluate_on_other_data_after_the_training_data_changed_says_so(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_reviews(60, seed=8).to_csv(tmp_path / "new.csv", index=False)
    path = trained / "reviews.csv"
    before = path.read_text()
    path.write_text(before.replace("n0x7,", "n0x7 changed,"))
    try:
        run = run_evaluate(f"--data={tmp_path / 'new.csv'}")
    finally:
        path.write_text(before)
    assert "no baselines: data: " in (out := capsys.readouterr().out)
    assert "reviews.csv changed since the training (digest " in out
    assert run.data.metrics["test_reviews"] == 60
    assert not [name for name in run.data.metrics if name.startswith("baseline_")]


def first_text_changed(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(text=["another text", *table["text"][1:]])


def last_label_changed(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(label=[*table["label"][:-1], 1 - table["label"].iloc[-1]])


def text_that_is_not_scored_changed(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(text=["another text" if split == "train" else text for text, split in
                              zip(table["text"], table["split"], strict=True)])  # fmt: skip


CHANGES: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "reversed": (lambda table: table[::-1], "row 1 differs"),
    "first text": (first_text_changed, "row 1 differs"),
    "last label": (last_label_changed, "row 20 differs"),
    "a text of the training part": (text_that_is_not_scored_changed, "row 3 differs"),
    "shorter": (lambda table: table[:15], "rows: 20 -> 15"),
    "one piece shorter": (lambda table: table[:10], "rows: 20 -> 10"),
    "longer": (lambda table: pd.concat([table, table[:1]]), "more than 20 rows"),
    "empty": (lambda table: table[:0], "has no rows"),
    "an invalid label": (lambda table: table.assign(label=7), "row 1: label '7'"),
}


class Constant:
    """A model that gives every review the same probability."""

    def predict(self, texts: np.ndarray) -> np.ndarray:
        return np.full(len(texts), 0.7)


@pytest.mark.parametrize("change", CHANGES)
def test_predict_on_data_that_change_between_readings_fails(tmp_path: Path, change: str) -> None:
    changed, message = CHANGES[change]
    first = make_reviews(20).assign(split=["test", "test", "train", "train"] * 5)
    readings = iter([first, changed(first)])

    def tables() -> Iterator[pd.DataFrame]:
        table = next(readings)
        yield from (table[start : start + 10] for start in range(0, len(table), 10))

    source = sources.Source("made up", "", tables)
    part = part_of(source)
    pieces = predict.predict(Constant(), part, TrainedOn())
    with pytest.raises(RunFailed, match=r"^data: made up changed while it was scored \(") as failed:
        predictions.write(pieces, part.count, tmp_path / "p.parquet", lambda done: None)
    assert message in str(failed.value)
    assert str(failed.value).endswith("; no metrics are logged; evaluate again")
    assert "\n" not in str(failed.value)


def test_predict_on_data_in_other_pieces_gives_the_same_rows(tmp_path: Path) -> None:
    table = make_reviews(20).assign(split="")
    sizes = iter([10, 7])

    def tables() -> Iterator[pd.DataFrame]:
        size = next(sizes)
        yield from (table[start : start + size] for start in range(0, len(table), size))

    source = sources.Source("made up", "", tables)
    part = part_of(source)
    pieces = pd.concat(part.pieces())
    assert pieces["text"].tolist() == table["text"].tolist()
    assert pieces["label"].tolist() == table["label"].tolist()
    assert pieces["hash"].tolist() == [hashlib.sha256(text.encode()).hexdigest() for text in table["text"]]


def test_evaluate_on_data_that_change_fails_without_figures(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, read = tmp_path / "own.csv", texts_part.read_spellings
    table = make_reviews(40, seed=9)
    table.to_csv(path, index=False)
    before = mlflow.MlflowClient().get_model_version("imdb-conv1d", "1")

    def index(source: sources.Source) -> Spellings:
        rows = read(source)
        table[::-1].to_csv(path, index=False)
        return rows

    monkeypatch.setattr(texts_part, "read_spellings", index)
    with pytest.raises(RunFailed, match="changed while"):
        run_evaluate(f"--data={path}")
    (run,) = mlflow.search_runs(filter_string="tags.verb = 'evaluate'", output_format="list", max_results=1)
    assert (run.info.status, run.data.metrics) == ("FAILED", {})
    assert "changed while" in run.data.tags["error"]
    assert "predictions.parquet" not in {item.path for item in mlflow.MlflowClient().list_artifacts(run.info.run_id)}
    found = evaluations.find_for_model(EXPERIMENT, registry.find("models:/imdb-conv1d/1"))
    assert found is None or found.info.run_id != run.info.run_id
    others = evaluations.find_for_trainings(EXPERIMENT, {before.run_id: []}).values()
    assert run.info.run_id not in {one.info.run_id for one in others}
    after = mlflow.MlflowClient().get_model_version("imdb-conv1d", "1")
    assert (after.tags, after.description) == (before.tags, before.description)


def test_evaluate_on_one_label_is_refused(trained: Path, tmp_path: Path) -> None:
    make_reviews(20).query("label == 1").to_csv(tmp_path / "one.csv", index=False)
    runs = len(mlflow.search_runs())
    with pytest.raises(UserError, match=r"data: no review to score has label 0; allowed: reviews of both labels"):
        run_evaluate(f"--data={tmp_path / 'one.csv'}")
    assert len(mlflow.search_runs()) == runs


@pytest.mark.slow
def test_predict_of_100_megabytes_needs_a_few_megabytes(tmp_path: Path) -> None:
    """Scores 100 pieces of one megabyte each."""

    def tables() -> Iterator[pd.DataFrame]:
        for number in range(100):
            table = make_reviews(100, seed=number)
            texts = pd.Series([f"{text} {'x' * 10_000}" for text in table["text"]], dtype=object)
            yield table.assign(text=texts, split="")

    source = sources.Source("made up", "", tables)

    rows = pd.DataFrame({"words": [], "split": []})
    rows.attrs["maxlen"] = 400
    part = part_of(source)
    tracemalloc.start()
    try:
        pieces = predict.predict(Constant(), part, TrainedOn(rows))
        scored = predictions.write(pieces, part.count, tmp_path / "p.parquet", lambda done: None)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(scored.rows) == 10_000
    assert not scored.rows["seen"].any()
    assert len(scored.worst) == predictions.WORST
    assert peak < 20e6, f"{peak / 1e6:.0f} MB"


def test_wrong_limit_of_the_cache_is_refused_before_a_model_is_looked_for(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMDB_CONV1D_CACHE_GB", "two")
    with pytest.raises(UserError, match=r"^IMDB_CONV1D_CACHE_GB: 'two' is not allowed; allowed: a number of gigabytes"):
        evaluate.main(["--model=models:/none/1"], Signals())
