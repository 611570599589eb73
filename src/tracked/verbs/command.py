"""The command line of an experiment: one script for each verb, or one for all."""

import importlib
from collections.abc import Sequence

from tracked.console import entry
from tracked.console.errors import UserError
from tracked.console.lines import say
from tracked.console.signals import Signals
from tracked.experiment import Experiment, require

VERBS = ("train", "evaluate", "replay", "compare", "promote", "rollback", "unfinished")


def run(experiment: Experiment, verb: str = "") -> None:
    """Run a verb on the command line's arguments, and exit with its exit status.

    Args:
        verb: one of ``VERBS``; by default the first argument.
    """

    def main(argv: Sequence[str], signals: Signals) -> int | None:
        require(experiment)
        name, rest = (verb, argv) if verb else ("".join(argv[:1]), argv[1:])
        if name in ("-h", "--help"):
            say(f"verbs of {experiment.name}: {', '.join(VERBS)}; each has --help")
            return 0
        if name not in VERBS:
            raise UserError(f"verb: {name!r} is not allowed; allowed: {', '.join(VERBS)}")
        status: int | None = importlib.import_module(f"tracked.verbs.{name}").main(experiment, rest, signals)
        return status

    entry.run(main)
