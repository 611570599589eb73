"""The command line of an experiment: one script for each verb, or one for all."""

import importlib
import re
from collections.abc import Mapping, Sequence

from tracked.console import entry
from tracked.console.errors import UserError
from tracked.console.lines import say
from tracked.console.signals import Signals
from tracked.experiment import Experiment, require

VERBS = (
    "train",
    "find_rate",
    "search",
    "evaluate",
    "predict",
    "serve",
    "replay",
    "compare",
    "promote",
    "rollback",
    "unfinished",
    "tidy",
)


def run(experiment: Experiment, verb: str = "") -> None:
    """Run a verb on the command line's arguments, and exit with its exit status.

    Args:
        verb: one of ``VERBS``, or one of the experiment's own; by default the first argument.
    """

    def main(argv: Sequence[str], signals: Signals) -> int | None:
        require(experiment)
        modules = find_modules(experiment)
        name, rest = (verb, argv) if verb else ("".join(argv[:1]), argv[1:])
        if name in ("-h", "--help"):
            say(f"verbs of {experiment.name}: {', '.join(modules)}; each has --help")
            return 0
        if name not in modules:
            raise UserError(f"verb: {name!r} is not allowed; allowed: {', '.join(modules)}")
        status: int | None = importlib.import_module(modules[name]).main(experiment, rest, signals)
        return status

    entry.run(main)


def find_modules(experiment: Experiment) -> Mapping[str, str]:
    """Find the module of each verb: those of every experiment, then the experiment's own.

    Raises:
        UserError: if an own verb has an invalid name, or the name of a verb of every experiment.
    """
    for verb in experiment.own_verbs:
        if not re.fullmatch("[a-z]+", verb) or verb in VERBS:
            allowed = f"lowercase letters, and no verb of every experiment ({', '.join(VERBS)})"
            raise UserError(f"experiment {experiment.name!r}: own_verbs has {verb!r}; allowed: {allowed}")
    return {verb: f"tracked.verbs.{verb}" for verb in VERBS} | dict(experiment.own_verbs)
