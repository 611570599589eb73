"""Baselines beside an evaluation: stored by names of their own, kept, and never the end of the evaluation."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run

from helpers.runs import artifacts, table
from helpers.stores import copied_store
from helpers.verbs import Verb
from tracked.console.errors import UserError
from tracked.console.signals import Signals
from tracked.experiment import EVALUATE_METHODS, TRAIN_METHODS, Experiment, Request, TrainedOn, require
from tracked.models import baselines

from diabetes import SOURCE, Diabetes  # isort: skip  # its folder is on the path since verbs is imported

FILES = {"baselines/median.parquet", "baselines/linear.parquet", "baselines.csv"}
QUESTION = "Is the network worth it? "


class Counting(Diabetes):
    """The example, whose baselines are counted when they are fitted, and can be changed."""

    calls = 0
    change: Callable[[pd.DataFrame], pd.DataFrame] | None = None
    recipe = "1"

    def describe_recipe(self, trained_on: TrainedOn) -> str:
        return self.recipe

    def predict_baselines(self, part: Any, trained_on: TrainedOn) -> Mapping[str, Any]:
        self.calls += 1
        tables = super().predict_baselines(part, trained_on)
        return {name: self.change(one) for name, one in tables.items()} if self.change else tables


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Path]:
    """A folder with a store that holds one training of the diabetes experiment and its version."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch, copied_store(empty_store, folder, patch):
        Verb("train", Diabetes()).main(["--epochs=3"], Signals())
        yield folder


@pytest.fixture(autouse=True)
def _own_store(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A copy of that store for each test."""
    with copied_store(trained / "mlflow.db", tmp_path, monkeypatch):
        yield


def evaluate(experiment: Diabetes, *arguments: str) -> Run:
    Verb("evaluate", experiment).main(arguments, Signals())
    (run,) = mlflow.search_runs(filter_string="tags.verb = 'evaluate'", output_format="list", max_results=1)
    return run


def scores_of_baselines(run: Run) -> dict[str, float]:
    return {name: value for name, value in run.data.metrics.items() if name.startswith("baseline_")}


@pytest.mark.slow
def test_evaluation_stores_baselines_by_names_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    run = evaluate(Diabetes())
    assert artifacts(run) == {"predictions.parquet", *FILES} | (artifacts(run) & {"mistakes.json"})
    dataset = Diabetes().load(None, SOURCE)
    target, truth = dataset.arrays("train")[1], dataset.arrays("test")[1]
    scores = scores_of_baselines(run)
    assert set(scores) == {f"baseline_{name}_{score}" for name in ("median", "linear") for score in ("loss", "r2")}
    assert scores["baseline_median_loss"] == pytest.approx(float(np.abs(truth - np.median(target)).mean()))
    assert scores["baseline_linear_loss"] < 50 < scores["baseline_median_loss"]
    rows = table(run, "baselines.csv").set_index("baseline")
    assert rows.loc["linear", "loss"] == pytest.approx(scores["baseline_linear_loss"])
    gap = run.data.metrics["test_loss"] - scores["baseline_linear_loss"]
    assert rows.loc["linear", "difference_absolute_error"] == pytest.approx(gap)
    assert (
        rows.loc["linear", "difference_absolute_error_low"] < gap < rows.loc["linear", "difference_absolute_error_high"]
    )
    kept = pd.read_parquet(mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/baselines/linear.parquet"))
    assert list(kept) == ["id", "target", "predicted", "loss"]
    sentence = f"{QUESTION}No: the linear regression has an absolute error of "
    version = mlflow.MlflowClient().get_model_version("diabetes", "1")
    at_the_model = mlflow.MlflowClient().get_logged_model(version.source.removeprefix("models:/")).metrics or []
    assert not [metric.key for metric in at_the_model if metric.key.startswith("baseline")]
    for text in (capsys.readouterr().out, run.data.tags["mlflow.note.content"], version.description):
        assert sentence in text
        assert " on these 147 patients, the network of " in text
    assert not [name for name in version.tags if "baseline" in name]


def test_second_evaluation_takes_the_kept_predictions() -> None:
    experiment = Counting()
    first, second = evaluate(experiment), evaluate(experiment)
    assert experiment.calls == 1
    assert scores_of_baselines(first) == scores_of_baselines(second) != {}
    assert first.data.tags["baseline_key"] == second.data.tags["baseline_key"]
    assert artifacts(second) >= FILES
    assert second.data.tags["mlflow.note.content"] == first.data.tags["mlflow.note.content"]
    assert mlflow.MlflowClient().get_model_version("diabetes", "1").description.count(QUESTION) == 1


@pytest.mark.slow
def test_another_recipe_and_an_evaluation_that_has_not_finished_are_not_taken() -> None:
    experiment = Counting()
    first = evaluate(experiment)
    mlflow.MlflowClient().set_terminated(first.info.run_id, "KILLED")
    second = evaluate(experiment)
    assert experiment.calls == 2
    experiment.recipe = "2"
    assert evaluate(experiment).data.tags["baseline_key"] != second.data.tags["baseline_key"]
    assert experiment.calls == 3


def lost(path: Path) -> None:
    path.unlink()


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def of_other_rows(path: Path) -> None:
    pd.read_parquet(path).assign(id=lambda rows: "x" + rows["id"]).to_parquet(path)


def without_a_column(path: Path) -> None:
    pd.read_parquet(path).drop(columns="target").to_parquet(path)


@pytest.mark.slow
def test_kept_predictions_that_cannot_be_used_are_made_again(capsys: pytest.CaptureFixture[str]) -> None:
    experiment = Counting()
    run = evaluate(experiment)
    scores = scores_of_baselines(run)
    for count, harm in enumerate((lost, torn, of_other_rows, without_a_column), start=1):
        assert experiment.calls == count
        harm(Path(run.info.artifact_uri.removeprefix("file://")) / "baselines" / "linear.parquet")
        line = f"evaluation {run.info.run_id} has no usable predictions of baselines ("
        run = evaluate(experiment)
        assert experiment.calls == count + 1
        assert scores_of_baselines(run) == scores
        assert line in capsys.readouterr().err


def test_baseline_false_leaves_everything_out() -> None:
    experiment = Counting()
    run = evaluate(experiment, "--baseline=false")
    assert (experiment.calls, scores_of_baselines(run), run.data.params["baseline"]) == (0, {}, "false")
    assert not artifacts(run) & FILES
    assert "test_loss" in run.data.metrics
    assert QUESTION not in run.data.tags["mlflow.note.content"]


def test_experiment_without_baselines_is_compared_with_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    class Bare(Diabetes):
        baselines: ClassVar[Mapping[str, str]] = {}

    run = evaluate(Bare())
    assert not artifacts(run) & FILES
    assert "baselines" not in capsys.readouterr().out


def refuse(table: pd.DataFrame) -> pd.DataFrame:
    raise UserError("data: the training data changed")


def fail(table: pd.DataFrame) -> pd.DataFrame:
    raise MemoryError


FAULTS: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str, str]] = {
    "refused": (refuse, "out", "no baselines: data: the training data changed\n"),
    "out of memory": (fail, "err", "error: no baselines, as they failed: MemoryError: MemoryError\n"),
    "fewer rows": (lambda t: t[1:], "err", "ValueError: 146 rows that are not the 147 of the model's predictions"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_baselines_that_fail_leave_the_evaluation_whole(fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    experiment = Counting()
    change, stream, line = FAULTS[fault]
    experiment.change = staticmethod(change)
    run = evaluate(experiment)
    assert run.info.status == "FINISHED"
    assert "test_loss" in run.data.metrics
    assert "predictions.parquet" in artifacts(run)
    assert not artifacts(run) & FILES
    assert (scores_of_baselines(run), run.data.tags.get("baseline_key")) == ({}, None)
    printed = capsys.readouterr()
    assert line in getattr(printed, stream)
    assert QUESTION not in printed.out


ROWS = pd.DataFrame({"id": list("abc"), "key": list("xxy"), "loss": [1.0, 2.0, 3.0], "seen": [True, False, None]})


def test_align_orders_rows_and_takes_key_and_seen_from_the_model() -> None:
    own = pd.DataFrame({"id": list("cab"), "loss": [30.0, 10.0, 20.0], "seen": False, "guess": [3, 1, 2]})
    aligned = baselines.align(own, ROWS)
    assert aligned["guess"].tolist() == [1, 2, 3]
    assert aligned["loss"].tolist() == [10, 20, 30]
    assert aligned[["id", "key", "seen"]].equals(ROWS[["id", "key", "seen"]])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda t: pd.concat([t[1:], t[1:2]]), ValueError, "3 rows that are not the 3 of the model's predictions"),
        (lambda t: t.assign(id=list("abd")), ValueError, "3 rows that are not the 3 of the model's predictions"),
        (lambda t: t.assign(loss=[1, 2, np.inf]), ValueError, "a loss that is not a finite number of 0 or more"),
        (lambda t: t.assign(loss=[1, 2, None]), ValueError, "a loss that is not a finite number of 0 or more"),
        (lambda t: t.assign(loss=[1, 2, -1]), ValueError, "a loss that is not a finite number of 0 or more"),
        (lambda t: t.assign(correct=True), ValueError, "correct in either the model's predictions or the baseline's"),
        (lambda t: t.drop(columns="loss"), KeyError, "loss"),
    ],
)
def test_align_of_faulty_predictions_is_refused(
    change: Callable[[pd.DataFrame], pd.DataFrame], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        baselines.align(change(ROWS), ROWS)


def test_interrupt_while_baselines_are_fitted_leaves_no_tables() -> None:
    class Interrupting(Counting):
        def predict_baselines(self, part: Any, trained_on: TrainedOn) -> Mapping[str, Any]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(Interrupting())
    (run,) = mlflow.search_runs(filter_string="tags.verb = 'evaluate'", output_format="list", max_results=1)
    assert run.info.status == "FAILED"
    assert "test_loss" in run.data.metrics
    assert not artifacts(run) & FILES


def test_key_names_all_that_predictions_depend_on() -> None:
    experiment, part = Diabetes(), Diabetes().load_part(Request(SOURCE))
    keys = {
        baselines.make_key(experiment, part, trained_on)
        for trained_on in (TrainedOn(digest="a"), TrainedOn(digest="b"), TrainedOn(None, "a", {"seed": "2"}))
    }
    assert len(keys) == 3


def test_baseline_of_an_unsuitable_name_is_refused() -> None:
    class Named(Diabetes):
        baselines: ClassVar[Mapping[str, str]] = {"the-mean": "the mean"}

    with pytest.raises(UserError, match=r"the baseline 'the-mean' is not allowed; allowed: lowercase letters, digits"):
        require(Named(), EVALUATE_METHODS)
    require(Named(), TRAIN_METHODS)


def test_baselines_without_their_predictions_are_refused() -> None:
    class Silent(Diabetes):
        predict_baselines = Experiment.predict_baselines

    with pytest.raises(UserError, match=r"lacks predict_baselines\(part, trained_on\); this verb needs load_part, "):
        require(Silent(), EVALUATE_METHODS)
