"""Trainings of either experiment in the test's process, with one interface."""

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
        name: the experiment's name.
        flags: flags of every training; with ``resuming.ARGUMENTS`` a training stops after a few epochs.
        checks: checks for signals in an epoch.
        uninterrupted: the metrics of an uninterrupted training with ``resuming.ARGUMENTS``, by name and step.
    """

    name: str
    flags: Sequence[str]
    checks: int
    uninterrupted: dict[str, dict[int, float]]

    def train(self, *arguments: str, signals: Signals | None = None) -> None:
        """Run a training; without arguments, the one whose metrics are ``uninterrupted``."""
        self._call([*self.flags, *(arguments or resuming.ARGUMENTS)], signals)

    def resume(self, *arguments: str, signals: Signals | None = None) -> None:
        """Resume a training."""
        self._call(arguments, signals)

    def _call(self, arguments: Sequence[str], signals: Signals | None) -> None:
        Verb("train", SUBJECTS[self.name].experiment()).main(arguments, signals or Signals())

    def assert_same_run(self, run: Run) -> None:
        """Assert that a run equals the uninterrupted one and that its folder is gone."""
        resuming.assert_same_run(run, self.uninterrupted)
        assert not resuming.folder(run, self.name).exists()
