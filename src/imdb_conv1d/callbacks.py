"""What happens at the end of an epoch, in this order: the rule, the checkpoint, the record. One class each."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import keras
import tensorflow as tf

from imdb_conv1d.console import Signals
from imdb_conv1d.stopping import Rule, State, advance

Logs = dict[str, Any] | None


class EarlyStopping(keras.callbacks.Callback):
    """Ends the training by the rule, after the last epoch, or when a loss is no longer a finite number.

    ``state`` is the rule's state after the last epoch, ``reason`` why the training ended: patience, epochs or
    not_a_number; empty while it goes on.
    """

    def __init__(self, rule: Rule, monitor: str, epochs: int) -> None:
        super().__init__()
        self.rule, self.monitor, self.epochs = rule, monitor, epochs
        self.state = State()
        self.reason = ""

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Advance the rule by the epoch's value, and end the training where it says so."""
        logs = logs or {}
        self.state = advance(self.rule, self.state, float(logs[self.monitor]))
        if not all(math.isfinite(logs[name]) for name in ("loss", "val_loss")):
            self.reason = "not_a_number"
        elif self.state.stopped:
            self.reason = "patience"
        elif self.state.epoch == self.epochs:
            self.reason = "epochs"
        self.model.stop_training = bool(self.reason)


class BestCheckpoint(keras.callbacks.Callback):
    """Saves the network at each best value of the monitor, as ``keras.callbacks.ModelCheckpoint(save_best_only=True)``.

    Other than there, the file is complete at every moment: it is written aside, flushed to the disk and then renamed.
    A network whose monitor is not a finite number is not saved. ``best_epoch`` is 0 as long as nothing is saved.

    ``write`` writes the network to a path; the trained one's ``save``, unless another is set.
    """

    def __init__(self, path: Path, monitor: str, mode: Literal["min", "max"]) -> None:
        super().__init__()
        self.path, self.monitor = path, monitor
        self.write: Callable[[Path], None] | None = None
        self.rule = Rule(mode, patience=0)
        self.best: float | None = None
        self.best_epoch = 0

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Save the network if the epoch's value is the best so far."""
        value = float((logs or {})[self.monitor])
        if math.isfinite(value) and self.rule.improves(value, self.best):
            aside = self.path.with_name("partial.keras")
            (self.write or self.model.save)(aside)
            with aside.open("rb") as file:
                os.fsync(file.fileno())
            aside.replace(self.path)
            self.best, self.best_epoch = value, epoch + 1


class EpochNumber(keras.callbacks.Callback):
    """Tells the batches which epoch they are for, counted from 1."""

    def __init__(self, number: tf.Variable) -> None:
        super().__init__()
        self.number = number

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Keras counts from 0 here."""
        self.number.assign(epoch + 1)


class InterruptionPoint(keras.callbacks.Callback):
    """Lets a signal end the training where nothing is half done: between two calls of TensorFlow."""

    def __init__(self, signals: Signals) -> None:
        super().__init__()
        self.signals = signals

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Raise a signal that came during the batches."""
        self.signals.check()

    def on_test_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Raise a signal that came during the batches."""
        self.signals.check()
