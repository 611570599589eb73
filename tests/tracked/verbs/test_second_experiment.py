"""A regression under the same verbs, and two experiments in one store, each limited to its own runs."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import yaml
from mlflow.entities import Run

from helpers import verbs
from helpers.recording import record
from helpers.reviews import TINY, make_reviews
from helpers.stores import copied_store
from tracked.console.errors import UserError
from tracked.console.signals import Signals
from tracked.experiment import Request
from tracked.models import champions

from diabetes import Diabetes  # isort: skip  # its folder is on the path since verbs is imported

DIABETES = {verb: verbs.Verb(verb, Diabetes()) for verb in ("train", "evaluate", "compare", "replay", "promote")}
DIABETES["rollback"] = verbs.Verb("rollback", Diabetes())
REVIEWS = {verb: getattr(verbs, verb) for verb in DIABETES}
NAME = "diabetes"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Path]:
    """A folder with a store of three versions of diabetes and two of imdb-conv1d, in one MLflow experiment.

    Version 3 of diabetes has learnt next to nothing.
    """
    assert not any(name.startswith("MLFLOW_RUN") for name in os.environ)
    folder = tmp_path_factory.mktemp("both")
    make_reviews(200).to_csv(folder / "reviews.csv", index=False)
    with pytest.MonkeyPatch.context() as patch, copied_store(empty_store, folder, patch):
        for seed, patience, epochs, rate in ((1, 5, 60, 0.01), (2, 5, 60, 0.01), (3, 30, 2, 1e-9)):
            flags = f"--patience={patience} --epochs={epochs} --learning_rate={rate} --seed={seed}"
            DIABETES["train"].main(flags.split(), Signals())
        for seed in (1, 2):
            REVIEWS["train"].main([*TINY, f"--data={folder}/reviews.csv", "--epochs=2", f"--seed={seed}"], Signals())
        yield folder


@pytest.fixture(autouse=True)
def _own_store(both: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A copy of that store for each test; the artifacts are shared, as tests only add to them."""
    with copied_store(both / "mlflow.db", tmp_path, monkeypatch):
        yield


def runs(verb: str, experiment: str = NAME) -> list[Run]:
    """The verb's runs, newest first."""
    condition = f"tags.verb = '{verb}' and tags.experiment = '{experiment}'"
    return mlflow.search_runs(filter_string=condition, output_format="list")


def everything() -> dict[str, Any]:
    """Read all runs and versions of the store."""
    client = mlflow.MlflowClient()
    contents = {run.info.run_id: run.to_dictionary() for run in mlflow.search_runs(output_format="list")}
    models = {model.name: (dict(model.aliases), dict(model.tags)) for model in client.search_registered_models()}
    versions = {(one.name, one.version): (one.tags, one.description) for one in client.search_model_versions()}
    return {"runs": contents, "models": models, "versions": versions}


def artifact(run: Run, name: str) -> Path:
    return Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path=name))


def run(verb: str, *arguments: str, of: Mapping[str, verbs.Verb] = DIABETES) -> int | None:
    return of[verb].main(arguments, Signals())


def model(version: int, name: str = NAME) -> str:
    return f"--model=models:/{name}/{version}"


# One experiment beside the first, from its evaluation to a rollback.


@pytest.mark.slow
def test_evaluate_of_a_regression_logs_its_own_figures(capsys: pytest.CaptureFixture[str]) -> None:
    run("evaluate", model(1), "--baseline=false")
    (found,) = runs("evaluate")
    assert found.info.status == "FINISHED"
    names = {"test_loss", "test_rmse", "test_r2"}
    assert set(found.data.metrics) == {
        *names, *(f"{name}_unseen" for name in names), "test_patients", "test_patients_distinct",
        "test_patients_seen", "test_patients_unseen", "test_seconds",
    }  # fmt: skip
    metrics = found.data.metrics
    assert (metrics["test_patients"], metrics["test_patients_seen"], metrics["test_patients_unseen"]) == (147, 0, 147)
    table = pd.read_parquet(artifact(found, "predictions.parquet"))
    assert list(table) == ["id", "loss", "key", "seen", "target", "predicted"]
    assert metrics["test_loss"] == pytest.approx((table["target"] - table["predicted"]).abs().mean())
    assert metrics["test_rmse"] == pytest.approx(((table["target"] - table["predicted"]) ** 2).mean() ** 0.5)
    rest = ((table["target"] - table["predicted"]) ** 2).sum() / ((table["target"] - table["target"].mean()) ** 2).sum()
    assert metrics["test_r2"] == pytest.approx(1 - rest)
    assert 30 < metrics["test_loss"] < 60
    assert 0.3 < metrics["test_r2"] < 0.7
    assert {item.path for item in mlflow.MlflowClient().list_artifacts(found.info.run_id)} == {
        "predictions.parquet", "mistakes.json",
    }  # fmt: skip
    worst = json.loads(artifact(found, "mistakes.json").read_text())
    assert len(worst["data"]) == 50
    where = {name: place for place, name in enumerate(worst["columns"])}
    losses = [abs(row[where["target"]] - row[where["predicted"]]) for row in worst["data"]]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] == pytest.approx(table["loss"].max(), abs=1e-3)
    version = mlflow.MlflowClient().get_model_version(NAME, "1")
    assert {name for name in version.tags if name.startswith("test_")} == {
        "test_loss", "test_r2", "test_patients_seen",
    }  # fmt: skip
    summary = f"test_loss {metrics['test_loss']:.4f}, test_r2 {metrics['test_r2']:.4f} on 147 patients"
    assert summary in capsys.readouterr().out
    assert summary in version.description


@pytest.mark.slow
def test_promote_of_regressions_decides_by_their_absolute_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("promote", model(3)) == 0
    assert "Promoted: diabetes version 3 is the first champion." in capsys.readouterr().out
    assert champions.current_champion(NAME) == "3"
    assert run("promote", model(1)) == 0  # replaces
    decided = runs("promote")[0]
    metrics = decided.data.metrics
    assert set(metrics) == {
        "absolute_error_difference", "absolute_error_upper", "test_patients", "decisions_on_these_patients",
    }  # fmt: skip
    evaluated = {one.data.tags["model_version"]: one.data.metrics["test_loss"] for one in runs("evaluate")}
    assert metrics["absolute_error_difference"] == pytest.approx(evaluated["1"] - evaluated["3"])
    assert metrics["absolute_error_difference"] < metrics["absolute_error_upper"] < 10
    assert (metrics["test_patients"], metrics["decisions_on_these_patients"]) == (147, 1)
    tags = mlflow.MlflowClient().get_model_version(NAME, "1").tags
    upper = float(tags["promotion_absolute_error_upper"])
    assert upper == pytest.approx(metrics["absolute_error_upper"], abs=1e-4)
    out = capsys.readouterr().out
    assert "Promoted: diabetes version 1 replaces version 3 as champion: its absolute error differs by -" in out
    assert "within the margin of 10 (losses are capped at 200 points a patient; failures rarer than" in out
    assert "these patients have decided 1 promotion so far" in out

    assert run("promote", model(2), "--margin=0.001") == 3  # equal versions, and too few rows to show it
    assert champions.current_champion(NAME) == "1"
    assert runs("promote")[0].data.tags["decision"] == "kept"
    out = capsys.readouterr().out
    assert "Kept: diabetes version 2 does not replace version 1 as champion" in out
    assert "beyond the margin of 0.001" in out
    assert run("promote", model(3)) == 3  # worse by far
    assert champions.current_champion(NAME) == "1"

    assert run("promote", model(2)) == 0
    assert champions.current_champion(NAME) == "2"
    run("rollback")
    assert champions.current_champion(NAME) == "1"
    assert "Rolled back: diabetes version 1 is the champion again, in place of version 2." in capsys.readouterr().out
    assert (runs("rollback")[0].info.status, runs("rollback")[0].data.tags["model_version"]) == ("FINISHED", "1")
    run("rollback")
    assert champions.current_champion(NAME) == "3"
    with pytest.raises(UserError, match=r"^model_name: diabetes has no former champion: version 3 is its first; "):
        run("rollback")


@pytest.mark.slow
def test_promote_with_seen_patients_leaves_them_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A promotion on the whole table decides on the held-out rows, and is undecided without them."""
    run("promote", model(3))

    class Whole(Diabetes):
        shown = "train", "test"

        def load_part(self, request: Request) -> Any:
            part = super().load_part(request)
            return Some(part.dataset, self.shown)

    verb = verbs.Verb("promote", Whole())
    assert verb.main([model(1)], Signals()) == 0
    metrics = runs("promote")[0].data.metrics
    assert metrics["test_patients"] == 147
    assert {one.data.metrics["test_patients"] for one in runs("evaluate")} == {147 + 236}
    assert {one.data.metrics["test_patients_seen"] for one in runs("evaluate")} == {236}
    assert "236 patients that a training has seen are left out" in capsys.readouterr().out
    monkeypatch.setattr(Whole, "shown", ("train", "validation"))
    assert verb.main([model(2)], Signals()) == 3
    assert "no patient is left that neither has seen in its training; 295" in capsys.readouterr().out
    assert champions.current_champion(NAME) == "1"


class Some:
    """Several parts of a table as one part."""

    def __init__(self, dataset: Any, names: tuple[str, ...]) -> None:
        parts = [dataset.part(name) for name in names]
        first = parts[0]
        self.source, self.digest, self.columns, self.total = first.source, first.digest, first.columns, first.total
        self.ids, self.keys = ([one for part in parts for one in getattr(part, name)] for name in ("ids", "keys"))
        self.rows_digest = "+".join(part.rows_digest for part in parts)
        self.count = sum(part.count for part in parts)
        self.inputs = pd.concat([part.inputs for part in parts], ignore_index=True)
        values = self.inputs.astype("float32")
        self.arrays = values.drop(columns="target").to_numpy(), values[["target"]].to_numpy()
        self._parts = parts

    def seen(self, trained_on: Any) -> list[bool]:
        return [one for part in self._parts for one in part.seen(trained_on)]


def test_promote_on_too_few_patients_is_undecided(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run("promote", model(3))

    class Few(Diabetes):
        def load_part(self, request: Request) -> Any:
            return FewRows(super().load_part(request).dataset, ("test",))

    assert verbs.Verb("promote", Few()).main([model(1), "--margin=50"], Signals()) == 3
    assert "undecided: 20 distinct patients are needed" in capsys.readouterr().out
    assert "decisions_on_these_patients" not in runs("promote")[0].data.metrics
    assert champions.current_champion(NAME) == "3"


class FewRows(Some):
    """The first ten rows."""

    def __init__(self, dataset: Any, names: tuple[str, ...]) -> None:
        super().__init__(dataset, names)
        self.ids, self.keys, self.inputs = self.ids[:10], self.keys[:10], self.inputs[:10]
        self.count, self.rows_digest = 10, "ten"
        self.arrays = self.arrays[0][:10], self.arrays[1][:10]

    def seen(self, trained_on: Any) -> list[bool]:
        return super().seen(trained_on)[:10]


def test_compare_of_regressions_has_no_column_of_accuracy(capsys: pytest.CaptureFixture[str]) -> None:
    for version in (1, 2, 3):
        run("evaluate", model(version))
    run("compare")
    (found,) = runs("compare")
    assert {item.path for item in mlflow.MlflowClient().list_artifacts(found.info.run_id)} == {
        "comparison.csv", "comparison.html", "pairs.csv",
    }  # fmt: skip
    table = pd.read_csv(artifact(found, "comparison.csv"))
    assert len(table) == 3
    assert {"test_loss", "test_r2", "test_patients", "test_seen"} <= set(table)
    assert (table["test_patients"] == 147).all()
    pairs = pd.read_csv(artifact(found, "pairs.csv"))
    assert pairs.columns.tolist() == [
        "first_run_id", "second_run_id", "same_rows", "sentence", "rows",
        "absolute_error", "absolute_error_low", "absolute_error_high", "absolute_error_is_real", "copies",
    ]  # fmt: skip
    assert pairs["rows"].tolist() == [147, 147]
    assert pairs["absolute_error_is_real"].tolist() == [False, True]
    losses = dict(zip(table["run_id"], table["test_loss"], strict=True))
    differences = [losses[one.first_run_id] - losses[one.second_run_id] for one in pairs.itertuples()]
    assert pairs["absolute_error"].tolist() == pytest.approx(differences)
    html, out = artifact(found, "comparison.html").read_text(), capsys.readouterr().out
    for text in (html, out, found.data.tags["mlflow.note.content"]):
        assert "of absolute error" in text
        assert "on 147 patients; the difference is significant." in text
        assert "test_r2" in text.replace("\\", "").replace("<wbr>", "")
    text = (html + out).lower()
    assert "mcnemar" not in text
    assert "review" not in text
    assert "points of" not in text


def test_replay_of_the_second_experiment_reads_its_own_trainings(capsys: pytest.CaptureFixture[str]) -> None:
    trainings = {one.info.run_id for one in runs("train")}
    run("replay", "--run=all")
    (found,) = runs("replay")
    table = pd.read_csv(artifact(found, "replay.csv"))
    assert set(table["run_id"]) == trainings
    assert set(table["monitor"]) == {"val_loss"}
    assert "experiment 'Default': 3 of 3 trainings have finished" in capsys.readouterr().out
    run("replay")
    assert runs("replay")[0].data.tags["source_run_id"] == runs("train")[0].info.run_id


# Two experiments in one MLflow experiment.


@pytest.mark.parametrize(("own", "name", "count"), [(DIABETES, NAME, 3), (REVIEWS, "imdb-conv1d", 2)])
def test_compare_and_replay_in_a_shared_store_take_own_and_foreign_trainings(
    own: Mapping[str, verbs.Verb], name: str, count: int
) -> None:
    foreign = record([0.5, 0.4, 0.45], {"patience": 2})
    expected = {one.info.run_id for one in runs("train", name)}
    assert len(expected) == count
    run("compare", of=own)
    assert set(pd.read_csv(artifact(runs("compare", name)[0], "comparison.csv"))["run_id"]) == expected | {foreign}
    run("replay", "--run=all", of=own)
    assert set(pd.read_csv(artifact(runs("replay", name)[0], "replay.csv"))["run_id"]) == expected | {foreign}


def test_training_without_an_experiments_tag_belongs_to_the_first_experiment() -> None:
    untagged = record([0.5, 0.4, 0.45], {"patience": 2}, {"verb": "train", "stop_reason": "patience"})
    for own, name, count in ((DIABETES, NAME, 3), (REVIEWS, "imdb-conv1d", 2 + 1)):
        run("compare", of=own)
        found = pd.read_csv(artifact(runs("compare", name)[0], "comparison.csv"))["run_id"].tolist()
        assert (len(found), untagged in found) == (count, name != NAME)


@pytest.mark.parametrize("verb", ["evaluate", "promote"])
@pytest.mark.parametrize(
    ("own", "name", "other"), [(DIABETES, NAME, "imdb-conv1d"), (REVIEWS, "imdb-conv1d", NAME)], ids=["of", "for"]
)
def test_model_of_the_other_experiment_is_refused_by_its_name(
    own: Mapping[str, verbs.Verb], name: str, other: str, verb: str
) -> None:
    before = everything()
    for uri in (f"models:/{other}/1", f"models:/{other}@candidate"):
        with pytest.raises(UserError) as refused:
            run(verb, f"--model={uri}", of=own)
        assert f"is of experiment {other!r}; allowed: a model of {name!r}" in str(refused.value)
        assert "\n" not in str(refused.value)
    assert everything() == before


def test_model_of_the_other_experiment_without_a_version_is_refused() -> None:
    source = mlflow.MlflowClient().get_model_version(NAME, "1").source
    with pytest.raises(UserError, match=r"is of experiment 'diabetes'; allowed: a model of 'imdb-conv1d'"):
        run("evaluate", f"--model={source}", of=REVIEWS)


@pytest.mark.parametrize(
    ("own", "name", "other"), [(DIABETES, NAME, "imdb-conv1d"), (REVIEWS, "imdb-conv1d", NAME)], ids=["of", "for"]
)
def test_rollback_of_the_other_experiments_model_is_refused(
    own: Mapping[str, verbs.Verb], name: str, other: str
) -> None:
    client = mlflow.MlflowClient()
    client.set_registered_model_alias(other, "champion", "2")
    client.set_registered_model_tag(other, "champions", json.dumps(["1", "2"]))
    before = everything()
    with pytest.raises(UserError) as refused:
        run("rollback", f"--model_name={other}", of=own)
    assert str(refused.value) == (
        f"model_name: {other} version 1 is of experiment {other!r}; allowed: a model of {name!r}"
    )
    assert everything() == before
    assert champions.current_champion(other) == "2"


def forget_the_experiment(name: str, version: int) -> None:
    """Remove the experiment's name from a model's metadata, as in models of earlier versions."""
    client = mlflow.MlflowClient()
    place = client.get_model_version_download_uri(name, str(version)).removeprefix("file://")
    path = Path(place, "MLmodel")
    mlmodel = yaml.safe_load(path.read_text())
    assert mlmodel["metadata"].pop("experiment") == name
    path.write_text(yaml.safe_dump(mlmodel))


@pytest.mark.slow
def test_version_without_an_experiments_tag_belongs_to_the_first_experiment(
    both: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = Path(mlflow.MlflowClient().get_model_version_download_uri("imdb-conv1d", "1").removeprefix("file://"))
    whole = (own / "MLmodel").read_text()
    forget_the_experiment("imdb-conv1d", 1)
    try:
        before = everything()
        for verb in ("evaluate", "promote"):
            with pytest.raises(UserError, match="is of another experiment, which has not named itself; allowed: a mod"):
                run(verb, model(1, "imdb-conv1d"))
        assert everything() == before
        run("evaluate", model(1, "imdb-conv1d"), of=REVIEWS)
        assert run("promote", model(1, "imdb-conv1d"), of=REVIEWS) == 0
        assert run("promote", model(2, "imdb-conv1d"), "--margin=5", of=REVIEWS) == 0
        run("rollback", of=REVIEWS)
        assert champions.current_champion("imdb-conv1d") == "1"
    finally:
        (own / "MLmodel").write_text(whole)


@pytest.mark.parametrize(
    ("own", "name", "other"), [(DIABETES, NAME, "imdb-conv1d"), (REVIEWS, "imdb-conv1d", NAME)], ids=["of", "for"]
)
def test_runs_of_the_other_experiment_are_refused_by_id(own: Mapping[str, verbs.Verb], name: str, other: str) -> None:
    mine, theirs = (runs("train", whose)[0].info.run_id for whose in (name, other))
    before = everything()
    reason = f"'{theirs}' is not allowed; allowed: a run of experiment '{name}'; this one is of experiment '{other}'"
    for verb, argument, parameter in (
        ("replay", f"--run={theirs}", "run"),
        ("compare", f"--runs={theirs}", "runs"),
        ("compare", f"--runs={mine},{theirs}", "runs"),
    ):
        with pytest.raises(UserError) as refused:
            run(verb, argument, of=own)
        assert str(refused.value) == f"{parameter}: {reason}"
    assert everything() == before


def test_untagged_run_of_a_verb_is_refused_by_the_second_experiment() -> None:
    untagged = record([0.5, 0.4, 0.45], {"patience": 2}, {"verb": "train", "stop_reason": "patience"})
    with pytest.raises(
        UserError, match=f"^run: '{untagged}' .*; this one is of another experiment, which has not named"
    ):
        run("replay", f"--run={untagged}")
    run("replay", f"--run={untagged}", of=REVIEWS)


@pytest.mark.slow
def test_promote_with_the_other_experiments_evaluation_evaluates_again() -> None:
    """Even if the evaluation names the own training and rows."""
    run("evaluate", model(1))
    (found,) = runs("evaluate")
    mlflow.MlflowClient().set_tag(found.info.run_id, "experiment", "another")
    run("compare")
    table = pd.read_csv(artifact(runs("compare")[0], "comparison.csv"))
    assert table["evaluation_run_id"].isna().all()
    run("promote", model(3))
    run("promote", model(1))
    assert {one.data.tags["model_version"] for one in runs("evaluate")} == {"1", "3"}  # repeated


def test_train_under_another_experiments_model_name_is_refused_without_a_run() -> None:
    before = everything()
    with pytest.raises(
        UserError, match=r"^model_name: imdb-conv1d version \d+ is of experiment 'imdb-conv1d'; allowed"
    ):
        run("train", "--model_name=imdb-conv1d")
    with pytest.raises(UserError, match=r"^model_name: diabetes version \d+ is of experiment 'diabetes'; allowed"):
        run("train", "--model_name=diabetes", of=REVIEWS)
    assert everything() == before


def test_rollback_from_another_experiments_champion_is_refused() -> None:
    client = mlflow.MlflowClient()
    client.set_model_version_tag("imdb-conv1d", "1", "experiment", NAME)  # as if registered by hand
    for version in ("1", "2"):
        client.set_registered_model_alias("imdb-conv1d", champions.CHAMPION, version)
    client.set_registered_model_tag("imdb-conv1d", champions.CHAMPIONS, json.dumps(["1", "2"]))
    before = everything()
    with pytest.raises(UserError, match=r"^model_name: imdb-conv1d version 2 is of experiment 'imdb-conv1d'; allowed"):
        run("rollback", "--model_name=imdb-conv1d")
    assert everything() == before


def test_subclass_of_the_first_experiment_owns_no_untagged_runs() -> None:
    class Second(type(verbs.EXPERIMENT)):  # type: ignore[misc]
        name = "imdb-second"

    for found in runs("train", "imdb-conv1d"):
        mlflow.MlflowClient().delete_tag(found.info.run_id, "experiment")
    with pytest.raises(UserError, match="an experiment with a training"):
        verbs.Verb("compare", Second()).main([], Signals())
    run("compare", of=REVIEWS)


def test_promote_with_an_evaluation_in_another_unit_evaluates_again(monkeypatch: pytest.MonkeyPatch) -> None:
    run("evaluate", "--model=models:/diabetes/1")
    (first,) = runs("evaluate")
    assert first.data.tags["loss_of_rows"] == "absolute error in points"
    mlflow.MlflowClient().set_tag(first.info.run_id, "loss_of_rows", "relative error in shares")
    run("promote", "--model=models:/diabetes/1")
    run("promote", "--model=models:/diabetes/2")
    again = [one for one in runs("evaluate") if one.data.tags["model_version"] == "1"]
    assert len(again) == 2, "version 1 is evaluated anew"


@pytest.mark.slow
@pytest.mark.parametrize("version", ["1", "2"])
def test_promote_with_either_evaluation_in_another_unit_evaluates_it_again(version: str) -> None:
    for number in ("1", "2"):
        run("evaluate", f"--model=models:/diabetes/{number}")
    run("promote", "--model=models:/diabetes/1")
    (found,) = [one for one in runs("evaluate") if one.data.tags["model_version"] == version]
    mlflow.MlflowClient().set_tag(found.info.run_id, "loss_of_rows", "relative error in shares")
    assert run("promote", "--model=models:/diabetes/2") == 0
    losses = [one.data.tags["loss_of_rows"] for one in runs("evaluate") if one.data.tags["model_version"] == version]
    assert losses == ["absolute error in points", "relative error in shares"]


@pytest.mark.slow
def test_inputs_that_one_experiments_training_forbids_are_logged_by_neither(both: Path) -> None:
    from tracked.runs import evaluations

    digest = runs("train", "imdb-conv1d")[0].data.tags["data_digest"]

    class Second(type(verbs.EXPERIMENT)):  # type: ignore[misc]
        name = "imdb-second"

    assert not evaluations.are_private(Second(), digest)
    arguments = [*TINY, f"--data={both}/reviews.csv", "--epochs=1", "--log_texts=false"]
    REVIEWS["train"].main(arguments, Signals())
    assert evaluations.are_private(Second(), digest)
    assert not evaluations.are_private(Diabetes(), digest)  # it has no such parameter
