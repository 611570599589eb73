"""Callbacks of a training: the early-stopping rule, the best checkpoint, imports, interruption, the progress."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import Any, Literal, Self

import keras

from tracked.analysis.early_stopping import NOT_A_NUMBER, PRUNED, Rule, State, advance
from tracked.console.imports import import_ahead
from tracked.console.progress import Progress, track
from tracked.console.signals import Signals
from tracked.training.files import checkpoint_name, require_checkpoint, sha256_of, write_safely

Logs = dict[str, Any] | None
GiveUp = Callable[[Sequence[float]], str]


class EarlyStopping(keras.callbacks.Callback):
    """End the training by the rule, after the last epoch, when a loss is not finite, or when a search gives it up.

    Args:
        loss: the loss's name among the metrics.

    Attributes:
        give_up: tells from the monitor's values, one an epoch, why to give the training up; empty: go on. None: never.
        state: the rule's state after the last epoch.
        reason: why the training ended: patience, epochs, not_a_number or pruned; empty before its end.
        given_up: what ``give_up`` told at the end; else empty.
    """

    def __init__(self, rule: Rule, monitor: str, epochs: int, loss: str = "loss") -> None:
        super().__init__()
        self.rule, self.monitor, self.epochs = rule, monitor, epochs
        self._losses = (loss, f"val_{loss}")
        self.give_up: GiveUp | None = None
        self._values: list[float] = []
        self.state = State()
        self.reason = self.given_up = ""

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Advance the rule by the epoch's value, and end the training if the rule stops."""
        self._advance(logs or {})
        self.model.stop_training = bool(self.reason)

    def restore(self, history: Iterable[Mapping[str, float]]) -> None:
        """Set the rule's state to that after these epochs: a function of their metrics alone."""
        for logs in history:
            self._advance(logs)

    def _advance(self, logs: Mapping[str, Any]) -> None:
        self.state = advance(self.rule, self.state, float(logs[self.monitor]))
        if not all(math.isfinite(logs[name]) for name in self._losses):
            self.reason = NOT_A_NUMBER
        elif self.state.stopped:
            self.reason = "patience"
        elif self.state.epoch == self.epochs:
            self.reason = "epochs"
        elif self.give_up:
            self._values.append(float(logs[self.monitor]))
            self.given_up = self.give_up(self._values)
            self.reason = PRUNED if self.given_up else ""


class BestCheckpoint(keras.callbacks.Callback):
    """Save the network at each best value of the monitor, as ``keras.callbacks.ModelCheckpoint(save_best_only=True)``.

    Unlike Keras's, a file is complete at every moment and has its epoch in its name, so that a resume from an earlier
    epoch finds the best checkpoint of that time. A network whose monitor is not finite is not saved.

    Attributes:
        write: writes the network to a path; by default the trained model's ``save``.
        best_epoch: 0 before the first save.
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
        """The best epoch, its value and its file's SHA-256, for a snapshot."""
        return {"epoch": self.best_epoch, "value": self.best, "sha256": self._digest}

    def restore(self, metadata: Mapping[str, Any]) -> None:
        """Restore the best epoch from a snapshot's metadata.

        Raises:
            ValueError: if the file's SHA-256 differs.
            OSError: if the file cannot be read.
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
    """End the training on a signal between two calls of TensorFlow, where no operation is half done."""

    def __init__(self, signals: Signals) -> None:
        super().__init__()
        self.signals = signals

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Raise Interrupted if a signal came during the batches."""
        self.signals.check()

    def on_test_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Raise Interrupted if a signal came during the batches."""
        self.signals.check()


class ImportAhead(keras.callbacks.Callback):
    """Import modules in a thread beside the steps: nobody waits for them after the last epoch.

    The thread starts after the first steps: TensorFlow traces these in Python, whose lock imports would hold.
    A module that cannot be imported is left to the code that needs it.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        super().__init__()
        self._modules = modules

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Start the thread, once."""
        if self._modules:
            Thread(target=import_ahead, args=[self._modules]).start()
            self._modules = ()


class EpochProgress(keras.callbacks.Callback):
    """Show how far an epoch is, in its training and in its validation: a context manager around the fit.

    The number of steps of a validation is known from the first one on. A trainee that does not call ``on_epoch_begin``
    and ``on_test_begin`` shows nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self._epoch = ""
        self._validation_steps: int | None = None
        self._progress: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _begin(self, description: str, steps: int | None) -> None:
        self._end()
        self._progress = track(description, steps, "steps", summary=False)
        self._progress.__enter__()

    def _end(self) -> None:
        if self._progress:
            self._progress.__exit__(None, None, None)
            self._progress = None

    def _advance(self, batch: int) -> None:
        if progress := self._progress:  # Keras calls once for several steps, and rounds the number of the last one up
            done = batch + 1 if progress.total is None else min(batch + 1, progress.total)
            progress.advance(done - progress.count)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Begin with an epoch's training."""
        self._epoch = f"epoch {epoch + 1}"
        self._begin(self._epoch, (self.params or {}).get("steps"))

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Advance to this step."""
        self._advance(batch)

    def on_test_begin(self, logs: Logs = None) -> None:
        """Begin with an epoch's validation."""
        self._begin(f"{self._epoch}, validation", self._validation_steps)

    def on_test_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Advance to this step."""
        self._advance(batch)

    def on_test_end(self, logs: Logs = None) -> None:
        """Keep the number of steps."""
        self._validation_steps = self._progress.count if self._progress else None
        self._end()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Show nothing more."""
        self._end()
