"""Run verbs as the scripts do, in the test's process, for the IMDB experiment or another."""

import importlib
from collections.abc import Sequence
from contextlib import ExitStack

from helpers.reuse import plain_pictures, shared_networks, shared_trainees
from imdb_conv1d.experiment import EXPERIMENT
from tracked.console.signals import Signals
from tracked.experiment import Experiment


class Verb:
    """A verb of an experiment."""

    def __init__(self, name: str, experiment: Experiment = EXPERIMENT) -> None:
        self.name, self.experiment = name, experiment
        self._main = importlib.import_module(experiment.own_verbs.get(name, f"tracked.verbs.{name}")).main

    def main(self, argv: Sequence[str], signals: Signals) -> int | None:
        with ExitStack() as stack:
            if self.name in ("train", "find_rate"):
                stack.enter_context(shared_networks())
                stack.enter_context(shared_trainees(self.experiment))
            stack.enter_context(plain_pictures())
            return self._main(self.experiment, argv, signals)


train, find_rate, evaluate, replay, compare, promote, rollback, unfinished, tidy, explain = map(
    Verb,
    ("train", "find_rate", "evaluate", "replay", "compare", "promote", "rollback", "unfinished", "tidy", "explain"),
)
