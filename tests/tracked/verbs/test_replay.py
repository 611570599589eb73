"""The verb replay: against real trainings, and the store's content afterwards."""

from pathlib import Path

import keras
import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run

from helpers.recording import record
from helpers.reviews import TINY
from helpers.verbs import replay, train
from tracked.analysis.pruning import RULES
from tracked.console import verb_parameters
from tracked.console.errors import UserError
from tracked.console.signals import Signals


def run_replay(*arguments: str) -> Run:
    replay.main(arguments, Signals())
    (found,) = replays()
    return found


def replays() -> list[Run]:
    return mlflow.search_runs(
        search_all_experiments=True, filter_string="tags.verb = 'replay'", output_format="list", max_results=1
    )


def table(run: Run, name: str = "replay.csv") -> pd.DataFrame:
    return pd.read_csv(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path=name))


def trained(data: Path, patience: int, seed: int) -> Run:
    train.main([*TINY, f"--data={data}", f"--patience={patience}", f"--seed={seed}", "--epochs=60"], Signals())
    return mlflow.search_runs(filter_string="tags.verb = 'train'", output_format="list", max_results=1)[0]


@pytest.mark.slow
def test_replay_of_a_training_equals_trainings_with_each_patience(store: str, reviews_csv: Path) -> None:
    long = trained(reviews_csv, 8, 7)
    rows = table(run_replay(f"--run={long.info.run_id}")).set_index(["patience", "min_delta"])
    assert sorted(rows.index) == [(p, d) for p in range(1, 9) for d in (0.0, 0.0001)]
    assert not rows.loc[(8, 0.0001), "censored"]
    for patience in (1, 3, 8):
        real = trained(reviews_csv, patience, 7)
        row = rows.loc[(patience, 0.0001)]
        assert real.data.tags["stop_reason"] == "patience"
        for name in ("stopped_epoch", "best_epoch"):
            assert row[name] == real.data.metrics[name]
        assert row["best_value"] == real.data.metrics["best_val_loss"]
        assert row["epochs_saved"] == long.data.metrics["stopped_epoch"] - real.data.metrics["stopped_epoch"]
        assert row["regret"] == row["best_value"] - long.data.metrics["best_val_loss"]


@pytest.mark.slow
def test_replay_of_an_autologged_keras_run_equals_fits_with_each_patience(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(60, 6)).astype("float32")
    y = (x[:, 0] + rng.normal(size=60) > 0).astype("float32")

    def fit(patience: int, restore: bool) -> tuple[str, keras.callbacks.EarlyStopping]:
        keras.utils.set_random_seed(5)
        model = keras.Sequential([keras.layers.Dense(30, "relu"), keras.layers.Dense(1, "sigmoid")])
        model.compile(keras.optimizers.Adam(0.03), "binary_crossentropy")
        stopping = keras.callbacks.EarlyStopping(patience=patience, restore_best_weights=restore)
        with mlflow.start_run() as run:
            model.fit(x[:40], y[:40], validation_data=(x[40:], y[40:]), epochs=60, callbacks=[stopping], verbose=0)
        return run.info.run_id, stopping

    mlflow.tensorflow.autolog(log_models=False, log_datasets=False)
    try:
        run_id, long = fit(6, restore=True)
        fits = {patience: fit(patience, restore=False)[1] for patience in (1, 2, 4)} | {6: long}
    finally:
        mlflow.tensorflow.autolog(disable=True)
    rows = table(run_replay(f"--run={run_id}")).set_index("patience")
    out = capsys.readouterr().out
    assert f"step {long.stopped_epoch + 1} is no epoch but the best one's values once more" in out
    assert sorted(rows.index) == [1, 2, 3, 4, 5, 6]
    for patience, stopping in fits.items():
        assert rows.loc[patience, "stopped_epoch"] == stopping.stopped_epoch + 1
        assert rows.loc[patience, "best_epoch"] == stopping.best_epoch + 1
        assert rows.loc[patience, "best_value"] == stopping.best


def test_replay_of_one_run_links_it_and_logs_table_and_figures(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    experiment = mlflow.create_experiment("films")
    values = [0.5, 0.4, 0.45, 0.41, 0.3, 0.35, 0.36]
    source = record(values, {"patience": 4, "min_delta": 0.0}, experiment=experiment, name="patience=4 seed=7")
    run = run_replay(f"--run={source}")
    assert run.info.experiment_id == experiment
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "replay patience=4 seed=7"
    assert run.data.tags["source_run_id"] == run.data.tags["mlflow.parentRunId"] == source
    assert f"(#/experiments/{experiment}/runs/{source})" in run.data.tags["mlflow.note.content"]
    assert run.data.metrics == {}  # no shorter uncensored rule keeps epoch 5
    rows = table(run).set_index("patience")
    assert list(table(run).columns) == [
        "run_id", "run_name", "monitor", "mode", "patience", "min_delta", "stopped_epoch", "best_epoch", "best_value",
        "epochs_saved", "seconds_saved", "regret", "censored", "own_patience", "waited",
    ]  # fmt: skip
    assert rows["censored"].to_dict() == {1: False, 2: False, 3: True, 4: True}
    assert rows.loc[1, ["stopped_epoch", "best_epoch", "epochs_saved", "seconds_saved"]].tolist() == [3, 2, 4, 8.0]
    assert rows.loc[3, ["stopped_epoch", "best_epoch", "best_value", "epochs_saved", "regret"]].isna().all()
    files = {item.path for item in mlflow.MlflowClient().list_artifacts(run.info.run_id)}
    assert files == {"replay.csv", "first_cuts.csv", "heat_map.png", "curve.png"}
    assert "7 epochs, best value 0.3000 after epoch 5" in capsys.readouterr().out
    shorter = run_replay(f"--run={record([0.5, 0.4, 0.45, 0.46], experiment=experiment)}", "--patience=1-2")
    assert shorter.data.metrics == {"shortest_patience": 1, "epochs_saved": 1, "seconds_saved": 2}
    capsys.readouterr()
    tied = run_replay(f"--run={record([0.5, 0.4, 0.39, 0.45, 0.46])}", "--patience=1", "--min_delta=0,0.05")
    assert tied.data.metrics["epochs_saved"] == 2  # for equal patiences, the min_delta that stops earliest
    assert "patience 1 with min_delta 0.05 keeps it and stops after epoch 3: 2 epochs saved" in capsys.readouterr().out


def test_replay_prints_rows_where_the_kept_epoch_changes_and_one_censored(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run_replay(f"--run={record([0.5, 0.4, 0.45, 0.41, 0.3, 0.35, 0.36])}", "--patience=1-20")
    rows = [
        line.split() for line in capsys.readouterr().out.splitlines() if line.split()[:1] and line.split()[0].isdigit()
    ]
    assert [row[:4] for row in rows] == [
        ["1", "0", "3", "2"],
        ["3", "0", "-", "-"],
        ["20", "0", "-", "-"],
        ["3", "of", "20", "rules"],
    ]


def test_replay_leaves_out_what_was_given_up_and_counts_it(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    tags = {"verb": "train", "stop_reason": "patience"}
    whole = [record([0.5, 0.4, 0.41 + n / 100, 0.45], {"patience": 2}, tags) for n in range(3)]
    given_up = record([0.5, 0.1], {"patience": 2}, {**tags, "stop_reason": "pruned"})
    record([0.5, 0.2], {"patience": 2}, {**tags, "stop_reason": "not_a_number"})
    record([0.5, 0.3], {"patience": 2}, {**tags, "stop_reason": "killed"}, status="KILLED")
    run = run_replay("--run=all")
    assert "3 of 6 trainings have finished; left out: 1 given up (pruned)" in capsys.readouterr().out
    assert set(table(run)["run_id"]) == set(whole)
    assert run.data.metrics["runs"] == 3
    run_replay(f"--run={given_up}")
    assert "is unfinished (pruned): its epochs so far are replayed" in capsys.readouterr().out


def test_replay_of_a_run_with_other_steps_tells_stops_in_evaluations_and_steps(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = record([0.9, 0.5, 0.6, 0.7, 0.8], metric="eval_loss", steps=[500, 1000, 1500, 2000, 2500])
    run = run_replay(f"--run={source}", "--monitor=eval_loss", "--patience=1-6")
    out = capsys.readouterr().out
    assert "5 evaluations, best value 0.5000 after evaluation 2, step 1000" in out
    assert "patience 1 with min_delta 0 keeps it and stops after evaluation 3, step 1500: 2 evaluations saved" in out
    rows = table(run).set_index("patience")
    assert rows.loc[2, ["stopped_epoch", "stopped_step", "best_step"]].tolist() == [4, 2000, 1000]
    assert rows.loc[6, ["stopped_step", "best_step"]].isna().all()


def test_replay_of_rules_tells_what_a_search_would_have_saved_and_lost(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tags = {"verb": "train", "stop_reason": "patience"}
    for number in range(20):
        level = (number * 7 % 20) / 100  # 0 to 0.19, in an order of no meaning
        values = [0.9, 0.6 + level, 0.5 + level, 0.4 + level, 0.41 + level]
        record(values, {"patience": 1}, tags, name=f"trial {number}")
    late = record([0.95, 0.93, 0.92, 0.2, 0.21], {"patience": 1}, tags, name="late")
    run = run_replay("--run=all", "--rules=median,asha")
    rows = table(run, "pruning.csv")
    assert len(rows) == 2 * 21
    assert rows["run_name"].tolist()[:2] == ["trial 0", "trial 1"]  # from the oldest on
    assert rows.groupby("rule")["is_winner"].sum().tolist() == [1, 1]
    winner = rows[rows["run_id"] == late].set_index("rule")
    assert winner.loc["median", ["given_up_epoch", "epochs_saved", "seconds_saved"]].tolist() == [2, 3, 6]
    assert winner["best_value"].tolist() == [0.2, 0.2]
    rules = table(run, "pruning_rules.csv").set_index("rule")
    for rule in ("median", "asha"):
        row, own = rules.loc[rule], rows[rows["rule"] == rule]
        assert row["winner_lost"]
        assert row["regret"] == pytest.approx(0.4 - 0.2)
        assert (row["epochs"], row["epochs_saved"]) == (21 * 5, own["epochs_saved"].sum())
        assert row["given_up"] == own["given_up_epoch"].notna().sum()
        assert (row["search_trials"], row["search_separate"]) == (7, 3)
        found = run.data.metrics
        assert found[f"{rule}_saved_low"] < found[f"{rule}_saved"] == row["search_saved"] < found[f"{rule}_saved_high"]
        assert found[f"{rule}_lost_low"] <= found[f"{rule}_lost"] < found[f"{rule}_lost_high"]
    out = capsys.readouterr().out
    assert "median, in the recorded order: gives up" in out
    assert "the best training is among them, and what is left is worse by 0.2" in out
    assert "asha, in searches of 7 of these trainings in random order: saves" in out
    assert "the trainings make 3 such searches without a common one" in out
    assert "median, in the recorded order: gives up" in run.data.tags["mlflow.note.content"]
    files = {item.path for item in mlflow.MlflowClient().list_artifacts(run.info.run_id)}
    assert {"pruning.csv", "pruning_rules.csv", "pruning.png"} <= files


def test_replay_of_rules_on_few_trainings_has_no_interval(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(8):
        record([0.9, 0.5 + number / 10, 0.6 + number / 10], {"patience": 1}, {"verb": "train"})
    run = run_replay("--run=all", "--rules=median")
    assert "no interval: that takes 18 distinct trainings" in capsys.readouterr().out
    assert "median_saved" in run.data.metrics
    assert not {"median_saved_low", "median_lost_high", "asha_saved"} & set(run.data.metrics)


def test_rules_of_the_command_are_all_rules() -> None:
    assert verb_parameters.PRUNING_RULES == RULES


@pytest.mark.parametrize(("status", "state"), [(None, "running"), ("FAILED", "failed"), ("KILLED", "interrupted")])
def test_replay_of_an_unfinished_training_reports_its_status(
    store: str, capsys: pytest.CaptureFixture[str], status: str | None, state: str
) -> None:
    run_replay(f"--run={record([0.5, 0.4, 0.45], {'patience': 1}, status=status)}")
    assert f"is unfinished ({state}): its epochs so far are replayed" in capsys.readouterr().out


def test_replay_of_an_mlflow_experiment_pools_and_recommends(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    experiment = mlflow.create_experiment("films")
    tags = {"verb": "train", "stop_reason": "patience"}
    for number in [*range(30), 29, 29]:
        values = np.array([0.5, 0.4, 0.45, 0.45, 0.3, *[0.4] * 6]) + number / 1000
        record(list(values), {"patience": 6, "min_delta": 0.0}, tags, experiment=experiment)
    record([0.5, 0.4], {"patience": 6}, {"verb": "train"}, status="FAILED", experiment=experiment)
    record([0.5, 0.4, 0.4], {"patience": 6}, tags, steps=[1, 2, 4], experiment=experiment)
    record([0.5, 0.4], {"patience": 6}, tags, status=None, experiment=experiment)
    run = run_replay("--experiment=films")
    out = capsys.readouterr()
    assert "experiment 'films': 33 of 35 trainings have finished" in out.out
    assert "left out: run: " in out.out
    assert "no value of val_loss between steps 2 and 4" in out.out
    assert run.info.experiment_id == experiment
    assert run.data.tags["source_experiment_id"] == experiment
    assert run.info.run_name == "replay 32 trainings"
    found = run.data.metrics
    assert (found["runs"], found["runs_compared"], found["recommended_patience"]) == (32, 30, 3)
    assert (found["served"], found["answered"]) == (30, 30)
    assert (found["epochs_saved"], found["seconds_saved"], found["regret"]) == (30 * 3, 30 * 3 * 2, 0)
    for line in (
        "2 trainings left out: another has the same values from epoch 1 on",
        "Patience 3 with min_delta 0 serves at least 90% of such trainings, at 95% confidence",
    ):
        assert line in out.out
        assert line in run.data.tags["mlflow.note.content"]
    assert len(table(run)) == 32 * 6
    assert table(run)["run_id"].nunique() == 32
    pool = table(run, "pooled.csv").set_index("patience")
    assert pool["runs"].to_dict() == dict.fromkeys(range(1, 7), 30)
    assert pool.loc[1, "regret"] == pytest.approx(0.1)
    assert pool.loc[3, "epochs"] == 8
    files = {item.path for item in mlflow.MlflowClient().list_artifacts(run.info.run_id)}
    assert files == {"replay.csv", "first_cuts.csv", "pooled.csv", "heat_map.png", "pooled.png"}


def test_replay_of_trainings_on_other_data_reports_them(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(4):
        tags = {"verb": "train", "stop_reason": "patience", "data_digest": ("old" if number else "new") * 20}
        record([0.5, 0.4, 0.41 + number / 100, 0.45], {"patience": 2}, tags)
    sentence = (
        "These 4 trainings are not all known to be measured on the same data (3 on oldoldoldold; 1 on newnewnewnew)"
    )
    run = run_replay("--experiment=Default")
    assert sentence in capsys.readouterr().out
    assert sentence in run.data.tags["mlflow.note.content"]


def test_replay_of_few_runs_reports_too_few(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        record([0.5, 0.4, 0.45, 0.46], {"patience": 2}, {"verb": "train"})
    run = run_replay("--run=all")
    sentence = "Too few runs to recommend a patience: 1 distinct training; 29 that train long enough suffice"
    assert sentence in capsys.readouterr().out
    assert "recommended_patience" not in run.data.metrics


def test_replay_of_auto_takes_the_newest_finished_training(store: str) -> None:
    record([0.5, 0.4, 0.45], {"patience": 1}, {"verb": "train"})
    newest = record([0.5, 0.4, 0.45], {"patience": 1}, {"verb": "train"})
    record([0.5, 0.4], {"patience": 1}, {"verb": "train"}, status=None)
    run = run_replay()
    assert run.data.tags["source_run_id"] == newest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run=feedbeef"], r"run: 'feedbeef' cannot be found \(.*\); allowed: a run that exists"),
        (["--run={whole}", "--monitor=f1"], r"monitor: 'f1' is not allowed; allowed: what run \w+ has recorded"),
        (["--run={gap}"], r"run: '\w+' has no value of val_loss between steps 1 and 3"),
        (["--run={twice}"], r"run: '\w+' has two values of val_loss at step 1"),
        (["--run={one}"], r"run: '\w+' has 1 epoch of val_loss; allowed: a run with one value an epoch or evaluation"),
        (
            ["--run={foreign}"],
            r"patience: 'auto' is not allowed; allowed: runs that have that parameter, which \w+ has",
        ),
        (["--experiment=empty"], r"experiment: 'empty' is not allowed; allowed: an experiment with a training"),
        (["--experiment=unfinished"], r"experiment: 'unfinished' .* allowed: an experiment with a training that has"),
        (["--experiment=none such"], r"experiment: 'none such' is not allowed; allowed: the name of an experiment"),
        (["--run={whole}", "--experiment=empty"], r"experiment: 'empty' is not allowed; allowed: that of run \w+: Def"),
        (["--patience=3-1"], r"patience: '3-1' is not allowed; allowed: auto, or whole numbers from 0 such as 1,2,5"),
        (
            ["--min_delta=0;1"],
            r"min_delta: '0;1' is not allowed; allowed: auto, or finite numbers from 0 such as 0,0.001",
        ),
        (["--tolerance=-0.1"], r"tolerance: '-0.1' is not allowed; allowed: a finite number, 0 or more"),
        (["--rules=best"], r"rules: 'best' is not allowed; allowed: none, median, asha or median,asha"),
        (["--rules=asha,asha", "--run=all"], r"rules: 'asha,asha' is not allowed; allowed: none, median"),
        (["--rules=asha", "--run={whole}"], r"rules: 'asha' is not allowed; allowed: none for one training"),
        (["--mode=up"], r"mode: 'up' is not allowed; allowed: auto, min or max"),
    ],
)
def test_replay_with_an_invalid_value_is_refused_without_a_run(store: str, arguments: list[str], message: str) -> None:
    runs = {
        "whole": record([0.5, 0.4], {"patience": 2}),
        "gap": record([0.5, 0.4], {"patience": 2}, {"verb": "train"}, steps=[1, 3]),
        "twice": record([0.5, 0.4], {"patience": 2}, steps=[1, 1]),
        "one": record([0.5], {"patience": 2}),
        "foreign": record([0.5, 0.4]),
    }
    mlflow.create_experiment("empty")
    record(
        [0.5, 0.4], {"patience": 2}, {"verb": "train"}, status=None, experiment=mlflow.create_experiment("unfinished")
    )
    with pytest.raises(UserError, match=f"^{message}") as raised:
        replay.main([argument.format(**runs) for argument in arguments], Signals())
    assert "\n" not in str(raised.value)
    assert replays() == []


CUTS = ["decay_patience", "min_delta", "first_cut", "epochs_after", "unknown"]


@pytest.mark.slow
def test_replay_tells_the_first_cut_where_trainings_with_a_plateau_rule_have_it(
    store: str, reviews_csv: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A replay of a training with a constant rate, and trainings with each decay_patience."""
    values = [*TINY, f"--data={reviews_csv}", "--epochs=14", "--patience=8"]
    train.main(values, Signals())
    (constant,) = mlflow.search_runs(filter_string="tags.verb = 'train'", output_format="list")
    capsys.readouterr()
    cuts = table(run_replay(f"--run={constant.info.run_id}"), "first_cuts.csv")
    out = capsys.readouterr().out
    found = cuts[cuts["min_delta"] == 0.0001].set_index("decay_patience")["first_cut"]
    assert found.notna().any()
    for patience in (1, 3):
        plateau = ["--schedule=plateau", f"--decay_patience={patience}"]
        train.main([*values, *plateau], Signals())
        (real,) = mlflow.search_runs(filter_string="tags.verb = 'train'", output_format="list", max_results=1)
        history = mlflow.MlflowClient().get_metric_history(real.info.run_id, "learning_rate")
        rates = {point.step: point.value for point in history}
        assert real.info.run_id != constant.info.run_id
        assert next(epoch for epoch in rates if rates[epoch + 1] < rates[epoch]) == found[patience]
    first, last = (found.dropna().index[at] for at in (0, -1))
    assert (
        f"a plateau rule would first cut the learning rate after epoch {found[first]:.0f} with decay_patience {first} "
        f"and after epoch {found[last]:.0f} with decay_patience {last}; the epochs after its first cut would have been "
        "others, which a replay cannot tell\n"
    ) in out


def recorded_with_rates(rates: list[float], parameters: dict[str, object]) -> str:
    """Record a training whose plateau rule of patience 3 could cut first after epoch 5, and one of 5 after epoch 7."""
    run_id = record([0.5, 0.4, 0.45, 0.41, 0.42, 0.43, 0.44, 0.39], {"patience": 6, "min_delta": 0, **parameters})
    for step, rate in enumerate(rates, start=1):
        mlflow.MlflowClient().log_metric(run_id, "learning_rate", rate, step=step)
    return run_id


def test_replay_of_a_training_with_cuts_knows_no_first_cut_after_its_own(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The history after its own first cut is that of another training; its stops are still known."""
    run_id = recorded_with_rates([0.1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01], {"schedule": "plateau"})
    run = run_replay(f"--run={run_id}")
    cuts = table(run, "first_cuts.csv")[CUTS].fillna(-1)
    assert cuts.values.tolist() == [
        [1, 0, 3, 5, -1], [2, 0, 4, 4, -1], [3, 0, 5, 3, -1],
        [4, 0, -1, -1, "schedule"], [5, 0, -1, -1, "schedule"], [6, 0, -1, -1, "schedule"],
    ]  # fmt: skip
    described = capsys.readouterr().out, run.data.tags["mlflow.note.content"].replace("\\", "")
    stops = table(run).set_index("patience")["stopped_epoch"].fillna(-1)
    assert stops.tolist() == [3, 4, 5, 6, 7, -1]
    for line in (
        "he run's own schedule cut the learning rate after epoch 5: the stops are exact all the same",
        " plateau rule would first cut the learning rate after epoch 3 with decay_patience 1 and after epoch 5 with",
        "ith a longer decay_patience, the first cut would come after epoch 5, if at all; when is not known",
    ):
        assert [line in text for text in described] == [True, True], line


def test_replay_of_a_training_without_a_cut_knows_all_first_cuts(store: str) -> None:
    """A warm-up's rise is no cut: a training with a plateau rule has it, too."""
    rising = recorded_with_rates([0.05, *[0.1] * 7], {"schedule": "plateau", "warmup_steps": 9})
    cuts = table(run_replay(f"--run={rising}"), "first_cuts.csv")[CUTS].fillna(-1)
    assert cuts["first_cut"].tolist() == [3, 4, 5, 6, 7, -1]
    assert cuts["unknown"].tolist() == [*[-1] * 5, "end"]


def test_replay_of_trainings_with_other_schedules_knows_no_first_cut(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = recorded_with_rates([0.09, *[0.08] * 7], {"schedule": "cosine"})
    cuts = table(run_replay(f"--run={run_id}"), "first_cuts.csv")
    assert cuts["first_cut"].isna().all()
    assert set(cuts["unknown"]) == {"schedule"}
    assert "no first cut by a plateau rule is known, since the learning rate had changed" in capsys.readouterr().out
    recorded_with_rates([0.1] * 8, {"schedule": "plateau"})
    pooled = table(run_replay("--run=all"), "first_cuts.csv")
    assert pooled.groupby("run_id")["first_cut"].count().sort_values().tolist() == [0, 5]
    assert "1 training changed the learning rate by a schedule: the stops are exact" in capsys.readouterr().out
