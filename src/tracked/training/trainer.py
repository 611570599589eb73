"""One training under early stopping: its callbacks, the fit, what came out, and where it goes on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tracked.analysis.early_stopping import NOT_A_NUMBER, Rule
from tracked.console.errors import RunFailed
from tracked.console.lines import one_line, warn
from tracked.console.signals import Signals
from tracked.console.train_parameters import TrainParameters
from tracked.experiment import Experiment, Trainee, list_epoch_metrics
from tracked.training import reproducibility
from tracked.training.callbacks import BestCheckpoint, EarlyStopping, InterruptionPoint
from tracked.training.epoch_recorder import EpochRecorder, HistoryCheck, LogEpoch
from tracked.training.files import JOURNAL, checkpoint_name, snapshot_files
from tracked.training.journal import Entry, HistoryError, Journal
from tracked.training.snapshot_file import FINGERPRINT, Snapshot
from tracked.training.snapshots import Snapshots


class Trainer:
    """Trains what it is given until the rule stops it, and knows at any moment what has come out so far.

    Args:
        folder: where the journal, the checkpoints and the snapshots are written.
        log_epoch: gets every epoch's step, time in milliseconds and metrics.
        signals: end the training between two calls of TensorFlow, each of a few batches.
        facts: what equal bits depend on, by name; a snapshot that was made under others is told so.
        logged: what the tracking store has already, by epoch.
        former: the facts that these epochs were trained under, as far as the store knows them.
    """

    def __init__(
        self,
        experiment: Experiment,
        parameters: TrainParameters,
        folder: Path,
        log_epoch: LogEpoch,
        signals: Signals,
        fingerprint: Mapping[str, str] | None = None,
        logged: Mapping[int, Entry] | None = None,
        logged_environment: dict[str, str] | None = None,
    ) -> None:
        self.experiment, self.parameters, self.signals, self.folder = experiment, parameters, signals, folder
        self.fingerprint, self.logged_environment = dict(fingerprint or {}), logged_environment or {}
        self.rule = Rule(parameters.direction, parameters.patience, parameters.min_delta)
        self.snapshots = Snapshots(folder, lambda metadata: snapshot_files(metadata["checkpoint"]))
        self.journal = Journal(folder / JOURNAL)
        self.stopping = EarlyStopping(self.rule, parameters.monitor, parameters.epochs, experiment.metrics[0].name)
        self.checkpoint = BestCheckpoint(folder, parameters.monitor, parameters.direction)
        self.recorder = EpochRecorder(
            self.journal, self.stopping, self.checkpoint, self._write_snapshot, log_epoch, logged or {},
            list_epoch_metrics(experiment.metrics), lambda: self._trainee.learning_rate,
        )  # fmt: skip
        self.trainee: Trainee | None = None  # once it is where it was
        self.reason = "error"  # until something else is known

    @property
    def _trainee(self) -> Trainee:
        assert self.trainee is not None
        return self.trainee

    def restore(self, trainee: Trainee) -> int:
        """Go back to the newest usable snapshot in the folder; returns its epoch, 0 if there is none.

        Raises:
            RunFailed: if its history goes on after what the parameters allow.
            HistoryError: if it was trained on other data or is another network's, or its epochs are not those that the
                tracking store has.
            OSError: if the folder cannot be read just now.
        """
        entries: list[Entry] = []

        def use(snapshot: Snapshot) -> None:
            self._require_same_data(snapshot)
            entries[:] = self.journal.restore(snapshot.metadata["journal"])
            self.checkpoint.restore(snapshot.metadata["checkpoint"])
            reproducibility.restore_random_states(snapshot.metadata["random"])
            _restore_trainee(trainee, snapshot)

        beginning = self._make_snapshot(0, trainee)
        snapshot = self.snapshots.load_newest(use)
        if snapshot is None:
            use(beginning)  # one that could not be used may have been put back in part
            self._warn_of_changes(self.logged_environment)
            self.trainee = trainee
            return 0
        self._warn_of_changes(snapshot.metadata[FINGERPRINT] | self.logged_environment)
        try:
            self.stopping.restore(entry.values for entry in entries)
        except ValueError as error:
            raise RunFailed(f"the history goes on after what its patience allows ({error})") from None
        self.recorder.restore(entries)
        self.trainee = trainee
        return snapshot.epoch

    def _require_same_data(self, snapshot: Snapshot) -> None:
        """The second line of defence: data are compared before the run goes on."""
        best, now = snapshot.metadata["checkpoint"], self.fingerprint.get("data", "")
        before = snapshot.metadata[FINGERPRINT].get("data", "")
        if before != now:
            changed = f"(digest {before[:12]} -> {now[:12]})"
            raise HistoryError(f"epoch {snapshot.epoch} was trained on other data {changed}")
        if best["data"] != now:  # an earlier version went on with changed data
            changed = f"(digest {best['data'][:12]} -> {now[:12]})"
            raise HistoryError(f"epoch {best['epoch']}, the best one, was chosen on other data {changed}")

    def _warn_of_changes(self, before: Mapping[str, str]) -> None:
        for name, value in before.items():
            if (now := self.fingerprint.get(name)) != value:
                warn(f"{name} is {now!r}, and was {value!r} before: equal bits are not promised from here on")
                self.recorder.changes.append(f"{name} {value!r} -> {now!r}")

    def fit(self) -> None:
        """Train to the end, from where :meth:`restore` has put the trainee, and keep every epoch.

        Raises:
            Interrupted: after the batches in which a signal came.
            RunFailed: if a loss is no longer a finite number, or an epoch cannot be written to the disk.
        """
        if not self.stopping.reason:
            try:
                self._fit(self._trainee)
            except OSError as error:
                what = f"epoch {self.stopped_epoch + 1} cannot be kept in {self.folder}"
                raise RunFailed(f"{what} ({one_line(error)})") from error
            finally:
                self.journal.close()
        self.signals.check()
        self.reason = self.stopping.reason or self.reason
        if not self.stopping.reason:
            raise RunFailed(f"the fit has ended by itself after epoch {self.stopped_epoch}; nothing is registered")
        if self.reason != NOT_A_NUMBER and not self.best_epoch:
            raise RunFailed(f"no epoch has a finite {self.parameters.monitor}; nothing is registered")
        if self.reason == NOT_A_NUMBER:
            advice = self.experiment.advice.format(**self.parameters.as_strings())
            what = "; ".join(filter(None, ["a loss is not a finite number", advice, "nothing is registered"]))
            raise RunFailed(f"epoch {self.stopped_epoch}: {what}")

    def _fit(self, trainee: Trainee) -> None:
        self.checkpoint.write = trainee.save
        callbacks = [
            HistoryCheck(self.recorder),
            self.stopping,
            self.checkpoint,
            self.recorder,
            InterruptionPoint(self.signals),
        ]
        with self.signals.hold():
            trainee.fit(callbacks, self.stopped_epoch, self.parameters.epochs)

    def _make_snapshot(self, epoch: int, trainee: Trainee) -> Snapshot:
        """All that the epochs to come depend on."""
        metadata: dict[str, Any] = {
            "journal": self.journal.mark,
            "checkpoint": self.checkpoint.metadata | {"data": self.fingerprint.get("data", "")},
            "random": reproducibility.get_random_states(),
            FINGERPRINT: self.fingerprint,
        }
        return Snapshot(epoch, metadata, trainee.state())

    def _write_snapshot(self, epoch: int) -> None:
        self.snapshots.write(self._make_snapshot(epoch, self._trainee))

    @property
    def stopped_epoch(self) -> int:
        """The last epoch that is kept, 0 before the first is complete."""
        return self.recorder.epoch

    @property
    def best_epoch(self) -> int:
        """The best epoch, 0 as long as there is none."""
        return self.recorder.best_epoch

    @property
    def checkpoint_path(self) -> Path:
        """The best epoch's network."""
        return self.folder / checkpoint_name(self.best_epoch)

    @property
    def entries(self) -> list[Entry]:
        """All epochs that are kept."""
        return [entry for entry in self.journal.entries() if entry.epoch <= self.stopped_epoch]

    @property
    def best(self) -> dict[str, float]:
        """All metrics of the best epoch, empty as long as there is none."""
        return self.recorder.best


def _restore_trainee(trainee: Trainee, snapshot: Snapshot) -> None:
    try:
        trainee.restore(snapshot.arrays)
    except ValueError as error:  # the file is whole, so that going back further would not help
        raise HistoryError(f"the snapshot of epoch {snapshot.epoch} does not fit ({error})") from None
