"""The record of an epoch: a line in the journal, a snapshot, what the tracking store is told, a line to read."""

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
MAX_FLOAT = sys.float_info.max  # what a SQL store has in place of an infinity


class HistoryCheck(keras.callbacks.Callback):
    """Ends the training where an epoch comes out otherwise than the store has it, before anything is kept of it."""

    def __init__(self, record: "EpochRecorder") -> None:
        super().__init__()
        self.recorder = record

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Compare what the epoch has come to.

        Raises:
            RunFailed: if it reports other metrics than the experiment declares.
            HistoryError: if the store knows it otherwise.
        """
        values = {name: float(value) for name, value in (logs or {}).items()}
        self.recorder.require_declared(epoch + 1, values)
        self.recorder.require_as_logged(Entry(epoch + 1, 0, values))


class EpochRecorder(keras.callbacks.Callback):
    """Keeps each epoch, and then tells it: first the disk, last the store.

    So what is told is never lost, and never told once more with another time. An epoch that the store knows already,
    because it was trained before and its snapshot is gone, keeps the time and the seconds that the store has. One that
    comes out otherwise than the store knows it ends the training, and is not kept: a run has one history.

    ``changed`` lists what has changed since then of what the epochs depend on, as far as it is known.

    What is not kept, because the disk is full, say, is in none of its attributes.

    Args:
        write_snapshot: makes a snapshot of the training after this epoch.
        logged: what the store has of the run, by epoch.
        metrics: the names of all that an epoch reports.
        learning_rate: gives the one after an epoch.
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
        self.best: dict[str, float] = {}  # all metrics of the best epoch, which the checkpoint has
        self.best_epoch = 0
        self.epoch, self.milliseconds = 0, 0  # the last epoch that is kept, and when it ended

    def restore(self, entries: list[Entry]) -> None:
        """Stand where the record stood after these epochs, and tell those that the store does not know.

        Raises:
            HistoryError: if the store knows one of them otherwise.
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
        """Record the epoch as the rule and the checkpoint, which come before, have left it."""
        state, step = self.stopping.state, epoch + 1
        values = {name: float(value) for name, value in (logs or {}).items()}
        values[LEARNING_RATE] = self.learning_rate()
        values[WAIT] = float(state.wait)
        values[BEST] = float(state.best if state.best is not None else math.nan)
        now = time.perf_counter()
        values[EPOCH_SECONDS], self._ended = now - self._ended, now
        # A clock that is set back must not put an epoch before the one that it follows.
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
        """The entry with the time and the seconds that the store has for this epoch."""
        known = self.logged.get(entry.epoch)
        if known is None:
            return entry
        self.require_as_logged(entry)
        measured = known.values.get(EPOCH_SECONDS, entry.values[EPOCH_SECONDS])
        return replace(entry, time=known.time, values=entry.values | {EPOCH_SECONDS: measured})

    def require_declared(self, epoch: int, values: Mapping[str, float]) -> None:
        """Make sure that an epoch reports what the experiment declares, and nothing else.

        Raises:
            RunFailed: naming the first metric that is not declared, or not reported.
        """
        declared = f"the experiment declares {', '.join(self.metrics)}; nothing is kept of it"
        for name in values:
            if name not in self.metrics:
                raise RunFailed(f"epoch {epoch} reports {name!r}, and {declared}")
        for name in self.metrics:
            if name not in values:
                raise RunFailed(f"epoch {epoch} does not report {name!r}, and {declared}")

    def require_as_logged(self, entry: Entry) -> None:
        """Make sure that an epoch's metrics are those that the store has of it.

        Raises:
            HistoryError: if one is not, naming what has changed since.
        """
        known = self.logged[entry.epoch].values if entry.epoch in self.logged else {}
        differing = [
            f"{name} {known[name]!r} -> {now!r}"
            for name, now in entry.values.items()
            if name in known and name != EPOCH_SECONDS
            # As texts, since NaN is not equal to itself.
            if str(max(min(now, MAX_FLOAT), -MAX_FLOAT)) != str(known[name])
        ]
        if differing:
            cause = f"{', '.join(self.changes)} changed" if self.changes else "what changed is not known"
            what = f"epoch {entry.epoch} came out otherwise than the run has it ({', '.join(differing)})"
            raise HistoryError(f"{what}; {cause}")

    def _line(self, step: int, values: dict[str, float], state: State) -> str:
        shown = "  ".join(f"{name} {values[name]:.4f}" for name in self.metrics)
        saved = "saved" if self.checkpoint.best_epoch == step else f"best is epoch {self.checkpoint.best_epoch}"
        waited = f"waited {state.wait} of {self.stopping.rule.patience}" if state.wait else "improved"
        return f"epoch {step}  {shown}  {values[EPOCH_SECONDS]:.1f} s  {waited}, {saved}"
