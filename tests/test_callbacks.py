import csv
import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import keras
import numpy as np
import pytest

from imdb_conv1d.callbacks import BestCheckpoint, EarlyStopping, InterruptionPoint
from imdb_conv1d.console import Interrupted, Signals
from imdb_conv1d.epoch_record import EpochEnd, EpochRecord
from imdb_conv1d.stopping import Rule

Delivered = list[tuple[int, int, dict[str, float]]]


@pytest.fixture
def network() -> keras.Model:
    made = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    made.compile("adam", "mse")
    return made


def feed(
    network: keras.Model, folder: Path, losses: Sequence[float], rule: Rule, epochs: int = 100
) -> tuple[EarlyStopping, BestCheckpoint, Delivered]:
    """Feed a list of val_loss to the three callbacks, as fit does; the network's weights are the epoch's number."""
    delivered: Delivered = []
    stopping = EarlyStopping(rule, "val_loss", epochs)
    checkpoint = BestCheckpoint(folder / "best.keras", "val_loss", rule.mode)
    record = EpochRecord(folder, stopping, checkpoint, lambda *epoch: delivered.append(epoch))
    callbacks = (stopping, EpochEnd(checkpoint, record))
    for callback in callbacks:
        callback.set_model(network)
        callback.on_train_begin()
    for epoch, loss in enumerate(losses):
        network.set_weights([np.full((2, 1), epoch + 1), np.zeros(1)])
        for callback in callbacks:
            callback.on_epoch_end(epoch, {"loss": 0.5, "accuracy": 0.8, "val_loss": loss, "val_accuracy": 0.7})
        if network.stop_training:
            break
    return stopping, checkpoint, delivered


def saved_epoch(path: Path) -> int:
    return int(keras.saving.load_model(path).get_weights()[0][0, 0])


def test_the_checkpoint_is_the_best_epoch_and_not_the_last(network: keras.Model, tmp_path: Path) -> None:
    stopping, checkpoint, _ = feed(network, tmp_path, [0.5, 0.3, 0.4, 0.35, 0.2], Rule("min", 2))
    assert (stopping.reason, stopping.state.epoch, checkpoint.best_epoch, checkpoint.best) == ("patience", 4, 2, 0.3)
    assert saved_epoch(tmp_path / "best.keras") == 2


def test_the_checkpoint_knows_no_min_delta(network: keras.Model, tmp_path: Path) -> None:
    stopping, checkpoint, _ = feed(network, tmp_path, [0.5, 0.45, 0.42], Rule("min", 2, min_delta=0.1))
    assert (stopping.reason, stopping.state.best_epoch, checkpoint.best_epoch) == ("patience", 1, 3)
    assert saved_epoch(tmp_path / "best.keras") == 3


def test_the_last_epoch_ends_the_training(network: keras.Model, tmp_path: Path) -> None:
    stopping, _, delivered = feed(network, tmp_path, [0.5, 0.4, 0.3, 0.2], Rule("min", 1), epochs=3)
    assert (stopping.reason, len(delivered)) == ("epochs", 3)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_a_number_ends_the_training(network: keras.Model, tmp_path: Path, bad: float) -> None:
    stopping, checkpoint, delivered = feed(network, tmp_path, [0.5, bad, 0.4], Rule("min", 9))
    assert (stopping.reason, len(delivered), checkpoint.best_epoch) == ("not_a_number", 2, 1)
    assert saved_epoch(tmp_path / "best.keras") == 1


def test_a_network_that_is_not_a_number_is_not_saved(network: keras.Model, tmp_path: Path) -> None:
    _, checkpoint, _ = feed(network, tmp_path, [math.nan], Rule("min", 9))
    assert checkpoint.best_epoch == 0
    assert not (tmp_path / "best.keras").exists()


def test_a_save_that_breaks_off_leaves_the_former_checkpoint(
    network: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "best.keras"
    checkpoint = BestCheckpoint(path, "val_loss", "min")
    checkpoint.set_model(network)
    network.set_weights([np.full((2, 1), 1), np.zeros(1)])
    checkpoint.on_epoch_end(0, {"val_loss": 0.5})

    def half(target: Path) -> None:
        Path(target).write_bytes(b"PK half a file")
        raise OSError("No space left on device")

    monkeypatch.setattr(network, "save", half)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.on_epoch_end(1, {"val_loss": 0.4})
    assert saved_epoch(path) == 1
    assert checkpoint.best_epoch == 1


def test_an_epoch_whose_save_fails_is_recorded(
    network: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(target: Path) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(network, "save", full)
    with pytest.raises(OSError, match="No space left"):
        feed(network, tmp_path, [0.5], Rule("min", 2))
    assert len((tmp_path / "early_stopping.csv").read_text().splitlines()) == 2


def test_an_epoch_is_handed_on_before_it_is_written(network: keras.Model, tmp_path: Path) -> None:
    (tmp_path / "history.csv").mkdir()  # writing to it fails
    delivered: Delivered = []
    stopping = EarlyStopping(Rule("min", 2), "val_loss", 9)
    checkpoint = BestCheckpoint(tmp_path / "best.keras", "val_loss", "min")
    record = EpochRecord(tmp_path, stopping, checkpoint, lambda *epoch: delivered.append(epoch))
    for callback in (stopping, end := EpochEnd(checkpoint, record)):
        callback.set_model(network)
        callback.on_train_begin()
    logs = {"loss": 0.5, "accuracy": 0.8, "val_loss": 0.4, "val_accuracy": 0.7}
    stopping.on_epoch_end(0, logs)
    with pytest.raises(IsADirectoryError):
        end.on_epoch_end(0, logs)
    assert [step for step, _, _ in delivered] == [1]
    assert record.best["val_loss"] == 0.4


def test_every_epoch_is_written_and_handed_on(
    network: keras.Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, delivered = feed(network, tmp_path, [0.5, 0.3, 0.3, 0.3], Rule("min", 2))
    rows = list(csv.DictReader((tmp_path / "early_stopping.csv").open()))
    assert list(rows[0]) == ["epoch", "value", "best", "wait", "event", "time"]
    assert [(row["epoch"], row["value"], row["best"], row["wait"], row["event"]) for row in rows] == [
        ("1", "0.5", "0.5", "0", "improved"), ("2", "0.3", "0.3", "0", "improved"),
        ("3", "0.3", "0.3", "1", "waiting"), ("4", "0.3", "0.3", "2", "stopped"),
    ]  # fmt: skip
    assert [step for step, _, _ in delivered] == [1, 2, 3, 4]
    for row, (_, time, values) in zip(rows, delivered, strict=True):
        moment = datetime.fromisoformat(row["time"])
        assert row["time"].endswith("+00:00")
        assert round(moment.timestamp() * 1000) == time
        assert set(values) == {
            "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "epoch_seconds",
            "early_stopping/wait", "early_stopping/best",
        }  # fmt: skip
    assert delivered[3][2]["early_stopping/wait"] == 2
    history = list(csv.DictReader((tmp_path / "history.csv").open()))
    assert [float(row["val_loss"]) for row in history] == [0.5, 0.3, 0.3, 0.3]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[1].endswith("improved, saved")
    assert lines[3].endswith("waited 2 of 2, best is epoch 2")


def test_epoch_seconds_are_the_time_between_ends(network: keras.Model, tmp_path: Path) -> None:
    _, _, delivered = feed(network, tmp_path, [0.5, 0.4, 0.3, 0.2, 0.1], Rule("min", 9))
    seconds = sum(values["epoch_seconds"] for _, _, values in delivered[1:])
    assert seconds == pytest.approx((delivered[-1][1] - delivered[0][1]) / 1000, abs=0.1)


def test_a_signal_ends_the_training_between_two_batches() -> None:
    signals = Signals()
    point = InterruptionPoint(signals)
    point.on_train_batch_end(0)
    point.on_test_batch_end(0)
    signals.signum = 2
    for hook in (point.on_train_batch_end, point.on_test_batch_end):
        with pytest.raises(Interrupted):
            hook(1)
