"""List the unfinished trainings and searches of an experiment, and close dead ones."""

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
    from tracked.resume.training_status import ResumableRun
    from tracked.runs import connection, queries, rights
    from tracked.search import search_status
    from tracked.search.search_status import UnfinishedSearch

    connection.require_answers()
    close.name_own_run(experiment)
    owner = queries.find_experiment(parameters.experiment)
    runs = queries.search("reading the runs", [owner.experiment_id])
    trainings = training_status.find_unfinished(experiment, owner.experiment_id, runs)
    searches = search_status.find_unfinished(experiment, owner.experiment_id, runs)
    closing = search_status.select(searches, parameters.close)
    of_live = search_status.find_live(searches, trainings, parameters.close)
    # A search goes with its trainings: without it, nothing would resume them.
    own = {one.id: [run for run in trainings if search_status.belongs_to(run.run, one)] for one in closing}
    of_closing = {run.id for runs in own.values() for run in runs}
    chosen = [] if parameters.close in own else close.select(trainings, parameters.close)
    chosen = [training for training in chosen if training.id not in of_live | of_closing]
    listed: list[UnfinishedSearch | ResumableRun] = [*searches, *trainings]
    say("\n".join(line for one in listed for line in one.lines) or f"no unfinished training in experiment {owner.name}")
    to_close = [*(one.run for one in chosen), *(one.run for one in closing)]
    if to_close:  # all are in one MLflow experiment
        rights.require_run(to_close[0], "close")
    with signals.hold():
        for training in chosen:
            say(close.close_run(experiment, training))
        for search in closing:
            for line in search_status.close(experiment, search, own[search.id]):
                say(line)
    signals.check()
