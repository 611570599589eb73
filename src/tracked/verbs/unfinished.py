"""List the trainings of an experiment that did not come to their end, and close dead ones."""

from collections.abc import Sequence

from tracked.console import verb_parameters
from tracked.console.lines import say
from tracked.console.signals import Signals
from tracked.experiment import Experiment, require


def main(experiment: Experiment, argv: Sequence[str], signals: Signals) -> None:
    """List, and close what is asked for. No run is made; the one that ``mlflow run`` makes is named for what it is."""
    require(experiment)
    parameters = verb_parameters.UnfinishedParameters.parse(argv)

    from tracked.resume import close, training_status
    from tracked.runs import connection, queries

    connection.require_answers()
    close.name_own_run(experiment)
    where = queries.find_experiment(parameters.experiment)
    found = training_status.find_unfinished(experiment, where.experiment_id)
    chosen = close.select(found, parameters.close)
    say(close.format_table(found) if found else f"no training in the experiment {where.name} is unfinished")
    with signals.hold():
        for stand in chosen:
            say(close.close_run(experiment, stand))
    signals.check()
