"""List what is in nobody's way, and remove it if asked."""

from collections.abc import Sequence

from tracked.console.lines import say
from tracked.console.signals import Signals
from tracked.console.tidy_parameters import TidyParameters
from tracked.experiment import Experiment, require


def main(experiment: Experiment, argv: Sequence[str], signals: Signals) -> None:
    """Check the parameters; only then import what is slow: find what may go, and remove it in a run that has the list.

    Without ``yes`` nothing changes, and no run is created; one that ``mlflow run`` has created is named.
    """
    require(experiment)
    parameters = TidyParameters.parse(argv)

    from tracked.runs import connection, queries, rights, run_start
    from tracked.tidy import plan, report, tracked_tidy

    connection.require_answers()
    own = run_start.require_own_run(experiment, "tidy")
    places = queries.find_experiments(parameters.experiment)
    target = None
    if parameters.yes:
        target = rights.choose_place(places[0], own).id if len(places) == 1 else rights.require_run(own).id
    names = {str(place.experiment_id): str(place.name) for place in places}
    roots = {str(place.experiment_id): str(place.artifact_location) for place in places}
    with tracked_tidy.lock(experiment):
        found = plan.make(experiment, parameters, names, roots)
        tracked_tidy.tell(found, parameters)
        things = tracked_tidy.choose(found, parameters)
        if not parameters.yes:
            if own:
                run_start.name_run(experiment, own, "tidy")
            advice = ["nothing was removed; to remove it: --yes true"] if things else []
            say("\n".join([*report.summarize(things, "may go"), *advice]))
            return
        tracked_tidy.carry_out(experiment, parameters, found, things, target, signals)
