"""One training under early stopping: its callbacks, the fit, what came out, and where it goes on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from imdb_conv1d.batches import training_batches, validation_batches
from imdb_conv1d.networks import Network
from imdb_conv1d.parameters import TrainParameters
from tracked.analysis.early_stopping import NOT_A_NUMBER, Rule
from tracked.console.errors import RunFailed
from tracked.console.lines import one_line, warn
from tracked.console.signals import Signals
from tracked.training import reproducibility
from tracked.training.callbacks import BestCheckpoint, EarlyStopping, EpochNumber, InterruptionPoint
from tracked.training.epoch_recorder import Deliver, EpochRecord, SameHistory
from tracked.training.journal import Entry, HistoryError, Journal
from tracked.training.snapshots import Snapshot, Snapshots, file_of, files

Part = tuple[np.ndarray, np.ndarray]  # ids int [n, maxlen] and labels [n]


class Training:
    """Trains a network until the rule stops it, and knows at any moment what has come out so far.

    Args:
        folder: where the journal, the checkpoints and the snapshots are written.
        deliver: gets every epoch's step, time in milliseconds and metrics.
        signals: end the training between two calls of TensorFlow, each of a few batches.
        facts: what equal bits depend on, by name; a snapshot that was made under others is told so.
        logged: what the tracking store has already, by epoch.
        former: the facts that these epochs were trained under, as far as the store knows them.
    """

    def __init__(
        self,
        parameters: TrainParameters,
        folder: Path,
        deliver: Deliver,
        signals: Signals,
        facts: Mapping[str, str] | None = None,
        logged: Mapping[int, Entry] | None = None,
        former: dict[str, str] | None = None,
    ) -> None:
        self.parameters, self.signals, self.folder, self.facts = parameters, signals, folder, dict(facts or {})
        self.former = former or {}
        self.rule = Rule(parameters.direction, parameters.patience, parameters.min_delta)
        self.snapshots = Snapshots(folder, lambda facts: files(facts["checkpoint"]))
        self.journal = Journal(folder / "journal.jsonl")
        self.stopping = EarlyStopping(self.rule, parameters.monitor, parameters.epochs)
        self.checkpoint = BestCheckpoint(folder, parameters.monitor, parameters.direction)
        self.record = EpochRecord(self.journal, self.stopping, self.checkpoint, self._keep, deliver, logged or {})
        self.network: Network | None = None  # once it is where it was
        self.reason = "error"  # until something else is known

    def restore(self, network: Network) -> int:
        """Go back to the newest usable snapshot in the folder; returns its epoch, 0 if there is none.

        Raises:
            RunFailed: if its history goes on after what the parameters allow.
            HistoryError: if it was trained on other data, or its epochs are not those that the tracking store has.
            OSError: if the folder cannot be read just now.
        """
        entries: list[Entry] = []

        def use(snapshot: Snapshot) -> None:
            self._require_same_data(snapshot)
            entries[:] = self.journal.restore(snapshot.facts["journal"])
            self.checkpoint.restore(snapshot.facts["checkpoint"])
            reproducibility.restore_random_states(snapshot.facts["random"])
            network.restore(snapshot.arrays)

        beginning = self._snapshot(0, network)
        snapshot = self.snapshots.newest(use)
        if snapshot is None:
            use(beginning)  # one that could not be used may have been put back in part
            self._tell_changes(self.former)
            self.network = network
            return 0
        self._tell_changes(snapshot.facts["facts"] | self.former)
        try:
            self.stopping.restore(entry.values for entry in entries)
        except ValueError as error:
            raise RunFailed(f"the history goes on after what its patience allows ({error})") from None
        self.record.restore(entries)
        self.network = network
        return snapshot.epoch

    def _require_same_data(self, snapshot: Snapshot) -> None:
        """The second line of defence: data are compared before the run goes on."""
        best, now = snapshot.facts["checkpoint"], self.facts.get("data", "")
        before = snapshot.facts["facts"].get("data", "")
        if before != now:
            changed = f"(digest {before[:12]} -> {now[:12]})"
            raise HistoryError(f"epoch {snapshot.epoch} was trained on other data {changed}")
        if best["data"] != now:  # an earlier version went on with changed data
            changed = f"(digest {best['data'][:12]} -> {now[:12]})"
            raise HistoryError(f"epoch {best['epoch']}, the best one, was chosen on other data {changed}")

    def _tell_changes(self, before: Mapping[str, str]) -> None:
        for name, value in before.items():
            if (now := self.facts.get(name)) != value:
                warn(f"{name} is {now!r}, and was {value!r} before: equal bits are not promised from here on")
                self.record.changed.append(f"{name} {value!r} -> {now!r}")

    def fit(self, network: Network, train: Part, validation: Part) -> None:
        """Train the network to the end, from where :meth:`restore` has put it, and keep every epoch.

        Raises:
            Interrupted: after the batches in which a signal came.
            RunFailed: if a loss is no longer a finite number, or an epoch cannot be written to the disk.
        """
        self.network = network
        if not self.stopping.reason:
            try:
                self._fit(network, train, validation)
            except OSError as error:
                what = f"epoch {self.stopped_epoch + 1} cannot be kept in {self.folder}"
                raise RunFailed(f"{what} ({one_line(error)})") from error
            finally:
                self.journal.close()
        self.signals.check()
        self.reason = self.stopping.reason
        if self.reason == NOT_A_NUMBER:
            raise RunFailed(
                f"epoch {self.stopped_epoch}: a loss is not a finite number; a smaller learning_rate than "
                f"{self.parameters.learning_rate} may help; nothing is registered"
            )

    def _fit(self, network: Network, train: Part, validation: Part) -> None:
        parameters = self.parameters
        self.checkpoint.write = network.save
        with tf.device("CPU"):  # where the batches are made
            number = tf.Variable(0, dtype=tf.int64)
        batches = training_batches(*train, parameters.batch_size, parameters.kernel_size, parameters.seed, number)
        with self.signals.held():
            network.trained.fit(
                batches,
                initial_epoch=self.stopped_epoch,
                epochs=parameters.epochs,
                validation_data=validation_batches(*validation, parameters.kernel_size),
                shuffle=False,  # the batches are shuffled already
                verbose=0,
                callbacks=[
                    EpochNumber(number),
                    SameHistory(self.record),
                    self.stopping,
                    self.checkpoint,
                    self.record,
                    InterruptionPoint(self.signals),
                ],
            )

    def _snapshot(self, epoch: int, network: Network) -> Snapshot:
        """All that the epochs to come depend on."""
        facts: dict[str, Any] = {
            "journal": self.journal.mark,
            "checkpoint": self.checkpoint.facts | {"data": self.facts.get("data", "")},
            "random": reproducibility.random_states(),
            "facts": self.facts,
        }
        return Snapshot(epoch, facts, network.state())

    def _keep(self, epoch: int) -> None:
        assert self.network is not None
        self.snapshots.write(self._snapshot(epoch, self.network))

    @property
    def stopped_epoch(self) -> int:
        """The last epoch that is kept, 0 before the first is complete."""
        return self.record.epoch

    @property
    def best_epoch(self) -> int:
        """The best epoch, 0 as long as there is none."""
        return self.record.best_epoch

    @property
    def checkpoint_path(self) -> Path:
        """The best epoch's network."""
        return self.folder / file_of(self.best_epoch)

    @property
    def entries(self) -> list[Entry]:
        """All epochs that are kept."""
        return [entry for entry in self.journal.entries() if entry.epoch <= self.stopped_epoch]

    @property
    def best(self) -> dict[str, float]:
        """All metrics of the best epoch, empty as long as there is none."""
        return self.record.best
