"""Train under early stopping: the callbacks, the fit, its result, the state to resume from."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tracked.analysis.early_stopping import NOT_A_NUMBER, Rule
from tracked.console.errors import RunFailed
from tracked.console.lines import one_line, warn
from tracked.console.signals import Signals
from tracked.console.train_parameters import TrainParameters
from tracked.experiment import Experiment, Trainee, list_epoch_metrics
from tracked.training import reproducibility
from tracked.training.callbacks import BestCheckpoint, EarlyStopping, EpochProgress, ImportAhead, InterruptionPoint
from tracked.training.epoch_recorder import EpochRecorder, HistoryCheck, LogEpoch
from tracked.training.files import JOURNAL, checkpoint_name, snapshot_files
from tracked.training.journal import Entry, HistoryError, Journal
from tracked.training.rate_control import CutReport, RateControl
from tracked.training.snapshot_file import FINGERPRINT, Snapshot
from tracked.training.snapshots import Snapshots


class Trainer:
    """Train a trainee until the rule stops, and write each epoch to the run folder.

    Args:
        folder: the run folder, for the journal, the checkpoints and the snapshots.
        log_epoch: called with each epoch, its time in milliseconds and its metrics.
        signals: end the training between two calls of TensorFlow, each of a few batches.
        fingerprint: what equal bits depend on, by name; a change since a snapshot is a warning.
        logged: the run's logged epochs.
        logged_environment: the logged part of the fingerprint of these epochs.
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
        self.rates = RateControl(parameters)
        self.recorder = EpochRecorder(
            self.journal, self.stopping, self.checkpoint, self._write_snapshot, log_epoch, logged or {},
            list_epoch_metrics(experiment.metrics), lambda: self.rates.rate,
        )  # fmt: skip
        self.trainee: Trainee | None = None  # set once its state is restored
        self.reason = "error"  # until the training ends in another way

    @property
    def _trainee(self) -> Trainee:
        assert self.trainee is not None
        return self.trainee

    def restore(self, trainee: Trainee) -> int:
        """Restore the newest usable snapshot in the run folder; returns its epoch, 0 if there is none.

        Raises:
            RunFailed: if its history goes beyond the epoch at which the rule stops, or the trainee cannot follow the
                learning rate's schedule.
            HistoryError: if its data or network are others, or its epochs differ from the logged ones.
            OSError: if a file cannot be read.
        """
        entries: list[Entry] = []

        def use(snapshot: Snapshot) -> None:
            self._require_same_data(snapshot)
            entries[:] = self.journal.restore(snapshot.metadata["journal"])
            self.checkpoint.restore(snapshot.metadata["checkpoint"])
            reproducibility.restore_random_states(snapshot.metadata["random"])
            _restore_trainee(trainee, snapshot)

        initial = self._make_snapshot(0, trainee)
        snapshot = self.snapshots.load_newest(use)
        if snapshot is None:
            use(initial)  # an unusable snapshot may have been restored in part
            self.rates.restore(trainee, [])
            self._warn_of_changes(self.logged_environment, "the last logged epoch")
            self.trainee = trainee
            return 0
        self._warn_of_changes(snapshot.metadata[FINGERPRINT] | self.logged_environment, "the last snapshot")
        try:
            self.stopping.restore(entry.values for entry in entries)
        except ValueError as error:
            raise RunFailed(
                f"the journal goes beyond the epoch at which patience {self.rule.patience} stops ({error}); "
                "start a new training without --resume or --run-id"
            ) from None
        self.rates.restore(trainee, [entry.values for entry in entries])
        self.recorder.restore(entries)
        self.trainee = trainee
        return snapshot.epoch

    def _require_same_data(self, snapshot: Snapshot) -> None:
        """Check the snapshot's data once more: the plan to resume has compared the run's tag with the data."""
        best, digest = snapshot.metadata["checkpoint"], self.fingerprint.get("data", "")
        trained_on = snapshot.metadata[FINGERPRINT].get("data", "")
        if trained_on != digest:
            change = f"(digest {trained_on[:12]} -> {digest[:12]})"
            raise HistoryError(f"epoch {snapshot.epoch} was trained on other data {change}")
        if best["data"] != digest:  # an earlier version of the project resumed with changed data
            change = f"(digest {best['data'][:12]} -> {digest[:12]})"
            raise HistoryError(f"the best epoch, {best['epoch']}, was chosen on other data {change}")

    def _warn_of_changes(self, former: Mapping[str, str], since: str) -> None:
        for name, value in former.items():
            if (current := self.fingerprint.get(name)) != value:
                change = f"{value!r} -> {current!r}"
                effect = "the next epochs may differ" if name == "code" else "results may differ in the last bits"
                warn(f"{name} changed since {since} ({change}): {effect}")
                self.recorder.changes.append(f"{name} {change}")

    def fit(self, import_ahead: Sequence[str] = ()) -> None:
        """Train from the state that :meth:`restore` has set to the end, and record every epoch.

        Args:
            import_ahead: names of modules to import meanwhile.

        Raises:
            Interrupted: after the batches in which a signal came.
            RunFailed: if an epoch cannot be written to disk, or the trainee's fit ends early.
        """
        if not self.stopping.reason:
            try:
                self._fit(self._trainee, import_ahead)
            except OSError as error:
                failure = f"epoch {self.stopped_epoch + 1} cannot be written to {self.folder} ({one_line(error)})"
                raise RunFailed(f"{failure}; free or mend the disk, then resume") from error
            finally:
                self.journal.close()
        self.signals.check()
        self.reason = self.stopping.reason or self.reason
        if not self.stopping.reason:
            raise RunFailed(f"the trainee's fit ended early, after epoch {self.stopped_epoch}; nothing is registered")

    def require_checkpoint(self) -> None:
        """Require that the training has ended with a checkpoint to register.

        Raises:
            RunFailed: if a loss is not finite, or no epoch has a finite monitor.
        """
        if self.reason != NOT_A_NUMBER and not self.best_epoch:
            raise RunFailed(f"no epoch has a finite {self.parameters.monitor}; nothing is registered")
        if self.reason == NOT_A_NUMBER:
            advice = self.experiment.advice.format(**self.parameters.as_strings())
            problem = "; ".join(filter(None, ["a loss is not a finite number", advice, "nothing is registered"]))
            raise RunFailed(f"epoch {self.stopped_epoch}: {problem}")

    def _fit(self, trainee: Trainee, import_ahead: Sequence[str]) -> None:
        self.checkpoint.write = trainee.save
        progress, interruption = EpochProgress(), InterruptionPoint(self.signals)
        rules = [self.stopping, self.checkpoint, self.rates]
        after = [CutReport(self.rates, self.stopping), interruption, progress, ImportAhead(import_ahead)]
        callbacks = [HistoryCheck(self.recorder), *rules, self.recorder, *after]
        with self.signals.hold(), progress:
            trainee.fit(callbacks, self.stopped_epoch, self.parameters.epochs)

    def _make_snapshot(self, epoch: int, trainee: Trainee) -> Snapshot:
        """Collect the state that later epochs depend on."""
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
        """The last recorded epoch, 0 before the first."""
        return self.recorder.epoch

    @property
    def best_epoch(self) -> int:
        """The best epoch, 0 before the first checkpoint."""
        return self.recorder.best_epoch

    @property
    def checkpoint_path(self) -> Path:
        """The best epoch's checkpoint."""
        return self.folder / checkpoint_name(self.best_epoch)

    @property
    def entries(self) -> list[Entry]:
        """All recorded epochs."""
        return [entry for entry in self.journal.entries() if entry.epoch <= self.stopped_epoch]

    @property
    def best(self) -> dict[str, float]:
        """All metrics of the best epoch, empty before the first checkpoint."""
        return self.recorder.best


def _restore_trainee(trainee: Trainee, snapshot: Snapshot) -> None:
    try:
        trainee.restore(snapshot.arrays)
    except ValueError as error:  # the file is intact, so an earlier snapshot would not fit either
        raise HistoryError(f"the snapshot of epoch {snapshot.epoch} does not fit ({error})") from None
