"""The verbs promote and rollback on real versions: alias, tags and runs, and refusals."""

import dataclasses
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlflow.entities import Run

from helpers import SRC, warm
from helpers.reviews import TINY, make_reviews, read_part
from helpers.stores import copied_store
from helpers.verbs import Verb, evaluate, promote, rollback, train
from imdb_conv1d import dataset, sources
from imdb_conv1d.experiment import EXPERIMENT
from tracked.console.errors import RunFailed, UserError
from tracked.console.signals import Signals
from tracked.experiment import Experiment
from tracked.models import champions, promotion
from tracked.runs import evaluations, registry, writer

NAME = "imdb-conv1d"
WIDE = "--margin=5"  # any version passes
NARROW = "--margin=0"


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Path]:
    """A folder with a store of versions 1 and 2, which are good, and 3, which is untrained."""
    folder = tmp_path_factory.mktemp("versions")
    make_reviews(400).to_csv(folder / "reviews.csv", index=False)
    with pytest.MonkeyPatch.context() as patch, copied_store(empty_store, folder, patch):
        for seed, epochs, rate in ((1, 8, 0.01), (2, 8, 0.01), (3, 1, 1e-9)):
            arguments = [f"--data={folder / 'reviews.csv'}", f"--seed={seed}", f"--epochs={epochs}"]
            train.main([*TINY, *arguments, f"--learning_rate={rate}"], Signals())
        yield folder


@pytest.fixture(autouse=True)
def _own_store(versions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A copy of that store for each test; the artifacts are shared, as tests only add to them."""
    with copied_store(versions / "mlflow.db", tmp_path, monkeypatch):
        yield


def champion() -> str:
    return champions.current_champion(NAME)


def model(version: int) -> str:
    return f"--model=models:/{NAME}/{version}"


def run_promote(version: int, *arguments: str) -> int:
    return promote.main([model(version), *arguments], Signals())


def runs(verb: str) -> list[Run]:
    """The verb's runs, newest first."""
    return mlflow.search_runs(filter_string=f"tags.verb = '{verb}'", output_format="list")


def tags(version: int) -> dict[str, str]:
    return dict(mlflow.MlflowClient().get_model_version(NAME, str(version)).tags)


@pytest.mark.slow
def test_promote_without_a_champion_promotes_without_comparison(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_promote(3) == 0
    assert champion() == "3"
    (run,) = runs("promote")
    assert run.info.status == "FINISHED"
    assert run.data.tags["decision"] == "promoted"
    assert run.data.tags["champion_version"] == "none"
    assert runs("evaluate") == []
    assert f"Promoted: {NAME} version 3 is the first champion." in capsys.readouterr().out
    assert (tags(3)["promotion"], tags(3)["promotion_run_id"]) == ("promoted", run.info.run_id)
    assert run_promote(3) == 0
    assert "Unchanged: imdb-conv1d version 3 is the champion already." in capsys.readouterr().out
    assert tags(3)["promotion_run_id"] == run.info.run_id


def test_promote_of_a_better_version_replaces_the_champion(capsys: pytest.CaptureFixture[str]) -> None:
    run_promote(3)
    assert run_promote(1, NARROW) == 0
    assert champion() == "1"
    run = runs("promote")[0]
    evaluated = {one.data.tags["model_version"]: one for one in runs("evaluate")}
    assert set(evaluated) == {"1", "3"}
    assert all(one.data.tags["mlflow.parentRunId"] == run.info.run_id for one in evaluated.values())
    difference = evaluated["1"].data.metrics["test_loss"] - evaluated["3"].data.metrics["test_loss"]
    found = run.data.metrics
    assert found["log_loss_difference"] == pytest.approx(difference)
    assert difference < found["log_loss_upper"] < 0
    assert (found["test_reviews"], found["decisions_on_these_reviews"]) == (80, 1)
    assert run.info.status == "FINISHED"
    assert (run.data.tags["decision"], run.data.tags["model_version"], run.data.tags["champion_version"]) == (
        "promoted", "1", "3",
    )  # fmt: skip
    assert run.data.tags["evaluation_run_id"] == evaluated["1"].info.run_id
    assert run.data.tags["champion_evaluation_run_id"] == evaluated["3"].info.run_id
    assert (tags(1)["promotion"], tags(1)["promotion_against"]) == ("promoted", "3")
    assert (tags(3)["promotion"], tags(3)["promotion_against"]) == ("replaced", "1")
    assert float(tags(1)["promotion_log_loss_upper"]) == pytest.approx(found["log_loss_upper"], abs=1e-6)
    assert float(tags(3)["promotion_log_loss_difference"]) == pytest.approx(difference, abs=1e-6)
    for version in ("1", "3"):
        description = mlflow.MlflowClient().get_model_version(NAME, version).description
        assert f"Promoted: {NAME} version 1 replaces version 3 as champion: its log loss differs by -" in description
    assert "these reviews have decided 1 promotion so far" in capsys.readouterr().out


def test_promote_of_a_worse_version_keeps_the_champion(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_promote(1)
    assert run_promote(3) == 3
    assert champion() == "1"
    run = runs("promote")[0]
    assert (run.info.status, run.data.tags["decision"]) == ("FINISHED", "kept")
    assert run.data.metrics["log_loss_upper"] > 0.02
    assert (tags(3)["promotion"], tags(1)["promotion"], tags(1)["promotion_against"]) == ("refused", "defended", "3")
    assert ": beyond the margin of 0.02" in capsys.readouterr().out
    monkeypatch.setenv("MLFLOW_RUN_ID", mlflow.MlflowClient().create_run("0").info.run_id)
    assert run_promote(3) == 0  # mlflow run would mark the run FAILED
    assert champion() == "1"
    assert "these reviews have decided 2 promotions so far" in capsys.readouterr().out


def test_promote_with_existing_evaluations_needs_no_data(versions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_promote(1)
    for version in (1, 2):
        evaluate.main([model(version)], Signals())
    before = [run.info.run_id for run in runs("evaluate")]
    monkeypatch.setattr(promotion.evaluation, "find_subject", lambda *_: pytest.fail("the data was read"))
    assert run_promote(2, WIDE) == 0
    assert [run.info.run_id for run in runs("evaluate")] == before
    assert champion() == "2"


@pytest.mark.slow
def test_promote_with_evaluations_on_other_reviews_evaluates_again(tmp_path: Path) -> None:
    run_promote(1)
    make_reviews(60, seed=9).to_csv(tmp_path / "others.csv", index=False)
    for version in (1, 2):
        evaluate.main([model(version), f"--data={tmp_path / 'others.csv'}"], Signals())
    run_promote(2, WIDE)
    assert runs("promote")[0].data.metrics["test_reviews"] == 80
    assert len(runs("evaluate")) == 4
    run_promote(1, WIDE, f"--data={tmp_path / 'others.csv'}")
    assert runs("promote")[0].data.metrics["test_reviews"] == 60
    assert runs("promote")[0].data.metrics["decisions_on_these_reviews"] == 1
    assert len(runs("evaluate")) == 4


def test_promote_on_seen_reviews_alone_is_undecided(
    versions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bytes may differ: here each text ends with a line break."""
    run_promote(3)
    reviews = dataset.load(sources.resolve(str(versions / "reviews.csv")), 0.2)
    seen = pd.concat([read_part(reviews, "train"), read_part(reviews, "validation")])[["text", "label"]]
    seen.assign(text=seen["text"] + "\n").to_csv(tmp_path / "disguised.csv", index=False)
    assert run_promote(1, WIDE, f"--data={tmp_path / 'disguised.csv'}") == 3
    out = capsys.readouterr().out
    assert "320 reviews that a training has seen are left out (320 seen by the version, 320 by the champion)" in out
    assert champion() == "3"
    run = runs("promote")[0]
    assert "decisions_on_these_reviews" not in run.data.metrics
    assert "log_loss_upper" not in run.data.metrics


def test_promote_with_seen_reviews_decides_on_those_that_neither_has_seen(
    versions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_promote(3)
    assert run_promote(1, NARROW, f"--data={versions / 'reviews.csv'}") == 0
    found = runs("promote")[0].data.metrics
    assert found["test_reviews"] == 80  # of 400
    evaluated = {one.data.tags["model_version"]: one.data.metrics for one in runs("evaluate")}
    assert evaluated["1"]["test_reviews"] == 400
    assert "320 reviews that a training has seen are left out" in capsys.readouterr().out


def test_promote_on_copied_texts_counts_them_once(versions: Path, tmp_path: Path) -> None:
    run_promote(3)
    fresh = make_reviews(100, seed=11)
    copies = [fresh.assign(text=fresh["text"] + " " * n + "." * n) for n in range(5)]
    pd.concat(copies).to_csv(tmp_path / "copies.csv", index=False)
    assert run_promote(1, NARROW, f"--data={tmp_path / 'copies.csv'}") == 0
    assert runs("promote")[0].data.metrics["test_reviews"] == 100
    assert runs("evaluate")[0].data.metrics["test_reviews"] == 500
    assert runs("evaluate")[0].data.metrics["test_reviews_distinct"] == 100


def test_promote_on_too_few_reviews_is_undecided(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_promote(3)
    make_reviews(10, seed=11).to_csv(tmp_path / "few.csv", index=False)
    assert run_promote(1, WIDE, f"--data={tmp_path / 'few.csv'}") == 3
    assert champion() == "3"
    assert "decisions_on_these_reviews" not in runs("promote")[0].data.metrics
    assert "are needed" in capsys.readouterr().out


def forget(run: Run, **columns: object) -> None:
    """Overwrite columns of an evaluation's predictions."""
    path = Path(run.info.artifact_uri, "predictions.parquet")
    pd.read_parquet(path).assign(**columns).to_parquet(path)


def test_promote_with_unknown_seen_rows_warns_for_the_champion_and_refuses_the_version(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_promote(1)
    for version in (1, 2):
        evaluate.main([model(version)], Signals())
    second, first = runs("evaluate")
    forget(first, seen=None)
    assert run_promote(2, WIDE) == 0
    assert "; whether the champion was trained on some of them is not known;" in capsys.readouterr().out
    rollback.main([], Signals())
    forget(second, seen=None)
    assert run_promote(2, WIDE) == 3
    assert "whether it was trained on some of these reviews is not known" in capsys.readouterr().out
    assert champion() == "1"
    assert "decisions_on_these_reviews" not in runs("promote")[0].data.metrics  # the run was undecided


@pytest.mark.slow
def test_evaluation_of_a_deleted_version_is_not_used_for_its_successor() -> None:
    """Version numbers restart when a registered model is deleted, while evaluations of the former versions remain."""
    client = mlflow.MlflowClient()
    evaluate.main([model(1)], Signals())
    evaluate.main([model(2)], Signals())
    sources = [client.get_model_version(NAME, str(version)) for version in (1, 3)]
    client.delete_registered_model(NAME)
    client.create_registered_model(NAME)
    for source in sources:  # the good model is version 1 again, the untrained one is version 2 now
        client.create_model_version(NAME, source.source, source.run_id, model_id=source.source.removeprefix("models:/"))
    assert run_promote(1) == 0
    assert run_promote(2) == 3
    assert champion() == "1"
    run = runs("promote")[0]
    assert run.data.metrics["log_loss_difference"] > 0.1
    used = [runs_by_id(run.data.tags[tag]) for tag in ("evaluation_run_id", "champion_evaluation_run_id")]
    assert [one.data.tags["training_run_id"] for one in used] == [sources[1].run_id, sources[0].run_id]
    assert len(runs("evaluate")) == 3  # version 1's evaluation is of this model, and is used


def runs_by_id(run_id: str) -> Run:
    return mlflow.get_run(run_id)


@pytest.mark.slow
def test_evaluation_without_a_models_tag_is_found_by_its_used_model() -> None:
    """The older evaluation has no model tag and no keys of words: it is repeated."""
    run_promote(1)
    for version in (1, 2):
        evaluate.main([model(version)], Signals())
    for run in runs("evaluate"):
        for tag in ("evaluation_format", "model_id"):
            mlflow.MlflowClient().delete_tag(run.info.run_id, tag)
    stored = registry.find(f"models:/{NAME}/2")
    assert evaluations.find_for_model(EXPERIMENT, stored).info.run_id == runs("evaluate")[0].info.run_id
    assert evaluations.find_for_model(EXPERIMENT, dataclasses.replace(stored, model_id="m-another")) is None
    assert run_promote(2, WIDE) == 0
    assert len(runs("evaluate")) == 4


OLD = pa.schema(
    [("text_sha256", pa.string()), ("label", pa.int8()), ("probability", pa.float64()), ("words", pa.string()),
     ("seen", pa.bool_())]
)  # fmt: skip


def store_as_format_2(run: Run) -> None:
    """Rewrite an evaluation's predictions in format 2, without a loss for each row."""
    path = Path(run.info.artifact_uri, "predictions.parquet")
    table = pd.read_parquet(path)
    with pq.ParquetWriter(path, OLD) as parquet:
        for start in range(0, len(table), 32):
            part = table.iloc[start : start + 32]
            parquet.write_table(pa.table([part[name].tolist() for name in OLD.names], schema=OLD))
    mlflow.MlflowClient().set_tag(run.info.run_id, "evaluation_format", "2")


@pytest.mark.slow
@pytest.mark.parametrize("old", [(1,), (3,), (1, 3)])
def test_promote_with_evaluations_in_format_2_decides_the_same(
    old: tuple[int, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    for version in (1, 3):
        evaluate.main([model(version)], Signals())
    decided = []
    for formats in ((), old):
        for version in formats:
            store_as_format_2(evaluation_of(version))
        run_promote(3, WIDE) if not formats else rollback.main([], Signals())
        assert run_promote(1, NARROW) == 0
        assert champion() == "1"
        decided.append(capsys.readouterr().out.split("Promoted: ")[-1].split("; these reviews")[0])
    assert decided[0] == decided[1]
    first, second = (run.data.metrics for run in runs("promote")[:2])
    assert (first["log_loss_difference"], first["log_loss_upper"]) == (
        second["log_loss_difference"], second["log_loss_upper"],
    )  # fmt: skip
    assert (first["decisions_on_these_reviews"], second["decisions_on_these_reviews"]) == (2, 1)
    assert len(runs("evaluate")) == 2  # no evaluation was repeated


def evaluation_of(version: int) -> Run:
    return next(run for run in runs("evaluate") if run.data.tags["model_version"] == str(version))


def predictions_of(version: int) -> Path:
    return Path(evaluation_of(version).info.artifact_uri, "predictions.parquet")


@pytest.mark.slow
def test_promote_with_an_evaluation_without_predictions_evaluates_again() -> None:
    run_promote(1)
    for version in (1, 2):
        evaluate.main([model(version)], Signals())
    predictions_of(2).unlink()
    assert run_promote(2, WIDE) == 0
    assert len(runs("evaluate")) == 3
    assert runs("promote")[0].data.tags["evaluation_run_id"] == evaluation_of(2).info.run_id


def test_promote_with_unpaired_predictions_fails() -> None:
    run_promote(1)
    for version in (1, 2):
        evaluate.main([model(version)], Signals())
    path = predictions_of(2)
    pd.read_parquet(path).iloc[1:].to_parquet(path)
    with pytest.raises(RunFailed, match=r"the evaluations \w+ and \w+ do not have the same reviews; delete both"):
        run_promote(2, WIDE)
    path.write_bytes(b"no table")
    with pytest.raises(RunFailed, match=r"has no predictions\.parquet that can be read \(.*\); delete that run"):
        run_promote(2, WIDE)
    assert (champion(), runs("promote")[0].info.status) == ("1", "FAILED")
    assert "promotion" not in tags(2)


def test_promote_with_predictions_without_a_loss_fails() -> None:
    run_promote(1)
    for version in (1, 2):
        evaluate.main([model(version)], Signals())
    path = predictions_of(2)
    table = pd.read_parquet(path)
    table.loc[3, "loss"] = float("nan")
    table.to_parquet(path)
    with pytest.raises(
        RunFailed, match=r"\w+ cannot be compared: the version's loss of a row is nan; allowed: a finite number"
    ):
        run_promote(2, WIDE)
    assert champion() == "1"


@pytest.mark.slow
def test_decisions_on_the_same_reviews_count_only_decided_promotions(monkeypatch: pytest.MonkeyPatch) -> None:
    run_promote(1)
    with monkeypatch.context() as patch:
        patch.setattr(promotion.noninferiority, "decide", lambda *_: (_ for _ in ()).throw(RunFailed("a fault")))
        for _ in range(2):
            with pytest.raises(RunFailed, match="a fault"):
                run_promote(2, WIDE)
    assert run_promote(3) == 3
    assert run_promote(2, WIDE) == 0
    assert runs("promote")[0].data.metrics["decisions_on_these_reviews"] == 2


@pytest.mark.parametrize("log_texts", ["true", "false"])
def test_promote_without_log_texts_logs_mistakes_without_texts(log_texts: str) -> None:
    run_promote(1)
    run_promote(3, f"--log_texts={log_texts}")
    for run in runs("evaluate"):
        assert run.data.params["log_texts"] == log_texts
        path = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="mistakes.json")
        assert ("text" in json.loads(Path(path).read_text())["columns"]) == (log_texts == "true")


def test_promote_logs_its_evidence_before_the_alias_moves_and_holds_signals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_promote(3)
    move, seen, signals = champions.promote, [], Signals()

    def moves(*arguments: str) -> bool:
        seen.append(runs("promote")[0].data)
        signals._on_signal(signal.SIGTERM, None)
        return move(*arguments)

    monkeypatch.setattr(promotion.champions, "promote", moves)
    assert promote.main([model(1), NARROW], signals) == 0
    assert seen[0].metrics["log_loss_upper"] < 0
    assert seen[0].tags["rows_digest"]
    run = runs("promote")[0]
    assert (run.info.status, run.data.tags["decision"], champion()) == ("FINISHED", "promoted", "1")
    assert tags(1)["promotion"] == "promoted"


@pytest.mark.slow
def test_promote_after_deletion_of_the_champion_compares_with_the_former_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_promote(1)
    run_promote(2, WIDE)
    mlflow.MlflowClient().delete_model_version(NAME, "2")
    assert champion() == ""
    assert run_promote(3) == 3
    out = capsys.readouterr().out
    assert "version 3 does not replace version 1, the last one that still exists, as champion: " in out
    assert "; no version has the alias until a promotion, or a rollback to version 1." in out
    assert champion() == ""
    assert run_promote(1) == 0
    assert f"Promoted: {NAME} version 1 is the champion again; no version had the alias." in capsys.readouterr().out
    assert champion() == "1"
    assert (tags(1)["promotion"], tags(1)["promotion_against"]) == ("promoted", "none")
    assert runs("promote")[0].data.tags["decision"] == "promoted"


def test_promote_without_data_for_an_evaluation_is_refused_without_a_run(versions: Path) -> None:
    run_promote(1)
    path = versions / "reviews.csv"
    path.rename(versions / "away.csv")
    try:
        with pytest.raises(UserError, match=r"^data: .*reviews\.csv.*; allowed: [^\n]*$"):
            run_promote(2)
    finally:
        (versions / "away.csv").rename(path)
    assert len(runs("promote")) == 1
    assert "promotion" not in tags(2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([model(9)], r"model: 'models:/imdb-conv1d/9' cannot be found"),
        (["--model=models:/none/1"], r"model: 'models:/none/1' cannot be found"),
        (["--model=runs:/abc/model"], r"model: 'runs:/abc/model' is not allowed; allowed: models:/NAME@ALIAS or"),
        (["--margin=-1"], r"margin: '-1' is not allowed; allowed: a finite number, 0 or more"),
        (["--confidence=1"], r"confidence: '1' is not allowed; allowed: a finite number, 0.5 or more, 0.99 or less"),
        ([model(1), "--data=/no/such.csv"], r"data: "),
    ],
)
def test_promote_with_an_invalid_value_is_refused_without_a_run(arguments: list[str], message: str) -> None:
    run_promote(3)
    with pytest.raises(UserError, match=f"^{message}") as raised:
        promote.main(arguments, Signals())
    assert "\n" not in str(raised.value)
    assert len(runs("promote")) == 1
    assert champion() == "3"


@pytest.mark.parametrize("verb", [evaluate, promote, rollback])
def test_promote_and_rollback_into_a_run_of_another_verb_are_refused(
    monkeypatch: pytest.MonkeyPatch, verb: Verb
) -> None:
    run_promote(1)
    evaluate.main([model(1)], Signals())
    (training,) = mlflow.search_runs(filter_string="params.seed = '1'", output_format="list")
    evidence = runs("evaluate")[0].info.run_id
    before = {run.info.run_id: run.to_dictionary() for run in mlflow.search_runs(output_format="list")}
    for run_id in (training.info.run_id, evidence):
        monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
        with pytest.raises(UserError, match=f"^MLFLOW_RUN_ID: run {run_id} is a run of (train|evaluate) and cannot"):
            verb.main([], Signals())
    assert {run.info.run_id: run.to_dictionary() for run in mlflow.search_runs(output_format="list")} == before
    assert champion() == "1"


def test_rollback_repeated_restores_earlier_champions_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    for version in (3, 1, 2, 1):
        run_promote(version, WIDE)
    for expected in ("2", "1", "3"):
        rollback.main([], Signals())
        assert champion() == expected
        assert f"version {expected} is the champion again, in place of version" in capsys.readouterr().out
    run = runs("rollback")[0]
    assert (run.info.status, run.data.tags["model_version"], run.data.tags["champion_version"]) == (
        "FINISHED",
        "3",
        "1",
    )
    assert (tags(3)["promotion"], tags(1)["promotion"]) == ("restored", "withdrawn")
    assert tags(3)["promotion_log_loss_upper"] == "none"  # no figure of the former decision remains
    for version in ("1", "3"):
        description = mlflow.MlflowClient().get_model_version(NAME, version).description
        assert description.count("Promotion: ") == 1
        assert f"Promotion: Rolled back: {NAME} version 3 is the champion again, in place of version 1." in description
    with pytest.raises(UserError, match=r"^model_name: imdb-conv1d has no former champion: version 3 is its first; "):
        rollback.main([], Signals())
    assert len(runs("rollback")) == 3
    assert champion() == "3"
    run_promote(2, WIDE)  # a withdrawn version is no former champion
    rollback.main([], Signals())
    assert champion() == "3"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (NAME, f"model_name: {NAME} has no former champion: it has no champion; promote a version first"),
        ("none", "model_name: 'none' is not allowed; allowed: a model in"),
    ],
)
def test_rollback_without_a_former_champion_is_refused(name: str, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        rollback.main([f"--model_name={name}"], Signals())
    assert runs("rollback") == []


@pytest.mark.slow
def test_rollback_skips_deleted_versions_and_aliases_set_by_hand() -> None:
    client = mlflow.MlflowClient()
    for version in (3, 2, 1):
        run_promote(version, WIDE)
    client.delete_model_version(NAME, "2")
    rollback.main([], Signals())
    assert champion() == "3"
    client.set_registered_model_alias(NAME, "champion", "1")  # by hand
    rollback.main([], Signals())
    assert champion() == "3"
    client.set_registered_model_alias(NAME, "champion", "1")
    run_promote(3, WIDE)
    rollback.main([], Signals())
    assert champion() == "1"  # a champion set by hand is a former champion too
    client.delete_registered_model_alias(NAME, "champion")
    rollback.main([], Signals())
    assert champion() == "1"


@pytest.mark.slow
def test_rollback_after_an_alias_set_by_hand_goes_back_from_that_version() -> None:
    for version in (3, 1, 2):
        run_promote(version, WIDE)
    mlflow.MlflowClient().set_registered_model_alias(NAME, "champion", "1")  # a rollback by hand
    rollback.main([], Signals())
    assert champion() == "3"
    for version in (1, 2):
        run_promote(version, WIDE)
    mlflow.MlflowClient().set_registered_model_alias(NAME, "champion", "1")
    run_promote(2, WIDE)
    for expected in ("1", "3"):  # not 2, which was rolled back by hand
        rollback.main([], Signals())
        assert champion() == expected


@pytest.mark.slow
def test_promote_with_an_alias_that_moves_meanwhile_compares_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by another host, which the lock does not exclude."""
    run_promote(3)
    decide, moved = promotion.noninferiority.decide, []

    def somebody_else(*arguments: object) -> object:
        if not moved:
            moved.append(True)
            mlflow.MlflowClient().set_registered_model_alias(NAME, "champion", "1")
        return decide(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(promotion.noninferiority, "decide", somebody_else)
    assert run_promote(2, WIDE) == 0
    assert champion() == "2"
    assert runs("promote")[0].data.tags["champion_version"] == "1"
    assert {run.data.tags["model_version"] for run in runs("evaluate")} == {"1", "2", "3"}


def test_promote_with_an_alias_that_moves_at_the_same_moment_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    run_promote(3)
    write_history = champions._write_history

    def somebody_else(name: str, past: list[str]) -> None:
        write_history(name, past)
        mlflow.MlflowClient().set_registered_model_alias(NAME, "champion", "1")

    monkeypatch.setattr(champions, "_write_history", somebody_else)
    with pytest.raises(RunFailed, match="moved the champion of imdb-conv1d to version 1 just after version 2 got"):
        run_promote(2, WIDE)
    assert runs("promote")[0].info.status == "FAILED"


def test_rollback_after_a_kill_between_alias_and_its_tag_finds_the_former_champion(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_promote(3)
    with monkeypatch.context() as patch:
        patch.setattr(champions, "_write_history", lambda *_: (_ for _ in ()).throw(RunFailed("killed")))
        with pytest.raises(RunFailed, match="killed"):
            run_promote(1, WIDE)
    assert champion() == "1"
    rollback.main([], Signals())
    assert champion() == "3"


@pytest.mark.slow
def test_two_concurrent_promotions_are_decided_one_after_the_other(tmp_path: Path) -> None:
    """The second promotion compares with the first one's version, never with a former champion."""
    run_promote(3)
    other = tmp_path / "elsewhere"
    other.mkdir()
    # Two users of one store: another directory, another spelling of its address, other temporary files, another umask.
    users = [(tmp_path, "sqlite:///mlflow.db", 0o077), (other, f"sqlite:///{tmp_path}/mlflow.db", 0o022)]
    processes = [
        subprocess.Popen([warm.python(), SRC / "promote.py", model(version), WIDE], cwd=folder, umask=umask, text=True,
                         env=os.environ | {"TMPDIR": str(folder), "MLFLOW_TRACKING_URI": uri},
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for version, (folder, uri, umask) in zip((1, 2), users, strict=True)
    ]  # fmt: skip
    printed = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], printed
    second, first, start = runs("promote")
    assert first.data.tags["champion_version"] == start.data.tags["model_version"] == "3"
    assert second.data.tags["champion_version"] == first.data.tags["model_version"]
    assert champion() == second.data.tags["model_version"]
    assert second.info.start_time >= first.info.end_time
    assert sum("waiting for another promotion of imdb-conv1d to end" in text for text in printed) == 1
    past = json.loads(mlflow.MlflowClient().get_registered_model(NAME).tags["champions"])
    assert past == ["3", first.data.tags["model_version"], second.data.tags["model_version"]]


@pytest.mark.slow
def test_rows_digest_of_reordered_rows_is_the_same(versions: Path, tmp_path: Path) -> None:
    table = pd.read_csv(versions / "reviews.csv")
    digests = []
    for number, rows in enumerate((table, table.sample(frac=1, random_state=1), table.iloc[:-2])):
        rows.to_csv(tmp_path / f"{number}.csv", index=False)
        evaluate.main([model(1), f"--data={tmp_path / f'{number}.csv'}"], Signals())
        digests.append(runs("evaluate")[0].data.tags["rows_digest"])
    assert digests[0] == digests[1] != digests[2]


def other_data(folder: Path, **arguments: object) -> None:
    """Register version 4, trained on other data."""
    make_reviews(400, seed=5).to_csv(folder / "other.csv", index=False)
    flags = [f"--{name}={value}" for name, value in arguments.items()]
    train.main([*TINY, f"--data={folder / 'other.csv'}", "--epochs=8", "--seed=4", *flags], Signals())


@pytest.mark.slow
def test_promote_against_a_champion_of_other_data_reports_both_digests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_promote(1)
    other_data(tmp_path)
    run_promote(4, WIDE)
    digests = [registry.find(f"models:/{NAME}/{version}").data_digest[:12] for version in (4, 1)]
    sentence = f"they were trained on different data (the version on digest {digests[0]}, the champion on {digests[1]})"
    assert sentence in capsys.readouterr().out
    assert sentence in tags_description(4)
    run_promote(2, WIDE)
    capsys.readouterr()
    run_promote(3, f"--data={tmp_path / 'other.csv'}")
    assert "different data" not in capsys.readouterr().out  # versions 2 and 3 have the same data


def tags_description(version: int) -> str:
    return str(mlflow.MlflowClient().get_model_version(NAME, str(version)).description)


@pytest.mark.slow
def test_promote_on_private_data_logs_no_texts_for_either_version(tmp_path: Path) -> None:
    run_promote(1)
    other_data(tmp_path, log_texts="false")
    run_promote(4, WIDE)
    for run in runs("evaluate"):
        path = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="mistakes.json")
        assert "text" not in json.loads(Path(path).read_text())["columns"]


@pytest.mark.slow
def test_decisions_on_the_same_texts_in_another_file_are_counted(versions: Path, tmp_path: Path) -> None:
    run_promote(1)
    run_promote(2, WIDE)
    table = pd.read_csv(versions / "reviews.csv")
    table.assign(text=table["text"] + "\n").to_csv(tmp_path / "again.csv", index=False)  # the unseen texts are the same
    run_promote(3, f"--data={tmp_path / 'again.csv'}")
    assert runs("promote")[0].data.metrics["decisions_on_these_reviews"] == 2
    make_reviews(100, seed=12).to_csv(tmp_path / "fresh.csv", index=False)
    run_promote(3, f"--data={tmp_path / 'fresh.csv'}")
    assert runs("promote")[0].data.metrics["decisions_on_these_reviews"] == 1


@pytest.mark.slow
def test_promote_of_a_withdrawn_version_by_alias_is_refused() -> None:
    client = mlflow.MlflowClient()
    run_promote(1)
    run_promote(2, WIDE)
    client.set_registered_model_alias(NAME, "candidate", "2")
    rollback.main([], Signals())
    with pytest.raises(
        UserError, match=r"^model: 'models:/imdb-conv1d@candidate' is version 2, which a rollback withdrew"
    ):
        promote.main([WIDE], Signals())
    assert run_promote(2, NARROW) in (0, 3)  # by its number; either outcome
    rollback.main([], Signals()) if champion() == "2" else None
    assert tags(2)["withdrawn"] == "true"  # a refused promotion keeps the tag
    for uri in ("models:/imdb-conv1d@candidate", "models:/imdb-conv1d/latest"):
        client.set_registered_model_alias(NAME, "candidate", "2")
        if uri.endswith("latest"):
            client.delete_model_version(NAME, "3")
        with pytest.raises(UserError, match="which a rollback withdrew"):
            promote.main([f"--model={uri}", WIDE], Signals())
    assert champion() == "1"
    assert run_promote(2, WIDE) == 0
    assert tags(2)["withdrawn"] == "false"
    assert promote.main([WIDE], Signals()) == 0  # promoted since


def test_rollback_during_a_waiting_promotion_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    run_promote(1)
    run_promote(2, WIDE)
    mlflow.MlflowClient().set_registered_model_alias(NAME, "candidate", "2")
    alone = champions.promotion_lock

    @contextmanager
    def after_a_rollback(owner: Experiment, name: str) -> Iterator[None]:
        monkeypatch.setattr(champions, "promotion_lock", alone)
        rollback.main([], Signals())
        with alone(owner, name):
            yield

    monkeypatch.setattr(champions, "promotion_lock", after_a_rollback)
    with pytest.raises(UserError, match="which a rollback withdrew"):
        promote.main([WIDE], Signals())
    assert champion() == "1"


def test_rollback_without_an_answering_store_moves_no_alias(monkeypatch: pytest.MonkeyPatch) -> None:
    for version in (1, 2):
        run_promote(version, WIDE)
    monkeypatch.setattr(writer.Run, "flush", lambda *_, **__: (_ for _ in ()).throw(RunFailed("no store")))
    with pytest.raises(RunFailed, match="no store"):
        rollback.main([], Signals())
    assert champion() == "2"
