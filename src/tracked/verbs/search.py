"""Search for better parameters: trials in workers, the winner confirmed by new seeds, one version registered."""

from collections.abc import Sequence

from tracked.console.lines import say
from tracked.console.search_parameters import make_search_parameters
from tracked.console.signals import Signals
from tracked.experiment import TRAIN_METHODS, Experiment, require


def main(experiment: Experiment, argv: Sequence[str], signals: Signals) -> None:
    """Check the parameters; only then import what is slow: start or resume, run the trials, confirm, register."""
    require(experiment, TRAIN_METHODS)
    command = make_search_parameters(experiment).parse(argv)

    from tracked.runs import connection
    from tracked.search.tracked_search import start_or_resume

    connection.require_answers()
    connection.require_model_store()
    with start_or_resume(experiment, command, signals) as search:
        if search is None:
            return  # its version was already registered
        from tracked.search import winner

        search.run_trials()
        version = winner.register(search, winner.confirm_best(search))
    say(f"registered {version}, alias candidate")
