"""Histories read from a real store: which runs can be replayed, and what is said of those that cannot."""

import math

import mlflow
import numpy as np
import pytest
from mlflow.entities import Metric

from helpers.recording import record
from imdb_conv1d.experiment import EXPERIMENT
from tracked.analysis.rule_replay import replay
from tracked.console.errors import UserError
from tracked.reports.comparison_table import rank_trainings
from tracked.runs import metric_history, metric_points, queries, run_parameters


def run(run_id: str) -> mlflow.entities.Run:
    return mlflow.get_run(run_id)


def test_steps_from_0_or_1_are_epochs_from_1(store: str) -> None:
    for steps in (range(3), range(1, 4)):
        read = metric_history.read(run(record([0.5, 0.4, 0.6], {"patience": 7, "min_delta": "0.01"}, steps=steps)))
        assert read.values.tolist() == [0.5, 0.4, 0.6]
        assert read.best_epoch == 2
        assert (read.monitor, read.mode, read.patience, read.min_delta) == ("val_loss", "min", 7, 0.01)
        assert (read.seconds - read.seconds[0]).tolist() == [0, 2, 4]


def lasted(run_id: str, seconds: dict[int, float]) -> None:
    """Log how long epochs took."""
    lines = [Metric("epoch_seconds", value, 1_700_000_000_000, step) for step, value in seconds.items()]
    mlflow.MlflowClient().log_batch(run_id, metrics=lines)


def test_seconds_of_a_resumed_training_leave_out_the_time_between(store: str) -> None:
    values = [0.5, 0.4, 0.45, 0.46]
    resumed = record(values, milliseconds=3_600_000)  # an hour between two epochs
    lasted(resumed, {1: 2.0, 2: 1.0, 3: 1.5, 4: 1.5})
    read = metric_history.read(run(resumed))
    assert read.seconds.tolist() == [2.0, 3.0, 4.5, 6.0]
    assert replay([read], [1], [0.0])["seconds_saved"].tolist() == [1.5]
    table = rank_trainings(EXPERIMENT, [run(resumed)], {resumed: read}, {}, {})
    assert table["seconds"].tolist() == [6.0]


@pytest.mark.parametrize(
    "seconds",
    [{}, {1: 2.0, 2: 1.0}, {1: 2.0, 2: math.nan, 3: 1.0}, {1: 2.0, 2: -1.0, 3: 1.0}, {0: 2.0, 1: 1.0, 2: 1.0}],
    ids=["none", "one is missing", "no number", "less than none", "other steps"],
)
def test_seconds_without_all_epoch_seconds_count_from_the_start(store: str, seconds: dict[int, float]) -> None:
    run_id = record([0.5, 0.4, 0.6])
    lasted(run_id, seconds)
    assert metric_history.read(run(run_id)).seconds.tolist() == [2.0, 4.0, 6.0]
    (read,) = metric_history.read_all([run(run_id)], "auto", "auto", print, all_of_them=True)
    assert read.seconds.tolist() == [2.0, 4.0, 6.0]


def test_two_epoch_seconds_of_one_epoch_do_not_count(store: str) -> None:
    run_id = record([0.5, 0.4])
    for _ in range(2):
        lasted(run_id, {1: 2.0, 2: 1.0})
    assert metric_history.read(run(run_id)).seconds.tolist() == [2.0, 3.0]  # the same point, sent again
    lasted(run_id, {2: 7.0})
    assert metric_history.read(run(run_id)).seconds.tolist() == [2.0, 4.0]


def test_seconds_of_a_foreign_run_whose_clock_was_set_back_are_unknown(store: str) -> None:
    run_id = record([0.5, 0.6, 0.7], milliseconds=-2000)
    assert math.isnan(replay([metric_history.read(run(run_id))], [1], [0.0])["seconds_saved"].iloc[0])
    lasted(run_id, {1: 2.0, 2: 1.0, 3: 1.5})
    assert replay([metric_history.read(run(run_id))], [1], [0.0])["seconds_saved"].tolist() == [1.5]


def test_seconds_of_many_runs_are_one_more_query(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [record([0.5, 0.4, 0.6], milliseconds=60_000) for _ in range(5)]
    for number, run_id in enumerate(runs[:4], start=1):
        lasted(run_id, {1: 2.0, 2: 1.0, 3: float(number)})
    there = mlflow.MlflowClient()._tracking_client.store
    bulk, asked = there.get_metric_history_bulk, []

    def count(run_ids: list[str], metric: str, most: int) -> object:
        asked.append((metric, len(run_ids)))
        return bulk(run_ids, metric, most)

    monkeypatch.setattr(there, "get_metric_history_bulk", count)
    monkeypatch.setattr(mlflow.MlflowClient, "get_metric_history", lambda *_: pytest.fail("asked of one run"))
    read = metric_history.read_all([run(run_id) for run_id in runs], "auto", "auto", print, all_of_them=True)
    assert asked == [("val_loss", 5), ("epoch_seconds", 4)]
    assert [history.seconds[-1] for history in read] == [4.0, 5.0, 6.0, 7.0, 180.0]


def test_points_without_the_clients_store_are_read_run_by_run(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [record([0.5, 0.4, 0.6]) for _ in range(2)]
    expected = metric_points.read_points(runs, "val_loss")
    client = mlflow.MlflowClient()

    class Public:
        get_metric_history = client.get_metric_history

    monkeypatch.setattr(mlflow, "MlflowClient", Public)
    found = metric_points.read_points(runs, "val_loss")
    assert {run: sorted((p.step, p.value) for p in points) for run, points in found.items()} == {
        run: sorted((p.step, p.value) for p in points) for run, points in expected.items()
    }


def test_monitor_and_mode_by_default_are_the_runs_own_then_kerass_rule(store: str) -> None:
    own = run(record([0.5, 0.4], {"monitor": "val_size", "mode": "max"}, metric="val_size"))
    assert metric_history.read(own).mode == "max"
    assert metric_history.read(own, mode="min").mode == "min"
    assert metric_history.read(run(record([0.5, 0.4], {"monitor": "val_auc_1"}, metric="val_auc_1"))).mode == "max"
    both = record([0.5, 0.4], {"monitor": "val_loss", "mode": "min"})
    mlflow.MlflowClient().log_metric(both, "val_accuracy", 0.8, step=1)
    mlflow.MlflowClient().log_metric(both, "val_accuracy", 0.9, step=2)
    assert metric_history.read(run(both), "val_accuracy").mode == "max"  # not val_loss's own min
    unknown = run(record([0.5, 0.4], {"monitor": "val_size"}, metric="val_size"))
    with pytest.raises(UserError, match=r"mode: auto is not known for val_size of run \w+; allowed: min or max"):
        metric_history.read(unknown)


def test_infinite_values_of_the_store_are_infinite(store: str) -> None:
    read = metric_history.read(run(record([math.inf, 0.5, math.nan, -math.inf])))
    assert read.values.tolist()[:2] == [math.inf, 0.5]
    assert math.isnan(read.values[2])
    assert read.values[3] == -math.inf


def test_restored_weights_of_autolog_are_left_out(store: str) -> None:
    values, lines = [0.5, 0.4, 0.6, 0.7, 0.4], []
    run_id = record(values, {"patience": 2}, steps=range(5))
    for name, value in (("stopped_epoch", 3), ("restored_epoch", 1)):
        mlflow.MlflowClient().log_metric(run_id, name, value)
    read = metric_history.read(run(run_id), say=lines.append)
    assert read.values.tolist() == values[:4]
    assert "step 4 is no epoch but the best one's values once more" in lines[0]
    plain = record(values, {"patience": 2}, steps=range(5))  # the same values, but nothing was restored
    assert len(metric_history.read(run(plain)).values) == 5


@pytest.mark.parametrize(
    ("values", "steps", "problem"),
    [
        ([0.5], [1], "has 1 epoch of val_loss"),
        ([0.5, 0.4, 0.3], [1, 2, 4], "has no value of val_loss between steps 2 and 4"),
        ([0.5, 0.4, 0.3], [1, 2, 2], "has two values of val_loss at step 2"),
        ([0.5, 0.4], [0, 0], "has two values of val_loss at step 0"),
        ([0.5, 0.4], [2, 3], "has val_loss from step 2 on, neither from 0 nor from 1"),
        ([0.5, 0.4], [-1, 0], "has val_loss from step -1 on, neither from 0 nor from 1"),
        ([math.nan, math.nan], [1, 2], "has no finite value of val_loss"),
    ],
)
def test_history_with_gaps_or_repeats_is_refused(
    store: str, values: list[float], steps: list[int], problem: str
) -> None:
    run_id = record(values, steps=steps)
    with pytest.raises(UserError, match=f"^run: '{run_id}' {problem}; allowed: ") as raised:
        metric_history.read(run(run_id))
    assert "\n" not in str(raised.value)


def test_missing_metric_is_refused_by_name(store: str) -> None:
    run_id = record([0.5, 0.4])
    with pytest.raises(
        UserError, match=rf"monitor: 'f1' .*; allowed: what run {run_id} has recorded, which is val_loss"
    ):
        metric_history.read(run(run_id), "f1")


def test_default_grid_follows_from_the_runs(store: str) -> None:
    read = [
        metric_history.read(run(record([0.5, 0.4], {"patience": p, "min_delta": d}))) for p, d in ((3, 0.01), (5, 0))
    ]
    assert metric_history.choose_grid(read, [], []) == ([1, 2, 3, 4, 5], [0.0, 0.01])
    assert metric_history.choose_grid(read, [7], [0.5]) == ([7], [0.5])
    long = metric_history.choose_grid([metric_history.read(run(record([0.5, 0.4], {"patience": 5000})))], [], [])[0]
    assert (long[0], long[-1]) == (1, 5000)
    assert len(long) <= metric_history.MAX_PATIENCES
    foreign = metric_history.read(run(record([0.5, 0.4])))
    with pytest.raises(UserError, match=r"patience: 'auto' is not allowed; allowed: runs that have that parameter"):
        metric_history.choose_grid([foreign], [], [])
    assert metric_history.choose_grid([foreign], [1, 2], []) == ([1, 2], [0.0])


def test_runs_of_several_metrics_are_refused(store: str) -> None:
    a, b = record([0.5, 0.4]), record([0.5, 0.4], {"monitor": "val_accuracy"}, metric="val_accuracy")
    with pytest.raises(
        UserError, match=r"monitor: 'auto' means val_accuracy and val_loss for these runs; allowed: one"
    ):
        metric_history.read_all([run(a), run(b)], "auto", "auto", print, all_of_them=False)
    up, down = (record([0.5, 0.4], {"mode": mode, "monitor": "val_loss"}) for mode in ("max", "min"))
    with pytest.raises(UserError, match=r"mode: 'auto' means max and min for these runs; allowed: one of them by name"):
        metric_history.read_all([run(up), run(down)], "auto", "auto", print, all_of_them=False)
    assert len(metric_history.read_all([run(up), run(down)], "auto", "min", print, all_of_them=False)) == 2


def test_grid_with_too_many_rows_is_refused(store: str) -> None:
    read = [metric_history.read(run(record([0.5, 0.4])))] * 3
    with pytest.raises(
        UserError, match=r"patience: 1,000 patiences by 1,000 values of min_delta on 3 runs are 3,000,000"
    ):
        metric_history.choose_grid(read, range(1000), [n / 10 for n in range(1000)])
    assert len(metric_history.choose_grid(read[:2], range(1000), [n / 10 for n in range(1000)])[0]) == 1000


def test_histories_read_together_equal_those_read_alone(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metric_history, "AT_ONCE", 4)
    monkeypatch.setattr(metric_points, "MAX_POINTS", 12)
    lines: list[str] = []
    runs = [run(record([0.5, math.nan, 0.4 - n / 100, *[0.6] * n])) for n in range(6)]
    runs += [run(record([0.7, 0.8], {"monitor": "val_size", "mode": "min"}, metric="val_size"))]
    with pytest.raises(UserError, match="monitor: 'auto' means val_loss and val_size"):
        metric_history.read_all(runs, "auto", "min", lines.append, all_of_them=False)
    found = metric_history.read_all(runs, "val_loss", "min", lines.append, all_of_them=False)
    for history, one in zip(found, runs[:6], strict=True):
        alone = metric_history.read(one)
        assert history.run_id == alone.run_id
        assert np.array_equal(history.values, alone.values, equal_nan=True)
        assert np.array_equal(history.seconds, alone.seconds)
    assert "read 4 of 7 histories" in lines
    assert "read 7 of 7 histories" in lines
    assert sum("left out: monitor: 'val_loss' is not allowed" in line for line in lines) == 1


def test_baseline_is_reported_and_signed_min_delta_read(store: str) -> None:
    lines: list[str] = []
    read = metric_history.read(run(record([0.5, 0.4], {"baseline": "0.3", "min_delta": "-0.01"})), say=lines.append)
    assert read.min_delta == 0.01  # Keras keeps it negative where less is better
    assert "its EarlyStopping had a baseline, 0.3; the rules here have none" in lines[0]
    metric_history.read(run(record([0.5, 0.4], {"baseline": "None"})), say=lines.append)
    assert len(lines) == 1


def test_status_of_a_training_follows_from_tags_first(store: str) -> None:
    cases = {
        "finished": record([0.5], tags={"stop_reason": "patience"}),
        "running": record([0.5], status=None),
        "failed": record([0.5], status="FAILED", tags={"stop_reason": "error"}),
        "interrupted": record([0.5], status="FAILED", tags={"stop_reason": "interrupted"}),  # mlflow run wrote over it
        "pruned": record([0.5], tags={"stop_reason": "pruned"}),
    }
    assert {name: queries.status_of(run(run_id)) for name, run_id in cases.items()} == {name: name for name in cases}
    assert queries.status_of(run(record([0.5], status="KILLED"))) == "interrupted"
    assert queries.status_of(run(record([0.5], tags={"stop_reason": "not_a_number"}))) == "failed"
    assert queries.status_of(run(record([0.5], tags={"stop_reason": "pruned"}, status=None))) == "running"


def test_trials_that_did_not_end_by_their_own_rule_are_not_finished(store: str) -> None:
    whole = record([0.5, 0.6], tags={"verb": "train", "stop_reason": "patience"})
    given_up = record([0.5, 0.6], tags={"verb": "train", "stop_reason": "pruned"})
    record([0.5, 0.6], tags={"verb": "train", "stop_reason": "not_a_number"})
    found = queries.find_trainings(EXPERIMENT, "auto")
    assert [one.info.run_id for one in found.finished] == [whole]
    assert [one.info.run_id for one in found.pruned] == [given_up]
    assert len(found.runs) == 3


def test_trainings_of_an_experiment_leave_out_other_verbs_runs(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = record([0.5], tags={"verb": "train"})
    foreign = record([0.5], {"monitor": "val_f"}, metric="val_f")
    early = record([], tags={"mlflow.project.entryPoint": "main", "verb": "train"}, status="FAILED")
    record([0.5], tags={"verb": "evaluate"})
    record([0.5], tags={"mlflow.project.entryPoint": "replay"}, status="FAILED")
    record([0.5], metric="steps")
    monkeypatch.setenv("MLFLOW_RUN_ID", record([0.5]))
    assert {found.info.run_id for found in queries.find_trainings(EXPERIMENT, "auto").runs} == {ours, foreign, early}
    assert {found.info.run_id for found in queries.find_trainings(EXPERIMENT, "Default", "steps").runs} >= {ours}
    mlflow.create_experiment("empty")
    for name in ("empty", "no such"):
        with pytest.raises(UserError, match=rf"experiment: '{name}' is not allowed; allowed: "):
            queries.find_trainings(EXPERIMENT, name)


def test_quoted_parameters_of_mlflow_run_are_unquoted(store: str) -> None:
    quoted = {"data": "'my texts/a.csv'", "patience": "3", "odd": "it's"}
    found = run(record([0.5], quoted, tags={"mlflow.project.entryPoint": "main"}))
    assert run_parameters.read_parameters(found) == {"data": "my texts/a.csv", "patience": "3", "odd": "it's"}
    assert run_parameters.read_parameters(run(record([0.5], quoted))) == quoted
