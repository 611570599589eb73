"""Trainings of either experiment in the test's own process, which the tests of the machinery call alike."""

from collections.abc import Sequence
from dataclasses import dataclass

from mlflow.entities import Run

from helpers import resuming
from helpers.subjects import SUBJECTS
from helpers.verbs import Verb
from tracked.console.signals import Signals


@dataclass(frozen=True)
class Trainings:
    """An experiment's trainings on little data.

    Args:
        name: the experiment's.
        flags: of every training. With ``resuming.ARGUMENTS`` beside them, the rule stops it after a few epochs.
        looks: how often an epoch looks whether a signal has come.
        uninterrupted: the metrics of a training that nothing interrupted, with ``resuming.ARGUMENTS``; by name and
            step.
    """

    name: str
    flags: Sequence[str]
    looks: int
    uninterrupted: dict[str, dict[int, float]]

    def train(self, *arguments: str, signals: Signals | None = None) -> None:
        """Begin a training; without arguments, the one that ``uninterrupted`` is of."""
        self._call([*self.flags, *(arguments or resuming.ARGUMENTS)], signals)

    def resume(self, *arguments: str, signals: Signals | None = None) -> None:
        """Go on with a training."""
        self._call(arguments, signals)

    def _call(self, arguments: Sequence[str], signals: Signals | None) -> None:
        Verb("train", SUBJECTS[self.name].experiment()).main(arguments, signals or Signals())

    def assert_same_run(self, run: Run) -> None:
        """Assert that a run has come to what the uninterrupted one came to, and that nothing is left of it."""
        resuming.assert_same_run(run, self.uninterrupted)
        assert not resuming.folder(run, self.name).exists()
