"""The verb compare on runs with known figures: the store, the page and the terminal afterwards."""

from collections.abc import Sequence
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run

from helpers.recording import record
from helpers.verbs import compare
from imdb_conv1d.experiment import EXPERIMENT
from tracked.analysis.rule_replay import History
from tracked.console.errors import UserError
from tracked.console.signals import Signals
from tracked.reports import comparison_table, page
from tracked.runs import evaluations

FINISHED = {"verb": "train", "stop_reason": "patience", "data_digest": "ab" * 32}


def comparisons() -> list[Run]:
    return mlflow.search_runs(
        search_all_experiments=True, filter_string="tags.verb = 'compare'", output_format="list", max_results=1
    )


def run_compare(*arguments: str) -> Run:
    compare.main(arguments, Signals())
    return comparisons()[0]


def artifact(run: Run, name: str) -> Path:
    return Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path=name))


def trained(values: Sequence[float], tags: dict[str, str] = FINISHED, **parameters: object) -> str:
    """Create a training's run with the parts that a comparison reads."""
    logged = {"monitor": "val_loss", "mode": "min", "patience": 3, "seed": 7} | parameters
    status = {"patience": "FINISHED", "pruned": "FINISHED", "interrupted": "KILLED", "error": "FAILED"}.get(
        tags.get("stop_reason", "")
    )
    run_id = record(values, logged, tags, name=f"patience={logged['patience']} seed={logged['seed']}", status=status)
    best = int(np.argmin(values)) + 1 if values else 0
    mlflow.MlflowClient().log_metric(run_id, "best_epoch", best)
    return run_id


def evaluated(
    training: str, folder: Path, probabilities: Sequence[float], digest: str = "d", first: int = 0,
    leaked: int | None = 0, version: str = "2",
) -> str:  # fmt: skip
    """Create an evaluation of a training: rows first, first + 1, …, label 1, the first ``leaked`` seen.

    Args:
        version: the evaluation's format; ``leaked`` None: without a format, as in the earliest versions.
    """
    client = mlflow.MlflowClient()
    tags = {"verb": "evaluate", "training_run_id": training, "data_digest": "whole", "rows_digest": digest}
    if leaked is not None:
        tags["evaluation_format"] = version
    run_id = client.create_run("0", tags=tags).info.run_id
    rows = range(first, first + len(probabilities))
    table = pd.DataFrame({"text_sha256": [f"{row:04}" for row in rows], "label": 1, "probability": probabilities})
    if leaked is not None:
        table = table.assign(words=table["text_sha256"], seen=np.arange(len(rows)) < leaked)
        client.log_metric(run_id, "test_reviews_seen", leaked)
    if version == "3":
        right = table["probability"] > 0.5
        table = table.assign(id=table["text_sha256"] + "-1", key=table["words"], correct=right)
        table["loss"] = -np.log(table["probability"])
    table.sample(frac=1, random_state=len(run_id)).to_parquet(folder / "predictions.parquet")
    client.log_artifact(run_id, str(folder / "predictions.parquet"))
    accuracy = float((np.array(probabilities) > 0.5).mean())
    for name, value in (("test_accuracy", accuracy), ("test_loss", 0.3), ("test_reviews", len(rows))):
        client.log_metric(run_id, name, value)
    client.set_terminated(run_id)
    return run_id


@pytest.mark.slow
def test_evaluations_of_equal_rows_with_another_digest_are_not_paired(store: str, tmp_path: Path) -> None:
    for seed, digest in ((7, "of two labels"), (8, "of three")):
        evaluated(trained([0.5, seed / 20], seed=seed), tmp_path, np.full(150, 0.9), digest=digest, version="3")
    pairs = pd.read_csv(artifact(run_compare(), "pairs.csv"))
    assert pairs["same_rows"].tolist() == [False]
    assert "not paired, losses of another kind or among other labels." in pairs["sentence"].iloc[0]


def test_compare_ranks_trainings_and_pairs_their_evaluations(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = trained([0.5, 0.4, 0.45], seed=8)
    first = trained([0.5, 0.45, 0.3, 0.35], seed=7)
    third = trained([0.6, 0.55], seed=9)
    unfinished = {
        "running": trained([0.1], {"verb": "train"}, seed=1),
        "interrupted": trained([0.2], {"verb": "train", "stop_reason": "interrupted"}, seed=2),
        "failed": trained([], {"verb": "train", "stop_reason": "error"}, seed=3),
        "pruned": trained([0.1], {"verb": "train", "stop_reason": "pruned"}, seed=4),
    }
    better, worse = np.full(150, 0.9), np.concatenate([np.full(120, 0.9), np.full(30, 0.1)])
    evaluated(first, tmp_path, better)
    newest = evaluated(first, tmp_path, better)
    evaluated(second, tmp_path, worse)
    evaluated(third, tmp_path, worse, digest="other", first=1000)
    run = run_compare()

    table = pd.read_csv(artifact(run, "comparison.csv"))
    assert table["run_id"].tolist() == [first, second, third]
    assert table["best_value"].tolist() == [0.3, 0.4, 0.55]
    assert table["best_epoch"].tolist() == [3, 2, 2]
    assert table["stopped_epoch"].tolist() == [4, 3, 2]
    assert table["seconds"].tolist() == [8, 6, 4]
    assert table["seed"].tolist() == [7, 8, 9]
    assert "patience" not in table  # the same in all of them
    assert table["test_accuracy"].tolist() == [1, 0.8, 0.8]
    assert table["evaluation_run_id"].iloc[0] == newest

    pairs = pd.read_csv(artifact(run, "pairs.csv"))
    assert pairs["first_run_id"].tolist() == [first, first]
    assert pairs["second_run_id"].tolist() == [second, third]
    assert pairs["same_rows"].tolist() == [True, False]
    assert pairs.columns.tolist() == [
        "first_run_id", "second_run_id", "same_rows", "sentence", "rows", "accuracy", "accuracy_low", "accuracy_high",
        "log_loss", "log_loss_low", "log_loss_high", "first_only", "second_only", "p_value", "log_loss_is_real",
        "copies",
    ]  # fmt: skip
    assert pairs["accuracy"].iloc[0] == pytest.approx(0.2)
    assert (pairs["first_only"].iloc[0], pairs["second_only"].iloc[0]) == (30, 0)
    assert "both differences are significant" in pairs["sentence"].iloc[0]
    assert "not paired, other rows (150 and 150 reviews)" in pairs["sentence"].iloc[1]

    out, note = capsys.readouterr().out, run.data.tags["mlflow.note.content"]
    for text in (out, note):
        assert "both differences are significant" in text
        assert "not paired, other rows" in text
    compared, apart = out.split("unfinished, not compared:")
    assert compared.index("seed=7") < compared.index("seed=8") < compared.index("seed=9")
    for state, run_id in unfinished.items():
        assert run_id not in compared
        assert state in apart
        assert state in artifact(run, "comparison.html").read_text()
    assert "| run_name | best_value | best_epoch | stopped_epoch | test_accuracy | seed | test_loss | seconds |" in note
    assert "| patience=3 seed=7 | 0.3000 | 3 | 4 | 1.0000 | 7 | 0.3000 | 8 |" in note
    assert "Unfinished: 4." in note
    assert run.info.status == "FINISHED"


def test_compare_shows_the_existing_version_and_its_models_evaluation(store: str, tmp_path: Path) -> None:
    client = mlflow.MlflowClient()
    first, second, third = (
        trained([0.5, 0.3 + n / 10], FINISHED | {"registered_version": "1"}, seed=n, model_name="m") for n in range(3)
    )
    client.create_registered_model("m")
    client.create_registered_model("copy")
    ids = [client.create_logged_model("0", source_run_id=run_id).model_id for run_id in (first, third, first)]
    for name, model_id, run_id in (("m", ids[0], first), ("copy", ids[0], first), ("m", ids[1], third)):
        tags = {"best_epoch": "2", "data_digest": "ab"} if name == "m" else {}
        client.create_model_version(name, f"models:/{model_id}", run_id, tags, model_id=model_id)
    own = evaluated(first, tmp_path, np.full(100, 0.9))
    client.set_tag(own, "model_id", ids[0])
    added = evaluated(first, tmp_path, np.full(100, 0.1))  # newer, of a model added to the run later
    client.set_tag(added, "model_id", ids[2])
    table = pd.read_csv(artifact(run_compare(), "comparison.csv"), dtype={"version": str})
    assert table["run_id"].tolist() == [first, second, third]
    assert table["version"].tolist() == ["1", "1 (deleted)", "2"]
    assert table["evaluation_run_id"].iloc[0] == own


def test_compare_of_chosen_runs_contains_only_those(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    first, _, third = (trained([0.5, value], seed=n) for n, value in enumerate((0.4, 0.3, 0.2)))
    table = pd.read_csv(artifact(run_compare(f"--runs={first},{third}"), "comparison.csv"))
    assert table["run_id"].tolist() == [third, first]
    pairs = pd.read_csv(artifact(comparisons()[0], "pairs.csv"))
    assert pairs.empty
    assert "No two trainings have an evaluation on the same rows" in comparisons()[0].data.tags["mlflow.note.content"]


def test_compare_by_another_metric_reads_it_at_the_kept_epoch(store: str) -> None:
    one, two = trained([0.5, 0.3, 0.4], seed=1), trained([0.5, 0.4, 0.35], seed=2)
    for run_id, values in ((one, (0.7, 0.8, 0.9)), (two, (0.7, 0.75, 0.85))):
        for step, value in enumerate(values, 1):
            mlflow.MlflowClient().log_metric(run_id, "val_accuracy", value, step=step)
    table = pd.read_csv(artifact(run_compare("--monitor=val_accuracy"), "comparison.csv"))
    assert table["run_id"].tolist() == [two, one]
    assert table["best_value"].tolist() == [0.85, 0.8]  # not 0.9: that checkpoint was not kept


def test_compare_takes_unseen_evaluations_on_the_most_shared_rows(store: str, tmp_path: Path) -> None:
    runs = [trained([0.5, 0.4 + seed / 100], seed=seed) for seed in range(4)]
    few, many = np.full(10, 0.9), np.full(30, 0.99)
    shared = [evaluated(run_id, tmp_path, few) for run_id in runs[:2]]
    other = evaluated(runs[2], tmp_path, few, digest="other", first=100)
    evaluated(runs[2], tmp_path, few, leaked=5)  # on the shared rows, but some are seen
    evaluated(runs[0], tmp_path, few, digest="other")  # newer, but fewer trainings have it
    whole = [evaluated(run_id, tmp_path, many, digest="all of the file", leaked=20) for run_id in runs]
    run = run_compare()
    found = pd.read_csv(artifact(run, "comparison.csv"))["evaluation_run_id"].tolist()
    assert found == [*shared, other, whole[3]]
    assert pd.read_csv(artifact(run, "pairs.csv"))["same_rows"].tolist() == [True, False, False]


def test_compare_with_seen_texts_marks_figures_and_pairs_without_them(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = trained([0.5, 0.3], seed=1), trained([0.5, 0.4], seed=2)
    evaluated(first, tmp_path, np.full(100, 0.9))
    evaluated(second, tmp_path, np.full(100, 0.9), leaked=40)
    run = run_compare()
    pairs = pd.read_csv(artifact(run, "pairs.csv"))
    assert pairs["rows"].tolist() == [60]
    assert "seed=2 has seen 40 of its test reviews in its training." in pairs["sentence"].iloc[0]
    table = pd.read_csv(artifact(run, "comparison.csv"))
    assert (table["test_seen"].tolist(), table["test_accuracy"].tolist()) == ([0, 40], [1, 1])
    out = capsys.readouterr().out
    for text in (out, run.data.tags["mlflow.note.content"], artifact(run, "comparison.html").read_text()):
        assert text.count("1.0000 (40 seen)") == 1
        assert "1.0000 (0 seen)" not in text


def test_compare_with_an_older_evaluation_reports_unknown_seen_rows(store: str, tmp_path: Path) -> None:
    first, second = trained([0.5, 0.3], seed=1), trained([0.5, 0.4], seed=2)
    evaluated(first, tmp_path, np.full(100, 0.9))
    evaluated(second, tmp_path, np.full(100, 0.8), leaked=None)
    run = run_compare()
    (sentence,) = pd.read_csv(artifact(run, "pairs.csv"))["sentence"]
    assert "Whether seed=2 was trained on some of its test reviews is not known." in sentence
    assert "| 1.0000 (? seen) |" in run.data.tags["mlflow.note.content"]


@pytest.mark.parametrize(("first_version", "second_version"), [("2", "3"), ("3", "2"), ("3", "3")])
def test_compare_of_evaluations_in_other_formats_pairs_them_alike(
    store: str, tmp_path: Path, first_version: str, second_version: str
) -> None:
    first, second = trained([0.5, 0.3], seed=1), trained([0.5, 0.4], seed=2)
    better, worse = np.full(150, 0.9), np.concatenate([np.linspace(0.6, 0.9, 120), np.full(30, 0.1)])
    for run_id, probabilities in ((first, better), (second, worse)):
        evaluated(run_id, tmp_path, probabilities, leaked=20)
    formerly = pd.read_csv(artifact(run_compare(), "pairs.csv"))
    assert formerly["rows"].tolist() == [130]
    evaluated(first, tmp_path, better, leaked=20, version=first_version)
    evaluated(second, tmp_path, worse, leaked=20, version=second_version)
    pd.testing.assert_frame_equal(pd.read_csv(artifact(run_compare(), "pairs.csv")), formerly)


def test_compare_of_an_evaluation_without_a_format_pairs_it_with_a_new_one(store: str, tmp_path: Path) -> None:
    first, second = trained([0.5, 0.3], seed=1), trained([0.5, 0.4], seed=2)
    evaluated(first, tmp_path, np.full(100, 0.9), version="3")
    evaluated(second, tmp_path, np.linspace(0.1, 0.8, 100), leaked=None)
    (pair,) = pd.read_csv(artifact(run_compare(), "pairs.csv")).to_dict("records")
    assert (pair["same_rows"], pair["rows"], pair["copies"]) == (True, 100, 0)
    assert pair["log_loss"] == pytest.approx(-np.log(0.9) + np.log(np.linspace(0.1, 0.8, 100)).mean())
    assert "Whether seed=2 was trained on some of its test reviews is not known." in pair["sentence"]


def test_compare_with_an_older_evaluations_leaks_marks_them(store: str, tmp_path: Path) -> None:
    """An older evaluation counted texts equal in bytes to the training part: a lower bound."""
    client = mlflow.MlflowClient()
    first, second = trained([0.5, 0.3], seed=1), trained([0.5, 0.4], seed=2)
    clean = [evaluated(run_id, tmp_path, np.full(40, 0.8), leaked=None) for run_id in (first, second)]
    for run_id in (first, second):
        leaky = evaluated(run_id, tmp_path, np.full(60, 0.999), digest="whole file", leaked=None)
        client.log_metric(leaky, "test_texts_in_training", 30)
    for run_id in clean:
        client.log_metric(run_id, "test_texts_in_training", 0)
    run = run_compare()
    table = pd.read_csv(artifact(run, "comparison.csv"))
    assert table["evaluation_run_id"].tolist() == clean
    assert table["test_seen"].isna().all()  # its 0 counts bytes, not words
    assert evaluations.count_leaked(EXPERIMENT, mlflow.get_run(leaky)) == 30


@pytest.mark.parametrize("spelling", ["0.2", "0.20", "2e-1"])
def test_compare_of_equal_splits_in_another_spelling_finds_the_same_data(store: str, spelling: str) -> None:
    for split in ("0.2", spelling):
        trained([0.5, 0.4], seed=1, validation_split=split)
    assert "same data" not in run_compare().data.tags["mlflow.note.content"]


def test_compare_of_trainings_on_other_data_ranks_them_apart(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def on(data: str, value: float, seed: int, **parameters: object) -> str:
        return trained([0.5, value], FINISHED | {"data_digest": data * 20}, seed=seed, **parameters)

    easy, unknown = on("easy", 0.1, 1), trained([0.5, 0.01], {"verb": "train", "stop_reason": "patience"}, seed=2)
    worse, better = on("hard", 0.4, 3), on("hard", 0.3, 4)
    split = on("hard", 0.2, 5, validation_split=0.5)
    for run_id in (easy, better):
        evaluated(run_id, tmp_path, np.full(100, 0.9))
    run = run_compare()
    table = pd.read_csv(artifact(run, "comparison.csv"))
    assert table["run_id"].tolist() == [better, worse, easy, split, unknown]
    assert table["data"].fillna("").tolist() == ["hardhardhard"] * 2 + ["easyeasyeasy", "hardhardhard split 0.5", ""]
    (sentence,) = pd.read_csv(artifact(run, "pairs.csv"))["sentence"]
    assert sentence.endswith("They were trained on different data.")
    sentence = (
        "These 5 trainings are not all known to be measured on the same data (2 on hardhardhard; 1 on easyeasyeasy; "
    )
    for text in (
        capsys.readouterr().out,
        run.data.tags["mlflow.note.content"],
        artifact(run, "comparison.html").read_text(),
    ):
        assert sentence in text.replace("\\", "")
    same = artifact(run_compare(f"--runs={worse},{better}"), "comparison.html").read_text()
    assert "measured on the same data" not in same


def test_compare_of_an_evaluation_without_predictions_reports_no_pair(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = trained([0.5, 0.3], seed=1), trained([0.5, 0.4], seed=2)
    evaluated(first, tmp_path, np.full(10, 0.9))
    broken = evaluated(second, tmp_path, np.full(10, 0.9))
    Path(mlflow.get_run(broken).info.artifact_uri, "predictions.parquet").write_bytes(b"no table")
    assert pd.read_csv(artifact(run_compare(), "pairs.csv")).empty
    assert f"not paired: evaluation {broken} has no predictions.parquet that can be read" in capsys.readouterr().err


def test_compare_page_marks_the_kept_and_the_last_epoch() -> None:
    times = np.arange(5.0)
    history = History("r", "<b>", "val_loss", "min", np.array([0.5, 0.4, 0.3, 0.35, 0.36]), times)
    line, best, stop = page.draw_curves([history], [3]).data
    assert (list(line.x), list(line.y)) == ([1, 2, 3, 4, 5], [0.5, 0.4, 0.3, 0.35, 0.36])
    assert (best.marker.symbol, list(best.x), list(best.y)) == ("star", [3], [0.3])
    assert (stop.marker.symbol, list(stop.x), list(stop.y)) == ("x", [5], [0.36])
    assert line.name == "&lt;b&gt;"
    assert len(page.draw_curves([history] * 50, [3] * 50).data) == 3 * page.MAX_CURVES


def test_compare_on_a_narrow_terminal_shows_the_differing_columns(
    store: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in (1, 2):
        trained([0.5, 0.4], seed=seed)
    monkeypatch.setenv("COLUMNS", "70")
    run_compare()
    head = next(line for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ["run_name"])
    assert "seed" in head.split()
    assert "seconds" not in head.split()  # gave way


@pytest.mark.slow
def test_compare_description_escapes_names(store: str) -> None:
    for seed in (1, 2):
        run_id = record([0.5, 0.4], {f"p{n}": f"{seed}" for n in range(400)}, FINISHED)
        mlflow.MlflowClient().update_run(run_id, name=f"a|b\n[c](d) {seed}")
    note = run_compare().data.tags["mlflow.note.content"]
    assert len(note) <= 8000
    assert "| a\\|b \\[c\\](d) 1 | 0.4000 |" in note
    assert "| a\\|b \\[c\\](d) 2 | 0.4000 |" in note


def test_compare_page_escapes_names(store: str) -> None:
    for seed in (1, 2):
        run_id = trained([0.5, 0.4], seed=seed)
        mlflow.MlflowClient().update_run(run_id, name="</script><img src=x onerror=alert(1)>")
    html = artifact(run_compare(), "comparison.html").read_text()
    assert "<img" not in html.split("</script>")[-1]
    assert "</script><img" not in html
    assert "&lt;/script&gt;&lt;img" in html
    assert 'src="http' not in html  # the page fetches nothing


def test_compare_description_of_many_runs_is_complete(store: str) -> None:
    for seed in range(60):
        trained([0.5, 0.4 + seed / 1000], seed=seed, data="x" * 300 + str(seed))
    note = run_compare().data.tags["mlflow.note.content"]
    assert len(note) <= 8000
    rows = [line for line in note.splitlines() if line.startswith("| patience")]
    assert 5 < len(rows) <= 20
    assert note.endswith("No two trainings have an evaluation on the same rows.")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["patience=3 seed=7 data=a", "patience=3 seed=8 data=a lr=1"], ["seed=7", "seed=8 lr=1"]),
        (["patience=3 seed=7", "patience=3 seed=7 lr=1"], ["patience=3 seed=7", "lr=1"]),
        (["one alone"], ["one alone"]),
        ([], []),
    ],
)
def test_shorten_names_of_similar_names_keeps_what_differs(names: list[str], expected: list[str]) -> None:
    assert comparison_table.shorten_names(names) == expected


@pytest.mark.parametrize("width", [40, 80, 120, 300])
def test_table_in_the_terminal_fits_its_width(width: int) -> None:
    table = pd.DataFrame({"run_name": ["patience=30 seed=7 data=a very long name.csv"] * 3,
                          **{f"column{n}": [1.23456, 2.0, None] for n in range(12)}})  # fmt: skip
    text = comparison_table.fit_to_width(table, width)
    assert max(map(len, text.splitlines())) <= width
    assert text.count("\n") == 3
    assert "1.2346" in text


def test_compare_with_a_foreign_run_says_that_its_evaluations_are_counted(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    one, foreign = trained([0.5, 0.4]), record([0.5, 0.45, 0.3], steps=[500, 1000, 1500])
    compare.main([f"--runs={one},{foreign}"], Signals())
    sentence = f"Evaluations are counted in the place of epochs where steps are other than 1, 2, 3, …: run {foreign}."
    assert sentence in capsys.readouterr().out
    compare.main([f"--runs={one},{trained([0.5, 0.4])}"], Signals())
    assert "Evaluations" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--runs=feedbeef"], r"runs: 'feedbeef' cannot be found"),
        (["--runs={one},{one}"], r"runs: '\w+' is not allowed; allowed: each run once"),
        (["--runs={one},"], r"runs: '' cannot be found"),
        (["--runs={one},{other}"], r"runs: '\w+' is not allowed; allowed: runs of one experiment, as \w+"),
        (["--experiment=empty"], r"experiment: 'empty' is not allowed; allowed: an experiment with a training"),
        (["--experiment=unfinished"], r"experiment: 'unfinished' .* allowed: an experiment with a training that has f"),
        (["--monitor=f1"], r"monitor: 'f1' is not allowed; allowed: a metric that one of the trainings has recorded"),
        (
            ["--runs={one},{evaluation}"],
            r"runs: '\w+' is not allowed; allowed: trainings that have logged the metric",
        ),
        (["--runs={one},{gap}"], r"run: '\w+' has no value of val_loss between steps 1 and 3"),
        (["--experiment="], r"experiment: '' is not allowed; allowed: auto or an experiment's name"),
    ],
)
def test_compare_with_an_invalid_value_is_refused_without_a_run(store: str, arguments: list[str], message: str) -> None:
    other = mlflow.create_experiment("unfinished")
    mlflow.create_experiment("empty")
    runs = {
        "one": trained([0.5, 0.4]),
        "other": record([0.5], tags={"verb": "train"}, status=None, experiment=other),
        "evaluation": record([], tags={"verb": "evaluate"}),
        "gap": record([0.5, 0.4], steps=[1, 3], tags={"verb": "train"}),
    }
    with pytest.raises(UserError, match=f"^{message}") as raised:
        compare.main([argument.format(**runs) for argument in arguments], Signals())
    assert "\n" not in str(raised.value)
    assert comparisons() == []
