import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tracked.analysis.early_stopping import Rule
from tracked.console.errors import Interrupted
from tracked.console.signals import Signals
from tracked.training import epoch_recorder
from tracked.training.callbacks import BestCheckpoint, EarlyStopping, InterruptionPoint, checkpoint_name
from tracked.training.epoch_recorder import EpochRecorder
from tracked.training.journal import Entry, HistoryError, Journal, read

Delivered = list[tuple[int, int, dict[str, float]]]
METRICS = ["loss", "accuracy", "val_loss", "val_accuracy"]


@pytest.fixture
def network() -> keras.Model:
    made = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    made.compile("adam", "mse")
    return made


def feed(
    network: keras.Model,
    folder: Path,
    losses: Sequence[float],
    rule: Rule,
    epochs: int = 100,
    logged: Mapping[int, Entry] | None = None,
    keep: Any = lambda epoch: None,
) -> tuple[EarlyStopping, BestCheckpoint, Delivered]:
    """Feed a list of val_loss to the three callbacks, as fit does; the network's weights are the epoch's number."""
    delivered: Delivered = []
    stopping = EarlyStopping(rule, "val_loss", epochs)
    checkpoint = BestCheckpoint(folder, "val_loss", rule.mode)
    journal = Journal(folder / "journal.jsonl")
    deliver, rate = lambda *epoch: delivered.append(epoch), lambda: 0.001
    record = EpochRecorder(journal, stopping, checkpoint, keep, deliver, logged or {}, METRICS, rate)
    callbacks = (stopping, checkpoint, record)
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
    assert saved_epoch(checkpoint.folder / checkpoint_name(checkpoint.best_epoch)) == 2


def test_the_checkpoint_knows_no_min_delta(network: keras.Model, tmp_path: Path) -> None:
    stopping, checkpoint, _ = feed(network, tmp_path, [0.5, 0.45, 0.42], Rule("min", 2, min_delta=0.1))
    assert (stopping.reason, stopping.state.best_epoch, checkpoint.best_epoch) == ("patience", 1, 3)
    assert saved_epoch(checkpoint.folder / checkpoint_name(checkpoint.best_epoch)) == 3


def test_the_last_epoch_ends_the_training(network: keras.Model, tmp_path: Path) -> None:
    stopping, _, delivered = feed(network, tmp_path, [0.5, 0.4, 0.3, 0.2], Rule("min", 1), epochs=3)
    assert (stopping.reason, len(delivered)) == ("epochs", 3)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_a_number_ends_the_training(network: keras.Model, tmp_path: Path, bad: float) -> None:
    stopping, checkpoint, delivered = feed(network, tmp_path, [0.5, bad, 0.4], Rule("min", 9))
    assert (stopping.reason, len(delivered), checkpoint.best_epoch) == ("not_a_number", 2, 1)
    assert saved_epoch(checkpoint.folder / checkpoint_name(checkpoint.best_epoch)) == 1


def test_a_network_that_is_not_a_number_is_not_saved(network: keras.Model, tmp_path: Path) -> None:
    _, checkpoint, _ = feed(network, tmp_path, [math.nan], Rule("min", 9))
    assert checkpoint.best_epoch == 0
    assert list(tmp_path.glob("*.keras")) == []


def test_a_save_that_breaks_off_leaves_the_former_checkpoint(
    network: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = BestCheckpoint(tmp_path, "val_loss", "min")
    checkpoint.set_model(network)
    network.set_weights([np.full((2, 1), 1), np.zeros(1)])
    checkpoint.on_epoch_end(0, {"val_loss": 0.5})

    def half(target: Path) -> None:
        Path(target).write_bytes(b"PK half a file")
        raise OSError("No space left on device")

    monkeypatch.setattr(network, "save", half)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.on_epoch_end(1, {"val_loss": 0.4})
    assert saved_epoch(checkpoint.folder / checkpoint_name(checkpoint.best_epoch)) == 1
    assert checkpoint.best_epoch == 1
    assert [path.name for path in tmp_path.iterdir()] == ["best-1.keras"]  # half a file takes no room


def test_a_better_checkpoint_takes_no_other_ones_place(network: keras.Model, tmp_path: Path) -> None:
    _, checkpoint, _ = feed(network, tmp_path, [0.5, 0.4], Rule("min", 9))
    first = checkpoint.metadata | {"epoch": 1, "value": 0.5}
    with pytest.raises(ValueError, match=r"best-1\.keras is damaged"):
        checkpoint.restore(first)  # the second one's checksum
    assert checkpoint.metadata["epoch"] == 2
    assert saved_epoch(tmp_path / "best-1.keras") == 1


def test_an_epoch_that_cannot_be_kept_is_not_told(network: keras.Model, tmp_path: Path) -> None:
    told: list[int] = []

    def keep(epoch: int) -> None:
        told.append(epoch)
        if epoch == 2:
            raise OSError("No space left on device")

    delivered: Delivered = []
    stopping = EarlyStopping(Rule("min", 2), "val_loss", 9)
    checkpoint = BestCheckpoint(tmp_path, "val_loss", "min")
    journal, deliver = Journal(tmp_path / "journal.jsonl"), lambda *epoch: delivered.append(epoch)
    record = EpochRecorder(journal, stopping, checkpoint, keep, deliver, {}, METRICS, lambda: 0.001)
    for callback in (stopping, checkpoint, record):
        callback.set_model(network)
        callback.on_train_begin()
    logs = {"loss": 0.5, "accuracy": 0.8, "val_loss": 0.4, "val_accuracy": 0.7}
    for callback in (stopping, checkpoint, record):
        callback.on_epoch_end(0, logs)
    stopping.on_epoch_end(1, logs | {"val_loss": 0.3})
    with pytest.raises(OSError, match="No space left"):
        record.on_epoch_end(1, logs | {"val_loss": 0.3})
    assert told == [1, 2]
    assert [step for step, _, _ in delivered] == [1]
    assert (record.epoch, record.best["val_loss"]) == (1, 0.4)


def test_an_epoch_is_kept_before_it_is_told(network: keras.Model, tmp_path: Path) -> None:
    order: list[str] = []
    stopping, checkpoint = EarlyStopping(Rule("min", 2), "val_loss", 9), BestCheckpoint(tmp_path, "val_loss", "min")
    journal = Journal(tmp_path / "journal.jsonl")
    record = EpochRecorder(
        journal,
        stopping,
        checkpoint,
        lambda epoch: order.append(f"kept {epoch}, {len(journal.entries())} in the journal"),
        lambda epoch, *_: order.append(f"told {epoch}"),
        {},
        METRICS,
        lambda: 0.001,
    )
    for callback in (stopping, checkpoint, record):
        callback.set_model(network)
        callback.on_train_begin()
    for epoch in range(2):
        for callback in (stopping, checkpoint, record):
            callback.on_epoch_end(epoch, {"loss": 0.5, "accuracy": 0.8, "val_loss": 0.4, "val_accuracy": 0.7})
    assert order == ["kept 1, 1 in the journal", "told 1", "kept 2, 2 in the journal", "told 2"]


def test_every_epoch_is_written_and_handed_on(
    network: keras.Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, delivered = feed(network, tmp_path, [0.5, 0.3, 0.3, 0.3], Rule("min", 2))
    entries = [Entry(*told) for told in delivered]
    assert [entry.epoch for entry in entries] == [1, 2, 3, 4]
    assert [entry.values["val_loss"] for entry in entries] == [0.5, 0.3, 0.3, 0.3]
    assert set(entries[0].values) == {
        "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "epoch_seconds",
        "early_stopping/wait", "early_stopping/best",
    }  # fmt: skip
    assert [entry.values["early_stopping/wait"] for entry in entries] == [0, 0, 1, 2]
    lines = (tmp_path / "journal.jsonl").read_text().splitlines()
    assert [Entry(**json.loads(line)) for line in lines] == entries
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[1].endswith("improved, saved")
    assert lines[3].endswith("waited 2 of 2, best is epoch 2")


def test_an_epoch_that_the_store_knows_keeps_its_time_and_is_not_told_again(
    network: keras.Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, first = feed(network, tmp_path, [0.5, 0.4, 0.3], Rule("min", 9))
    known = {step: Entry(step, 1000 + step, dict(values) | {"epoch_seconds": 7.0}) for step, _, values in first[:2]}
    del known[2].values["val_loss"]  # of the second epoch, one metric did not arrive
    again = tmp_path / "again"
    again.mkdir()
    capsys.readouterr()
    _, _, told = feed(network, again, [0.5, 0.4, 0.3], Rule("min", 9), logged=known)
    assert [(step, time, set(values)) for step, time, values in told] == [
        (2, 1002, {"val_loss"}),
        (3, told[1][1], set(first[0][2])),
    ]
    assert told[1][1] > 10**12
    lines = (again / "journal.jsonl").read_text().splitlines()
    assert [(json.loads(line)["time"], json.loads(line)["values"]["epoch_seconds"]) for line in lines[:2]] == [
        (1001, 7.0),
        (1002, 7.0),
    ]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["val_loss", "early_stopping/wait"])
def test_an_epoch_that_comes_out_otherwise_than_the_store_knows_it_is_not_kept(
    network: keras.Model, tmp_path: Path, name: str
) -> None:
    _, _, first = feed(network, tmp_path, [0.5, 0.4], Rule("min", 9))
    again = tmp_path / "again"
    again.mkdir()
    known = {step: Entry(step, time, dict(values)) for step, time, values in first}
    now = known[2].values[name]
    known[2].values[name] = before = math.nextafter(now, 1)
    kept: list[int] = []
    with pytest.raises(HistoryError, match=re.escape(f"the run has it ({name} {before!r} -> {now!r}); what changed")):
        feed(network, again, [0.5, 0.4, 0.3], Rule("min", 9), logged=known, keep=kept.append)
    assert kept == [1]
    assert [entry.epoch for entry in read(again / "journal.jsonl")] == [1]


@pytest.mark.parametrize(("value", "stored"), [(math.nan, math.nan), (math.inf, sys.float_info.max)])
def test_what_is_no_finite_number_is_as_the_store_knows_it(
    network: keras.Model, tmp_path: Path, value: float, stored: float
) -> None:
    """NaN is not equal to itself, and a SQL store keeps no infinity."""
    _, _, first = feed(network, tmp_path, [value], Rule("min", 9))
    known = {1: Entry(1, 1000, {name: stored if number == value or number != number else number
                                for name, number in first[0][2].items()})}  # fmt: skip
    again = tmp_path / "again"
    again.mkdir()
    stopping, _, told = feed(network, again, [value], Rule("min", 9), logged=known)
    assert (stopping.reason, told) == ("not_a_number", [])


def test_a_clock_that_is_set_back_puts_no_epoch_before_another(
    network: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([2_000_000_000, 1_000_000_000, 3_000_000_000])
    monkeypatch.setattr(epoch_recorder.time, "time_ns", lambda: next(clock))
    _, _, told = feed(network, tmp_path, [0.5, 0.4, 0.3], Rule("min", 9))
    assert [time for _, time, _ in told] == [2000, 2000, 3000]


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
