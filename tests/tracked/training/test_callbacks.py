import json
import math
import re
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from helpers.shown_progress import record_progress
from tracked.analysis.early_stopping import Rule
from tracked.console import progress
from tracked.console.errors import Interrupted
from tracked.console.signals import Signals
from tracked.training import callbacks, epoch_recorder
from tracked.training.callbacks import (
    BestCheckpoint,
    EarlyStopping,
    EpochProgress,
    InterruptionPoint,
    checkpoint_name,
)
from tracked.training.epoch_recorder import EpochRecorder
from tracked.training.journal import Entry, HistoryError, Journal, read
from tracked.training.trainer import Trainer

from diabetes import Diabetes, DiabetesParameters  # isort: skip

Calls = list[tuple[int, int, dict[str, float]]]
METRICS = ["loss", "accuracy", "val_loss", "val_accuracy"]


@pytest.fixture
def network() -> keras.Model:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    return model


def feed(
    network: keras.Model,
    folder: Path,
    losses: Sequence[float],
    rule: Rule,
    epochs: int = 100,
    logged: Mapping[int, Entry] | None = None,
    write_snapshot: Any = lambda epoch: None,
) -> tuple[EarlyStopping, BestCheckpoint, Calls]:
    """Feed val_loss values to the three callbacks, as fit does; the network's weights are the epoch's number."""
    calls: Calls = []
    stopping = EarlyStopping(rule, "val_loss", epochs)
    checkpoint = BestCheckpoint(folder, "val_loss", rule.mode)
    journal = Journal(folder / "journal.jsonl")
    log_epoch, rate = lambda *epoch: calls.append(epoch), lambda: 0.001
    recorder = EpochRecorder(journal, stopping, checkpoint, write_snapshot, log_epoch, logged or {}, METRICS, rate)
    callbacks = (stopping, checkpoint, recorder)
    for callback in callbacks:
        callback.set_model(network)
        callback.on_train_begin()
    for epoch, loss in enumerate(losses):
        network.set_weights([np.full((2, 1), epoch + 1), np.zeros(1)])
        for callback in callbacks:
            callback.on_epoch_end(epoch, {"loss": 0.5, "accuracy": 0.8, "val_loss": loss, "val_accuracy": 0.7})
        if network.stop_training:
            break
    return stopping, checkpoint, calls


def saved_epoch(path: Path) -> int:
    return int(keras.saving.load_model(path).get_weights()[0][0, 0])


def test_checkpoint_after_patience_is_the_best_epoch(network: keras.Model, tmp_path: Path) -> None:
    stopping, checkpoint, _ = feed(network, tmp_path, [0.5, 0.3, 0.4, 0.35, 0.2], Rule("min", 2))
    assert (stopping.reason, stopping.state.epoch, checkpoint.best_epoch, checkpoint.best) == ("patience", 4, 2, 0.3)
    assert saved_epoch(checkpoint.folder / checkpoint_name(checkpoint.best_epoch)) == 2


def test_checkpoint_with_min_delta_is_the_epoch_of_the_best_value(network: keras.Model, tmp_path: Path) -> None:
    stopping, checkpoint, _ = feed(network, tmp_path, [0.5, 0.45, 0.42], Rule("min", 2, min_delta=0.1))
    assert (stopping.reason, stopping.state.best_epoch, checkpoint.best_epoch) == ("patience", 1, 3)
    assert saved_epoch(checkpoint.folder / checkpoint_name(checkpoint.best_epoch)) == 3


def test_early_stopping_at_the_last_epoch_ends_with_reason_epochs(network: keras.Model, tmp_path: Path) -> None:
    stopping, _, calls = feed(network, tmp_path, [0.5, 0.4, 0.3, 0.2], Rule("min", 1), epochs=3)
    assert (stopping.reason, len(calls)) == ("epochs", 3)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_early_stopping_at_a_loss_that_is_not_finite_ends_with_reason_not_a_number(
    network: keras.Model, tmp_path: Path, bad: float
) -> None:
    stopping, checkpoint, calls = feed(network, tmp_path, [0.5, bad, 0.4], Rule("min", 9))
    assert (stopping.reason, len(calls), checkpoint.best_epoch) == ("not_a_number", 2, 1)
    assert saved_epoch(checkpoint.folder / checkpoint_name(checkpoint.best_epoch)) == 1


def test_checkpoint_at_a_nan_monitor_is_not_saved(network: keras.Model, tmp_path: Path) -> None:
    _, checkpoint, _ = feed(network, tmp_path, [math.nan], Rule("min", 9))
    assert checkpoint.best_epoch == 0
    assert list(tmp_path.glob("*.keras")) == []


def test_checkpoint_after_a_failed_save_is_the_earlier_one(
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
    assert [path.name for path in tmp_path.iterdir()] == ["best-1.keras"]  # the partial file is removed


def test_checkpoint_of_an_earlier_epoch_stays_after_a_better_one(network: keras.Model, tmp_path: Path) -> None:
    _, checkpoint, _ = feed(network, tmp_path, [0.5, 0.4], Rule("min", 9))
    first = checkpoint.metadata | {"epoch": 1, "value": 0.5}
    with pytest.raises(ValueError, match=r"best-1\.keras is damaged"):
        checkpoint.restore(first)  # with the second checkpoint's SHA-256
    assert checkpoint.metadata["epoch"] == 2
    assert saved_epoch(tmp_path / "best-1.keras") == 1


def test_epoch_without_a_snapshot_is_not_logged(network: keras.Model, tmp_path: Path) -> None:
    attempted: list[int] = []

    def write_snapshot(epoch: int) -> None:
        attempted.append(epoch)
        if epoch == 2:
            raise OSError("No space left on device")

    calls: Calls = []
    stopping = EarlyStopping(Rule("min", 2), "val_loss", 9)
    checkpoint = BestCheckpoint(tmp_path, "val_loss", "min")
    journal, log_epoch = Journal(tmp_path / "journal.jsonl"), lambda *epoch: calls.append(epoch)
    recorder = EpochRecorder(journal, stopping, checkpoint, write_snapshot, log_epoch, {}, METRICS, lambda: 0.001)
    for callback in (stopping, checkpoint, recorder):
        callback.set_model(network)
        callback.on_train_begin()
    logs = {"loss": 0.5, "accuracy": 0.8, "val_loss": 0.4, "val_accuracy": 0.7}
    for callback in (stopping, checkpoint, recorder):
        callback.on_epoch_end(0, logs)
    stopping.on_epoch_end(1, logs | {"val_loss": 0.3})
    with pytest.raises(OSError, match="No space left"):
        recorder.on_epoch_end(1, logs | {"val_loss": 0.3})
    assert attempted == [1, 2]
    assert [step for step, _, _ in calls] == [1]
    assert (recorder.epoch, recorder.best["val_loss"]) == (1, 0.4)


def test_epoch_is_written_before_it_is_logged(network: keras.Model, tmp_path: Path) -> None:
    order: list[str] = []
    stopping, checkpoint = EarlyStopping(Rule("min", 2), "val_loss", 9), BestCheckpoint(tmp_path, "val_loss", "min")
    journal = Journal(tmp_path / "journal.jsonl")
    recorder = EpochRecorder(
        journal,
        stopping,
        checkpoint,
        lambda epoch: order.append(f"snapshot {epoch}, {len(journal.entries())} in the journal"),
        lambda epoch, *_: order.append(f"logged {epoch}"),
        {},
        METRICS,
        lambda: 0.001,
    )
    for callback in (stopping, checkpoint, recorder):
        callback.set_model(network)
        callback.on_train_begin()
    for epoch in range(2):
        for callback in (stopping, checkpoint, recorder):
            callback.on_epoch_end(epoch, {"loss": 0.5, "accuracy": 0.8, "val_loss": 0.4, "val_accuracy": 0.7})
    assert order == ["snapshot 1, 1 in the journal", "logged 1", "snapshot 2, 2 in the journal", "logged 2"]


def test_epochs_are_written_to_the_journal_logged_and_printed(
    network: keras.Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, calls = feed(network, tmp_path, [0.5, 0.3, 0.3, 0.3], Rule("min", 2))
    entries = [Entry(*call) for call in calls]
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


def test_logged_epoch_trained_again_keeps_its_time_and_is_not_logged_again(
    network: keras.Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, first = feed(network, tmp_path, [0.5, 0.4, 0.3], Rule("min", 9))
    logged = {step: Entry(step, 1000 + step, dict(values) | {"epoch_seconds": 7.0}) for step, _, values in first[:2]}
    del logged[2].values["val_loss"]  # as if a metric of the second epoch had not arrived
    again = tmp_path / "again"
    again.mkdir()
    capsys.readouterr()
    _, _, calls = feed(network, again, [0.5, 0.4, 0.3], Rule("min", 9), logged=logged)
    assert [(step, time, set(values)) for step, time, values in calls] == [
        (2, 1002, {"val_loss"}),
        (3, calls[1][1], set(first[0][2])),
    ]
    assert calls[1][1] > 10**12
    lines = (again / "journal.jsonl").read_text().splitlines()
    assert [(json.loads(line)["time"], json.loads(line)["values"]["epoch_seconds"]) for line in lines[:2]] == [
        (1001, 7.0),
        (1002, 7.0),
    ]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["val_loss", "early_stopping/wait"])
def test_logged_epoch_trained_again_with_other_metrics_is_refused(
    network: keras.Model, tmp_path: Path, name: str
) -> None:
    _, _, first = feed(network, tmp_path, [0.5, 0.4], Rule("min", 9))
    again = tmp_path / "again"
    again.mkdir()
    logged = {step: Entry(step, time, dict(values)) for step, time, values in first}
    new = logged[2].values[name]
    logged[2].values[name] = old = math.nextafter(new, 1)
    epochs: list[int] = []
    message = f"epoch 2 differs from its logged metrics ({name} {old!r} -> {new!r}); the cause"
    with pytest.raises(HistoryError, match=re.escape(message)):
        feed(network, again, [0.5, 0.4, 0.3], Rule("min", 9), logged=logged, write_snapshot=epochs.append)
    assert epochs == [1]
    assert [entry.epoch for entry in read(again / "journal.jsonl")] == [1]


@pytest.mark.parametrize(("value", "stored"), [(math.nan, math.nan), (math.inf, sys.float_info.max)])
def test_logged_epoch_with_nan_or_infinity_trained_again_is_accepted(
    network: keras.Model, tmp_path: Path, value: float, stored: float
) -> None:
    """NaN is not equal to itself, and a SQL store keeps no infinity."""
    _, _, first = feed(network, tmp_path, [value], Rule("min", 9))
    logged = {1: Entry(1, 1000, {name: stored if number == value or number != number else number
                                 for name, number in first[0][2].items()})}  # fmt: skip
    again = tmp_path / "again"
    again.mkdir()
    stopping, _, calls = feed(network, again, [value], Rule("min", 9), logged=logged)
    assert (stopping.reason, calls) == ("not_a_number", [])


def test_epoch_times_after_a_clock_set_back_do_not_decrease(
    network: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([2_000_000_000, 1_000_000_000, 3_000_000_000])
    monkeypatch.setattr(epoch_recorder.time, "time_ns", lambda: next(clock))
    _, _, calls = feed(network, tmp_path, [0.5, 0.4, 0.3], Rule("min", 9))
    assert [time for _, time, _ in calls] == [2000, 2000, 3000]


def test_epoch_seconds_are_the_time_between_epoch_ends(network: keras.Model, tmp_path: Path) -> None:
    _, _, calls = feed(network, tmp_path, [0.5, 0.4, 0.3, 0.2, 0.1], Rule("min", 9))
    seconds = sum(values["epoch_seconds"] for _, _, values in calls[1:])
    assert seconds == pytest.approx((calls[-1][1] - calls[0][1]) / 1000, abs=0.1)


def test_interruption_point_after_a_signal_raises_interrupted() -> None:
    signals = Signals()
    point = InterruptionPoint(signals)
    point.on_train_batch_end(0)
    point.on_test_batch_end(0)
    signals.signum = 2
    for hook in (point.on_train_batch_end, point.on_test_batch_end):
        with pytest.raises(Interrupted):
            hook(1)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that the progress of epochs would show, were each step to take a minute."""
    return record_progress(monkeypatch, callbacks)


def test_progress_of_an_epoch_counts_its_steps_and_those_of_its_validation(
    network: keras.Model, shown: list[str]
) -> None:
    """Keras calls once for three steps, rounding up, and knows the steps of a validation once it has ended."""
    network.compile("sgd", "mse", steps_per_execution=3)
    x, y = np.zeros((10, 2)), np.zeros((10, 1))
    with EpochProgress() as own:
        network.fit(x, y, batch_size=2, epochs=2, validation_data=(x, y), validation_batch_size=2, verbose=0,
                    callbacks=[own])  # fmt: skip
    assert shown == [
        "epoch 1: 3 of 5 steps, 3.0 a minute, 40.0 seconds left",
        "epoch 1: 5 of 5 steps, 2.0 a minute, 0.0 seconds left",
        "epoch 1, validation: 3 steps, 3.0 a minute",
        "epoch 1, validation: 6 steps, 3.0 a minute",
        "epoch 2: 3 of 5 steps, 3.0 a minute, 40.0 seconds left",
        "epoch 2: 5 of 5 steps, 2.0 a minute, 0.0 seconds left",
        "epoch 2, validation: 3 of 6 steps, 3.0 a minute, 1.0 minutes left",
        "epoch 2, validation: 6 of 6 steps, 3.0 a minute, 0.0 seconds left",
    ]


def test_progress_of_an_epoch_that_is_interrupted_ends(shown: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    own = EpochProgress()
    own.set_params({"steps": 9})
    own.on_epoch_begin(4)
    with pytest.raises(Interrupted), own:
        raise Interrupted(2)
    own.on_train_batch_end(0)
    assert shown == []
    assert progress._shown is None
    assert capsys.readouterr().out == ""


def test_progress_of_a_trainee_that_announces_no_epochs_shows_nothing(shown: list[str]) -> None:
    with EpochProgress() as own:
        own.on_train_batch_end(0)
        own.on_test_batch_end(0)
        own.on_test_end()
        own.on_epoch_end(0)
    assert shown == []


@pytest.mark.parametrize("modules", [[], ["imported_ahead", "no_such_module"]])
def test_training_imports_ahead_what_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modules: list[str]
) -> None:
    (tmp_path / "imported_ahead.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "imported_ahead", raising=False)
    experiment, parameters = Diabetes(), DiabetesParameters(epochs=2)
    trainer = Trainer(experiment, parameters, tmp_path, lambda *epoch: None, Signals())
    trainer.restore(experiment.build(parameters, experiment.load(parameters, ""), tmp_path, {}))
    before = set(threading.enumerate())
    trainer.fit(modules)
    for one in set(threading.enumerate()) - before:
        one.join(10)
    assert ("imported_ahead" in sys.modules) == bool(modules)


def test_training_shows_the_progress_of_its_epochs_beside_their_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment, parameters = Diabetes(), DiabetesParameters(epochs=2)
    trainer = Trainer(experiment, parameters, tmp_path, lambda *epoch: None, Signals())
    trainer.restore(experiment.build(parameters, experiment.load(parameters, ""), tmp_path, {}))
    monkeypatch.setattr(progress, "LINE_EVERY", 0)
    trainer.fit()
    printed = [re.split(r" of |, [\d.]+ a | {2,}", line)[0] for line in capsys.readouterr().out.splitlines()]
    validation = ["validation: 1 steps"], ["validation: 1"]
    assert printed == [
        line
        for epoch in (1, 2)
        for line in [
            *(f"epoch {epoch}: {step}" for step in range(1, 9)),
            *(f"epoch {epoch}, {line}" for line in validation[epoch - 1]),
            f"epoch {epoch}",
        ]
    ]
    assert progress._shown is None
