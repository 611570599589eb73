"""Tell from recorded trainings what other early-stopping rules would have made of them, without training again."""

from collections.abc import Sequence

from tracked.console import verb_parameters
from tracked.console.lines import format_count, say
from tracked.console.parameters import refusal
from tracked.console.signals import Signals
from tracked.experiment import Experiment, require


def main(experiment: Experiment, argv: Sequence[str], signals: Signals) -> None:
    """Parameters, histories, the grid of rules, report. What is slow to import comes after the parameters' check."""
    require(experiment)
    parameters = verb_parameters.ReplayParameters.parse(argv)

    from tracked.analysis import rule_replay
    from tracked.reports import replay_report
    from tracked.runs import connection, context, metric_history, queries, run_start

    connection.require_answers()
    run_start.require_own_run(experiment, "replay")
    several = parameters.run == "all" or (parameters.run == "auto" and parameters.experiment != "auto")
    if parameters.run in ("auto", "all"):
        found = queries.find_trainings(experiment, parameters.experiment, parameters.monitor)
        ended = found.finished
        say(f"experiment {found.experiment.name!r}: {len(ended):,} finished trainings of {len(found.runs):,}")
        chosen = ended if several else ended[:1]
    else:
        found = queries.read_runs(experiment, [parameters.run], "run")
        chosen = found.runs
        if parameters.experiment not in ("auto", found.experiment.name):
            raise refusal("experiment", parameters.experiment, f"that of run {parameters.run}: {found.experiment.name}")
        if (how := queries.status_of(chosen[0])) != "finished":
            say(f"run {parameters.run} has not finished ({how}): what it has recorded so far is replayed")

    declared = {metric.name: metric.better for metric in experiment.metrics}
    read = metric_history.read_all(
        chosen, parameters.monitor, parameters.mode, say, all_of_them=not several, declared=declared
    )
    patience, min_delta = metric_history.choose_grid(read, parameters.patiences, parameters.min_deltas)
    table = rule_replay.replay(read, patience, min_delta)
    experiment_id = found.experiment.experiment_id
    name = (
        f"replay {format_count(len(read), 'training')}" if several else f"replay {read[0].run_name or read[0].run_id}"
    )
    with context.run(experiment, "replay", name, parameters.as_strings(), signals, experiment_id) as run:
        if several:
            data = {one.info.run_id: queries.name_data(one) for one in chosen}
            unlike = queries.describe_other_data([data[history.run_id] for history in read])
            say(replay_report.log_pooled(run, experiment_id, read, table, parameters.tolerance, unlike))
        else:
            say(replay_report.log_one(run, experiment_id, read[0], table))
        say(f"run {run.id} {name!r} in experiment {found.experiment.name!r}")
