"""List the unfinished trainings of an experiment, and close dead ones."""

from collections.abc import Sequence

from tracked.console import verb_parameters
from tracked.console.lines import say
from tracked.console.signals import Signals
from tracked.experiment import Experiment, require


def main(experiment: Experiment, argv: Sequence[str], signals: Signals) -> None:
    """List, and close the chosen ones. Creates no run; renames and tags the run that ``mlflow run`` created."""
    require(experiment)
    parameters = verb_parameters.UnfinishedParameters.parse(argv)

    from tracked.resume import close, training_status
    from tracked.runs import connection, queries

    connection.require_answers()
    close.name_own_run(experiment)
    owner = queries.find_experiment(parameters.experiment)
    trainings = training_status.find_unfinished(experiment, owner.experiment_id)
    chosen = close.select(trainings, parameters.close)
    say(close.format_table(trainings) if trainings else f"no unfinished training in experiment {owner.name}")
    with signals.hold():
        for training in chosen:
            say(close.close_run(experiment, training))
    signals.check()
