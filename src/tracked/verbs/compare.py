"""Put the trainings of an experiment side by side, and tell whether their test figures really differ."""

from collections import Counter
from collections.abc import Sequence

from tracked.console import verb_parameters
from tracked.console.lines import format_count, say
from tracked.console.parameters import refusal
from tracked.console.signals import Signals
from tracked.experiment import Experiment, require


def main(experiment: Experiment, argv: Sequence[str], signals: Signals) -> None:
    """Parameters, runs, histories, evaluations, report. What is slow to import comes after the parameters' check."""
    require(experiment)
    parameters = verb_parameters.CompareParameters.parse(argv)

    from tracked.reports import comparison_report, comparison_table
    from tracked.runs import connection, context, evaluations, metric_history, queries, run_start, versions

    connection.require_answers()
    run_start.require_own_run(experiment, "compare")
    if parameters.runs == "all":
        found = queries.find_trainings(experiment, parameters.experiment, parameters.monitor)
    else:
        found = queries.read_runs(experiment, [run_id.strip() for run_id in parameters.runs.split(",")], "runs")
        if parameters.experiment not in ("auto", found.experiment.name):
            raise refusal("experiment", parameters.experiment, f"that of these runs: {found.experiment.name}")
        others = [one.info.run_id for one in found.runs if not queries.is_training(experiment, one, parameters.monitor)]
        if others:
            raise refusal("runs", others[0], "trainings that have recorded the metric")
    ended, unfinished = found.finished, [run for run in found.runs if queries.status_of(run) != "finished"]

    monitor = parameters.monitor
    if monitor == "auto":
        monitor = Counter(map(queries.resolve_monitor, ended)).most_common(1)[0][0]
    declared = {metric.name: metric.better for metric in experiment.metrics}
    read = metric_history.read_all(
        ended, monitor, parameters.mode, say, all_of_them=parameters.runs != "all", declared=declared
    )
    by_id = {history.run_id: history for history in read}
    registered = versions.find_versions_by_run([run.info.run_id for run in ended])
    models = {run_id: versions.model_ids(some) for run_id, some in registered.items()}
    evaluated = evaluations.find_for_trainings(experiment, models)
    names = {run.info.run_id: versions.name_versions(run, registered[run.info.run_id]) for run in ended}
    table = comparison_table.rank_trainings(experiment, ended, by_id, evaluated, names)
    where, name = found.experiment, f"compare {format_count(len(ended), 'training')}"
    with context.run(experiment, "compare", name, parameters.as_strings(), signals, where.experiment_id) as run:
        say(comparison_report.log_report(run, experiment, where.name, table, unfinished, by_id, evaluated))
        say(f"run {run.id} {name!r} in experiment {where.name!r}")
