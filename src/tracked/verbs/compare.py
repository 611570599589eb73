"""Compare the trainings of an experiment, and test whether their test figures differ."""

from collections import Counter
from collections.abc import Sequence

from tracked.console import verb_parameters
from tracked.console.lines import format_count, say
from tracked.console.parameters import refusal
from tracked.console.signals import Signals
from tracked.experiment import Experiment, require


def main(experiment: Experiment, argv: Sequence[str], signals: Signals) -> None:
    """Check the parameters; only then import what is slow: find runs, histories and evaluations, and log the report."""
    require(experiment)
    parameters = verb_parameters.CompareParameters.parse(argv)

    from tracked.reports import comparison_report, comparison_table
    from tracked.runs import connection, context, evaluations, metric_history, queries, rights, run_start, versions

    connection.require_answers()
    own = run_start.require_own_run(experiment, "compare")
    if parameters.runs == "all":
        trainings = queries.find_trainings(experiment, parameters.experiment, parameters.monitor)
    else:
        trainings = queries.read_runs(experiment, [run_id.strip() for run_id in parameters.runs.split(",")], "runs")
        if parameters.experiment not in ("auto", trainings.experiment.name):
            raise refusal("experiment", parameters.experiment, f"that of these runs: {trainings.experiment.name}")
        others = [
            run.info.run_id for run in trainings.runs if not queries.is_training(experiment, run, parameters.monitor)
        ]
        if others:
            raise refusal("runs", others[0], "trainings that have logged the metric")
    place = rights.choose_place(trainings.experiment, own)
    finished, unfinished = trainings.finished, [run for run in trainings.runs if queries.status_of(run) != "finished"]

    monitor = parameters.monitor
    if monitor == "auto":
        monitor = Counter(map(queries.resolve_monitor, finished)).most_common(1)[0][0]
    declared = {metric.name: metric.better for metric in experiment.metrics}
    histories = metric_history.read_all(
        finished, monitor, parameters.mode, say, all_of_them=parameters.runs != "all", declared=declared
    )
    by_id = {history.run_id: history for history in histories}
    registered = versions.find_versions_by_run([run.info.run_id for run in finished])
    models = {run_id: versions.model_ids(ones) for run_id, ones in registered.items()}
    evaluated = evaluations.find_for_trainings(experiment, models, trainings.experiment.experiment_id)
    names = {run.info.run_id: versions.name_versions(run, registered[run.info.run_id]) for run in finished}
    table = comparison_table.rank_trainings(experiment, finished, by_id, evaluated, names)
    owner, name = trainings.experiment, f"compare {format_count(len(finished), 'training')}"
    with context.run(experiment, "compare", name, parameters.as_strings(), signals, place.id) as run:
        say(comparison_report.log_report(run, experiment, owner.name, table, unfinished, by_id, evaluated))
        say(f"run {run.id} {name!r} in experiment {place.name!r}")
