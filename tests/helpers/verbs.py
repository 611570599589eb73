"""The verbs as the scripts run them, in the test's own process: of the IMDB experiment, or of another one."""

import importlib
from collections.abc import Sequence

from imdb_conv1d.experiment import EXPERIMENT
from tracked.console.signals import Signals
from tracked.experiment import Experiment


class Verb:
    """A verb of an experiment, called as its script calls it."""

    def __init__(self, name: str, experiment: Experiment = EXPERIMENT) -> None:
        self.experiment = experiment
        self._main = importlib.import_module(f"tracked.verbs.{name}").main

    def main(self, argv: Sequence[str], signals: Signals) -> int | None:
        return self._main(self.experiment, argv, signals)


train, evaluate, replay, compare, promote, rollback, unfinished = map(
    Verb, ("train", "evaluate", "replay", "compare", "promote", "rollback", "unfinished")
)
