"""Replay other early-stopping rules on recorded trainings, without training again."""

from collections.abc import Sequence

from tracked.console import verb_parameters
from tracked.console.lines import format_count, say
from tracked.console.parameters import refusal
from tracked.console.signals import Signals
from tracked.experiment import Experiment, require


def main(experiment: Experiment, argv: Sequence[str], signals: Signals) -> None:
    """Check the parameters; only then import what is slow: read histories, replay the grid of rules, log the report."""
    require(experiment)
    parameters = verb_parameters.ReplayParameters.parse(argv)

    from tracked.analysis import rule_replay
    from tracked.reports import pruning_report, replay_report
    from tracked.runs import connection, context, metric_history, queries, rights, run_start

    connection.require_answers()
    own = run_start.require_own_run(experiment, "replay")
    several = parameters.run == "all" or (parameters.run == "auto" and parameters.experiment != "auto")
    if parameters.pruning_rules and not several:
        raise refusal("rules", parameters.rules, "none for one training; rules compare all trainings of an experiment")
    if parameters.run in ("auto", "all"):
        trainings = queries.find_trainings(experiment, parameters.experiment, parameters.monitor)
        finished = trainings.finished
        count = f"{len(finished):,} of {len(trainings.runs):,}"
        given_up = f"; left out: {len(pruned):,} given up (pruned)" if (pruned := trainings.pruned) else ""
        say(f"experiment {trainings.experiment.name!r}: {count} trainings have finished{given_up}")
        chosen = finished if several else finished[:1]
    else:
        trainings = queries.read_runs(experiment, [parameters.run], "run")
        chosen = trainings.runs
        if parameters.experiment not in ("auto", trainings.experiment.name):
            raise refusal(
                "experiment", parameters.experiment, f"that of run {parameters.run}: {trainings.experiment.name}"
            )
        if (status := queries.status_of(chosen[0])) != "finished":
            say(f"run {parameters.run} is unfinished ({status}): its epochs so far are replayed")

    place = rights.choose_place(trainings.experiment, own)
    declared = {metric.name: metric.better for metric in experiment.metrics}
    histories = metric_history.read_all(
        chosen, parameters.monitor, parameters.mode, say, all_of_them=not several, declared=declared
    )
    patience, min_delta = metric_history.choose_grid(histories, parameters.patiences, parameters.min_deltas)
    table = rule_replay.replay(histories, patience, min_delta)
    experiment_id = trainings.experiment.experiment_id  # of the trainings that the report links to
    name = (
        f"replay {format_count(len(histories), 'training')}"
        if several
        else f"replay {histories[0].run_name or histories[0].run_id}"
    )
    with context.run(experiment, "replay", name, parameters.as_strings(), signals, place.id) as run:
        if several:
            data = {run.info.run_id: queries.name_data(run) for run in chosen}
            differences = queries.describe_other_data([data[history.run_id] for history in histories])
            more = pruning_report.log(run, histories[::-1], parameters.pruning_rules)  # from the oldest on
            say(replay_report.log_pooled(run, experiment_id, histories, table, parameters.tolerance, differences, more))
        else:
            say(replay_report.log_one(run, experiment_id, histories[0], table))
        say(f"run {run.id} {name!r} in experiment {place.name!r}")
