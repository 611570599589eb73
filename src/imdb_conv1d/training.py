"""One training under early stopping: its callbacks, the fit, and what came out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from imdb_conv1d.batches import training_batches, validation_batches
from imdb_conv1d.callbacks import BestCheckpoint, EarlyStopping, EpochNumber, InterruptionPoint
from imdb_conv1d.config import TrainParameters
from imdb_conv1d.console import RunFailed, Signals
from imdb_conv1d.epoch_record import EpochEnd, EpochRecord
from imdb_conv1d.model import Network
from imdb_conv1d.stopping import Rule

Part = tuple[np.ndarray, np.ndarray]  # ids int [n, maxlen] and labels [n]


class Training:
    """Trains a network until the rule stops it, and knows at any moment what has come out so far.

    Args:
        folder: where history.csv, early_stopping.csv and best.keras are written.
        deliver: gets every epoch's step, time in milliseconds and metrics.
        signals: end the training between two calls of TensorFlow, each of a few batches.
    """

    def __init__(
        self,
        parameters: TrainParameters,
        folder: Path,
        deliver: Callable[[int, int, dict[str, float]], None],
        signals: Signals,
    ) -> None:
        rule = Rule(parameters.direction, parameters.patience, parameters.min_delta)
        self.parameters, self.signals = parameters, signals
        self.stopping = EarlyStopping(rule, parameters.monitor, parameters.epochs)
        self.checkpoint = BestCheckpoint(folder / "best.keras", parameters.monitor, parameters.direction)
        self.record = EpochRecord(folder, self.stopping, self.checkpoint, deliver)
        self.reason = "error"  # until something else is known

    def fit(self, network: Network, train: Part, validation: Part) -> None:
        """Train the network to the end, and save it at each best epoch.

        Raises:
            Interrupted: after the batches in which a signal came.
            RunFailed: if a loss is no longer a finite number.
        """
        parameters = self.parameters
        self.checkpoint.write = network.save
        with tf.device("CPU"):  # where the batches are made
            number = tf.Variable(0, dtype=tf.int64)
        batches = training_batches(*train, parameters.batch_size, parameters.kernel_size, parameters.seed, number)
        with self.signals.held():
            network.trained.fit(
                batches,
                epochs=parameters.epochs,
                validation_data=validation_batches(*validation, parameters.kernel_size),
                shuffle=False,  # the batches are shuffled already
                verbose=0,
                callbacks=[
                    EpochNumber(number),
                    self.stopping,
                    EpochEnd(self.checkpoint, self.record),
                    InterruptionPoint(self.signals),
                ],
            )
        self.signals.check()
        self.reason = self.stopping.reason
        if self.reason == "not_a_number":
            raise RunFailed(
                f"epoch {self.stopped_epoch}: a loss is not a finite number; a smaller learning_rate than "
                f"{self.parameters.learning_rate} may help; nothing is registered"
            )

    @property
    def stopped_epoch(self) -> int:
        """The last epoch trained, 0 before the first is complete."""
        return self.stopping.state.epoch

    @property
    def best_epoch(self) -> int:
        """The checkpoint's epoch, 0 as long as there is none."""
        return self.checkpoint.best_epoch

    @property
    def best(self) -> dict[str, float]:
        """All metrics of the best epoch, empty as long as there is none."""
        return self.record.best
