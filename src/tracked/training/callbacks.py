"""What happens at the end of an epoch, in this order: the rule, the checkpoint, the record. One class each."""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import keras

from tracked.analysis.early_stopping import NOT_A_NUMBER, Rule, State, advance
from tracked.console.signals import Signals
from tracked.training.files import checkpoint_name, require_checkpoint, sha256_of, write_safely

Logs = dict[str, Any] | None


class EarlyStopping(keras.callbacks.Callback):
    """Ends the training by the rule, after the last epoch, or when a loss is no longer a finite number.

    ``loss`` is the name of the loss among the metrics.

    ``state`` is the rule's state after the last epoch, ``reason`` why the training ended: patience, epochs or
    not_a_number; empty while it goes on.
    """

    def __init__(self, rule: Rule, monitor: str, epochs: int, loss: str = "loss") -> None:
        super().__init__()
        self.rule, self.monitor, self.epochs = rule, monitor, epochs
        self._losses = (loss, f"val_{loss}")
        self.state = State()
        self.reason = ""

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Advance the rule by the epoch's value, and end the training where it says so."""
        self._take(logs or {})
        self.model.stop_training = bool(self.reason)

    def restore(self, history: Iterable[Mapping[str, float]]) -> None:
        """Stand where the rule stands after these epochs: its state is a function of their metrics and nothing else."""
        for logs in history:
            self._take(logs)

    def _take(self, logs: Mapping[str, Any]) -> None:
        self.state = advance(self.rule, self.state, float(logs[self.monitor]))
        if not all(math.isfinite(logs[name]) for name in self._losses):
            self.reason = NOT_A_NUMBER
        elif self.state.stopped:
            self.reason = "patience"
        elif self.state.epoch == self.epochs:
            self.reason = "epochs"


class BestCheckpoint(keras.callbacks.Callback):
    """Saves the network at each best value of the monitor, as ``keras.callbacks.ModelCheckpoint(save_best_only=True)``.

    Other than there, a file is complete at every moment, and a better one does not take its place: each is called after
    its epoch, so that whoever goes back to an earlier epoch finds what was the best by then. A network whose monitor is
    not a finite number is not saved. ``best_epoch`` is 0 as long as nothing is saved.

    ``write`` writes the network to a path; the trained one's ``save``, unless another is set.
    """

    def __init__(self, folder: Path, monitor: str, mode: Literal["min", "max"]) -> None:
        super().__init__()
        self.folder, self.monitor = folder, monitor
        self.write: Callable[[Path], None] | None = None
        self.rule = Rule(mode, patience=0)
        self.best: float | None = None
        self.best_epoch = 0
        self._digest = ""

    @property
    def metadata(self) -> dict[str, Any]:
        """What a snapshot says of it."""
        return {"epoch": self.best_epoch, "value": self.best, "sha256": self._digest}

    def restore(self, metadata: Mapping[str, Any]) -> None:
        """Go back to what a snapshot says.

        Raises:
            ValueError: if the file is not the one that it means; OSError if it cannot be read.
        """
        require_checkpoint(self.folder, metadata)
        self.best_epoch, self.best, self._digest = metadata["epoch"], metadata["value"], metadata["sha256"]

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Save the network if the epoch's value is the best so far."""
        value = float((logs or {})[self.monitor])
        if math.isfinite(value) and self.rule.improves(value, self.best):
            path = self.folder / checkpoint_name(epoch + 1)
            write_safely(path, self.write or self.model.save)
            self.best, self.best_epoch, self._digest = value, epoch + 1, sha256_of(path)


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
