"""Replayed rules against Keras's own callbacks: in a fit, and on values given one by one."""

import math
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.keras_rules import VALUES, Mode, keras_checkpoint, keras_stop
from tracked.analysis.early_stopping import Rule
from tracked.analysis.rule_replay import BLOCK, History, replay


def history(values: list[float], mode: Mode = "min", run_id: str = "r", seconds: list[float] | None = None) -> History:
    times = np.arange(len(values)) * 2.0 + 100 if seconds is None else np.array(seconds)
    return History(run_id, "name", "val_loss", mode, np.array(values, dtype=float), times)


def row(table: pd.DataFrame, patience: int, min_delta: float = 0.0, run_id: str = "r") -> pd.Series:
    found = table[(table["patience"] == patience) & (table["min_delta"] == min_delta) & (table["run_id"] == run_id)]
    assert len(found) == 1
    return found.iloc[0]


@pytest.mark.slow
@given(
    st.lists(st.lists(VALUES, min_size=1, max_size=25), min_size=1, max_size=4),
    st.lists(st.integers(0, 8), min_size=1, max_size=4, unique=True),
    st.lists(st.sampled_from([0.0, 0.0001, 0.25, 0.3]), min_size=1, max_size=3, unique=True),
    st.sampled_from(["min", "max"]),
)
def test_replay_of_any_values_agrees_with_kerass_callbacks(
    several: list[list[float]], patience: list[int], min_delta: list[float], mode: Mode
) -> None:
    histories = [history(values, mode, str(number)) for number, values in enumerate(several)]
    table = replay(histories, patience, min_delta)
    assert len(table) == len(several) * len(patience) * len(min_delta)
    for number, values in enumerate(several):
        for p in patience:
            for d in min_delta:
                found = row(table, p, d, str(number))
                epoch, *_, stopped = keras_stop(Rule(mode, p, d), values)
                assert bool(found["censored"]) == (not stopped)
                if not stopped:
                    shown = found[["stopped_epoch", "best_epoch", "best_value", "epochs_saved", "regret"]]
                    assert shown.isna().all()
                    continue
                assert found["stopped_epoch"] == epoch
                assert found["epochs_saved"] == len(values) - epoch
                if all(map(math.isfinite, values[:epoch])):  # checkpoints of other values are not kept
                    kept = keras_checkpoint(mode, values[:epoch])
                    assert found["best_epoch"] == kept
                    assert found["best_value"] == values[kept - 1]
                    if all(map(math.isfinite, values)):
                        best = values[keras_checkpoint(mode, values) - 1]
                        assert found["regret"] == abs(values[kept - 1] - best) >= 0


def fit(epochs: int, callbacks: list[keras.callbacks.Callback]) -> list[float]:
    """A small training, the same at every call; val_loss by epoch."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(60, 6)).astype("float32")
    y = (x[:, 0] + rng.normal(size=60) > 0).astype("float32")
    keras.utils.set_random_seed(5)
    model = keras.Sequential([keras.layers.Dense(30, "relu"), keras.layers.Dense(1, "sigmoid")])
    model.compile(keras.optimizers.Adam(0.03), "binary_crossentropy")
    data = {"x": x[:40], "y": y[:40], "validation_data": (x[40:], y[40:]), "batch_size": 8, "verbose": 0}
    return list(model.fit(**data, epochs=epochs, callbacks=callbacks).history["val_loss"])


@pytest.fixture(scope="module")
def without_early_stopping() -> list[float]:
    return fit(30, [])


@pytest.mark.slow
@pytest.mark.parametrize(("patience", "min_delta"), [(0, 0.0), (2, 0.0), (2, 0.003), (4, 0.003)])
def test_replay_of_a_fit_agrees_with_fits_under_early_stopping(
    without_early_stopping: list[float], patience: int, min_delta: float, tmp_path: Path
) -> None:
    found = row(replay([history(without_early_stopping)], [patience], [min_delta]), patience, min_delta)
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", save_best_only=True)
    stopping = keras.callbacks.EarlyStopping(patience=patience, min_delta=min_delta)
    values = fit(30, [stopping, checkpoint])
    assert not found["censored"]
    assert found["stopped_epoch"] == len(values) == stopping.stopped_epoch + 1
    assert found["best_value"] == checkpoint.best == min(values)
    assert found["best_epoch"] == values.index(min(values)) + 1


def test_replay_gives_epochs_and_seconds_saved_and_regret() -> None:
    table = replay([history([0.5, 0.4, 0.45, 0.41, 0.3, 0.35, 0.36])], [1, 2, 3], [0.0])
    assert row(table, 1)[["stopped_epoch", "best_epoch", "best_value"]].tolist() == [3, 2, 0.4]
    assert row(table, 1)["epochs_saved"] == 4
    assert row(table, 1)["seconds_saved"] == 8.0
    assert row(table, 1)["regret"] == pytest.approx(0.1)
    assert row(table, 2)["stopped_epoch"] == 4
    assert row(table, 3)["censored"]  # epochs 6 and 7 are two without an improvement, not three


def test_replay_with_min_delta_keeps_a_checkpoint_that_improves_by_less() -> None:
    found = row(replay([history([0.5, 0.49, 0.48, 0.6])], [2], [0.1]), 2, 0.1)
    assert (found["stopped_epoch"], found["best_epoch"], found["best_value"]) == (3, 3, 0.48)


def test_replay_with_a_clock_set_back_has_no_seconds_saved() -> None:
    found = row(replay([history([0.5, 0.6, 0.7], seconds=[10, 20, 15])], [1], [0.0]), 1)
    assert math.isnan(found["seconds_saved"])
    assert found["epochs_saved"] == 1


def test_replay_of_a_stop_before_any_finite_value_has_infinite_regret() -> None:
    found = row(replay([history([math.nan, math.nan, 0.4])], [1], [0.0]), 1)
    assert found["stopped_epoch"] == 2
    assert pd.isna(found["best_epoch"])
    assert found["regret"] == math.inf
    assert not found["censored"]


def test_replay_of_several_blocks_equals_each_history_alone() -> None:
    rng = np.random.default_rng(0)
    histories = [history(list(rng.random(rng.integers(1, 30))), "min", str(n)) for n in range(BLOCK + 10)]
    table = replay(histories, [1, 3], [0.0, 0.1])
    alone = pd.concat([replay([one], [1, 3], [0.0, 0.1]) for one in histories], ignore_index=True)
    pd.testing.assert_frame_equal(table, alone)


def test_replay_of_both_modes_follows_each_historys_mode() -> None:
    values = [0.1, 0.2, 0.3, 0.2]
    table = replay([history(values, "min", "a"), history(values, "max", "b")], [1], [0.0])
    assert row(table, 1, run_id="a")["stopped_epoch"] == 2
    assert row(table, 1, run_id="b")["stopped_epoch"] == 4
    assert row(table, 1, run_id="b")["best_epoch"] == 3


@given(st.lists(st.lists(VALUES, min_size=1, max_size=20), min_size=1, max_size=4), st.sampled_from([None, 0.0, 0.25]))
def test_waited_is_the_longest_patience_that_a_history_answers(
    several: list[list[float]], min_delta: float | None
) -> None:
    histories = [
        History(
            str(n), "", "val_loss", "min", np.array(values, dtype=float), np.arange(len(values)) * 1.0, 7, min_delta
        )
        for n, values in enumerate(several)
    ]
    table = replay(histories, range(1, 21), [min_delta or 0.0])
    for _, rows in table.groupby("run_id"):
        assert rows["waited"].iloc[0] == rows.loc[~rows["censored"], "patience"].max() or (
            rows["censored"].all() and rows["waited"].iloc[0] == 0
        )
        assert rows["own_patience"].tolist() == [7] * 20
