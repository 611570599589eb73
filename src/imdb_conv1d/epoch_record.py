"""The record of an epoch: a row in two files, a line on the terminal, and what is delivered to the tracking store."""

import csv
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import keras
import numpy as np

from imdb_conv1d.callbacks import BestCheckpoint, EarlyStopping, Logs
from imdb_conv1d.console import say
from imdb_conv1d.stopping import State


class EpochRecord(keras.callbacks.Callback):
    """Writes each epoch to files and hands it on: to the terminal, and to ``deliver(step, time, values)``.

    ``history.csv`` has one row an epoch with all its metrics, ``early_stopping.csv`` what the rule made of it. Both
    grow by a row an epoch: what an epoch costs does not depend on how many there were. ``time`` is in milliseconds UTC.
    """

    STOPPING_COLUMNS = ("epoch", "value", "best", "wait", "event", "time")

    def __init__(
        self,
        folder: Path,
        stopping: EarlyStopping,
        checkpoint: BestCheckpoint,
        deliver: Callable[[int, int, dict[str, float]], None],
    ) -> None:
        super().__init__()
        self.history, self.stops = folder / "history.csv", folder / "early_stopping.csv"
        self.stopping, self.checkpoint, self.deliver = stopping, checkpoint, deliver
        self.best: dict[str, float] = {}  # all metrics of the checkpoint's epoch
        self.milliseconds = _now()  # when the last epoch ended
        _append(self.stops, self.STOPPING_COLUMNS)

    def on_train_begin(self, logs: Logs = None) -> None:
        """Start the first epoch's clock."""
        self._ended = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Record the epoch as the rule and the checkpoint, which come before, have left it."""
        state, step = self.stopping.state, epoch + 1
        values = {name: float(value) for name, value in (logs or {}).items()}
        # Keras keeps it in float32; this is the number that was asked for, 0.001 rather than 0.0010000000474974513.
        values["learning_rate"] = float(str(np.float32(self.model.optimizer.learning_rate)))
        values["early_stopping/wait"] = float(state.wait)
        values["early_stopping/best"] = float(state.best if state.best is not None else math.nan)
        now = time.perf_counter()
        values["epoch_seconds"], self._ended = now - self._ended, now
        self.milliseconds = _now()
        moment = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=self.milliseconds)
        if self.checkpoint.best_epoch == step:
            self.best = values
        self.deliver(step, self.milliseconds, values)  # before the files: a full disk must not lose the epoch
        say(self._line(step, values, state))
        if not self.history.exists():
            _append(self.history, ("epoch", *values))
        _append(self.history, (step, *map(repr, values.values())))
        time_of_day = moment.isoformat(timespec="milliseconds")
        value = repr(values[self.stopping.monitor])
        _append(self.stops, (step, value, repr(state.best), state.wait, state.event, time_of_day))

    def _line(self, step: int, values: dict[str, float], state: State) -> str:
        shown = "  ".join(f"{name} {values[name]:.4f}" for name in ("loss", "accuracy", "val_loss", "val_accuracy"))
        saved = "saved" if self.checkpoint.best_epoch == step else f"best is epoch {self.checkpoint.best_epoch}"
        waited = f"waited {state.wait} of {self.stopping.rule.patience}" if state.wait else "improved"
        return f"epoch {step}  {shown}  {values['epoch_seconds']:.1f} s  {waited}, {saved}"


class EpochEnd(keras.callbacks.Callback):
    """Saves and then records the epoch, and records it also when saving fails."""

    def __init__(self, checkpoint: BestCheckpoint, record: EpochRecord) -> None:
        super().__init__()
        self.checkpoint, self.record = checkpoint, record

    def set_model(self, model: keras.Model) -> None:
        """Give the network to both."""
        super().set_model(model)
        self.checkpoint.set_model(model)
        self.record.set_model(model)

    def on_train_begin(self, logs: Logs = None) -> None:
        """Begin both."""
        self.checkpoint.on_train_begin(logs)
        self.record.on_train_begin(logs)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Save, then record."""
        try:
            self.checkpoint.on_epoch_end(epoch, logs)
        finally:
            self.record.on_epoch_end(epoch, logs)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _append(path: Path, row: tuple[object, ...]) -> None:
    with path.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow(row)
