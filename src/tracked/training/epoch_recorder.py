"""Record an epoch: a journal entry, a snapshot, its metrics in MLflow, a printed line."""

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import keras

from tracked.analysis.early_stopping import State
from tracked.console.errors import RunFailed
from tracked.console.lines import say
from tracked.training.callbacks import BestCheckpoint, EarlyStopping, Logs
from tracked.training.journal import (
    BEST,
    EPOCH_SECONDS,
    LEARNING_RATE,
    WAIT,
    Entry,
    HistoryError,
    Journal,
    missing_metrics,
)

LogEpoch = Callable[[int, int, dict[str, float]], None]  # an epoch, its time in milliseconds, its metrics
MAX_FLOAT = sys.float_info.max  # a SQL store keeps it in place of an infinity


class HistoryCheck(keras.callbacks.Callback):
    """End the training at an epoch whose metrics differ from the logged ones, before it is checkpointed or recorded."""

    def __init__(self, recorder: "EpochRecorder") -> None:
        super().__init__()
        self.recorder = recorder

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Check the epoch's metrics.

        Raises:
            RunFailed: if their names are not those that the experiment declares.
            HistoryError: if they differ from the logged ones.
        """
        values = {name: float(value) for name, value in (logs or {}).items()}
        self.recorder.require_declared(epoch + 1, values)
        self.recorder.require_as_logged(Entry(epoch + 1, 0, values))


class EpochRecorder(keras.callbacks.Callback):
    """Write each epoch to disk, then log it: journal, snapshot, MLflow.

    A logged epoch is therefore never lost, and never logged again with another time. An epoch that is trained again,
    because its snapshot is gone, keeps its logged time and seconds. If its metrics differ from the logged ones, it ends
    the training and is not recorded: a run has one history. An epoch that cannot be written changes no attribute.

    Args:
        write_snapshot: writes a snapshot of the training after this epoch.
        logged: the run's logged epochs.
        metrics: the names of all metrics that an epoch reports.
        learning_rate: returns the present one.

    Attributes:
        changes: "name old -> new" for each known change, since then, of what the epochs depend on.
    """

    def __init__(
        self,
        journal: Journal,
        stopping: EarlyStopping,
        checkpoint: BestCheckpoint,
        write_snapshot: Callable[[int], None],
        log_epoch: LogEpoch,
        logged: Mapping[int, Entry],
        metrics: Sequence[str],
        learning_rate: Callable[[], float],
    ) -> None:
        super().__init__()
        self.journal, self.stopping, self.checkpoint = journal, stopping, checkpoint
        self.write_snapshot, self.log_epoch, self.logged = write_snapshot, log_epoch, logged
        self.metrics, self.learning_rate = metrics, learning_rate
        self.changes: list[str] = []
        self.best: dict[str, float] = {}  # all metrics of the best epoch
        self.best_epoch = 0
        self.epoch, self.milliseconds = 0, 0  # the last recorded epoch, and when it ended

    def restore(self, entries: list[Entry]) -> None:
        """Restore the state after these epochs, and log those that the run lacks.

        Raises:
            HistoryError: if one differs from its logged metrics.
        """
        for entry in entries:
            self.require_as_logged(entry)
        for entry in entries:
            self._update(entry)
            self._log_missing(entry)

    def on_train_begin(self, logs: Logs = None) -> None:
        """Start the first epoch's clock."""
        self._ended = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Record the epoch; the rule's and the checkpoint's callbacks must have run before."""
        state, step = self.stopping.state, epoch + 1
        values = {name: float(value) for name, value in (logs or {}).items()}
        values[LEARNING_RATE] = self.learning_rate()
        values[WAIT] = float(state.wait)
        values[BEST] = float(state.best if state.best is not None else math.nan)
        now = time.perf_counter()
        values[EPOCH_SECONDS], self._ended = now - self._ended, now
        # A clock that is set back must not date an epoch before its predecessor.
        entry = self._with_logged_time(Entry(step, max(time.time_ns() // 1_000_000, self.milliseconds), values))
        self.journal.append(entry)
        self.write_snapshot(step)
        self._update(entry)
        self._log_missing(entry)
        say(self._line(step, values, state))

    def _update(self, entry: Entry) -> None:
        self.epoch, self.milliseconds = entry.epoch, entry.time
        if self.checkpoint.best_epoch == entry.epoch:
            self.best, self.best_epoch = entry.values, entry.epoch

    def _log_missing(self, entry: Entry) -> None:
        if missing := missing_metrics(entry, self.logged):
            self.log_epoch(entry.epoch, entry.time, missing)

    def _with_logged_time(self, entry: Entry) -> Entry:
        """The entry with the time and the seconds of its logged epoch, if there is one."""
        logged = self.logged.get(entry.epoch)
        if logged is None:
            return entry
        self.require_as_logged(entry)
        seconds = logged.values.get(EPOCH_SECONDS, entry.values[EPOCH_SECONDS])
        return replace(entry, time=logged.time, values=entry.values | {EPOCH_SECONDS: seconds})

    def require_declared(self, epoch: int, values: Mapping[str, float]) -> None:
        """Check that an epoch reports exactly the metrics that the experiment declares.

        Raises:
            RunFailed: naming the first metric that is not declared, or not reported.
        """
        declared = f"(declared: {', '.join(self.metrics)}); the epoch is discarded; change the experiment's metrics"
        for name in values:
            if name not in self.metrics:
                raise RunFailed(f"epoch {epoch} reports the undeclared metric {name!r} {declared}")
        for name in self.metrics:
            if name not in values:
                raise RunFailed(f"epoch {epoch} does not report the declared metric {name!r} {declared}")

    def require_as_logged(self, entry: Entry) -> None:
        """Check that an epoch's metrics equal the logged ones.

        Raises:
            HistoryError: if one differs, naming what has changed since it was logged.
        """
        logged = self.logged[entry.epoch].values if entry.epoch in self.logged else {}
        differences = [
            f"{name} {logged[name]!r} -> {value!r}"
            for name, value in entry.values.items()
            if name in logged and name != EPOCH_SECONDS
            # As texts, since NaN is not equal to itself.
            if str(max(min(value, MAX_FLOAT), -MAX_FLOAT)) != str(logged[name])
        ]
        if differences:
            cause = f"changed since then: {', '.join(self.changes)}" if self.changes else "the cause is not known"
            difference = f"epoch {entry.epoch} differs from its logged metrics ({', '.join(differences)})"
            raise HistoryError(f"{difference}; {cause}")

    def _line(self, step: int, values: dict[str, float], state: State) -> str:
        shown = "  ".join(f"{name} {values[name]:.4f}" for name in self.metrics)
        best = self.checkpoint.best_epoch
        saved = "saved" if best == step else f"best is epoch {best}" if best else "nothing saved"
        waited = f"waited {state.wait} of {self.stopping.rule.patience}" if state.wait else "improved"
        return f"epoch {step}  {shown}  {values[EPOCH_SECONDS]:.1f} s  {waited}, {saved}"
