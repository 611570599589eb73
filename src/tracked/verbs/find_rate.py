"""Suggest a learning rate by a range test: a few hundred steps at growing rates; nothing is registered."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tracked.console import find_rate_parameters
from tracked.console.errors import RunFailed, UserError
from tracked.console.lines import say
from tracked.console.signals import Signals
from tracked.experiment import Experiment, SweepingTrainee, require


def main(experiment: Experiment, argv: Sequence[str], signals: Signals) -> None:
    """Check the parameters; only then import what is slow: build a trainee, measure its losses, suggest, log."""
    require(experiment, ("load", "build"))
    parameters = find_rate_parameters.make_find_rate_parameters(experiment).parse(argv)

    from tracked.analysis.rate_range import suggest
    from tracked.reports import rate_report
    from tracked.resume.tracked_training import load_data
    from tracked.runs import connection, context, rights, run_start
    from tracked.runs.schema import SUGGESTED_RATE
    from tracked.runs.writer import escape_markdown
    from tracked.training import range_test, reproducibility

    connection.require_answers()
    rights.require_run(run_start.require_own_run(experiment, "find_rate"))
    training, name = parameters.training, parameters.run_name
    if switch := experiment.inputs_switch:  # no parameter of this verb says that inputs may be stored
        training = training.model_copy(update={switch: False})
    data = load_data(experiment, training)
    preset = parameters.describe_preset()
    if preset:
        say(f"preset: {preset}")
    reproducibility.make_repeatable(training.seed, experiment.operation_threads)
    with tempfile.TemporaryDirectory(prefix=f"{experiment.name}-") as folder:
        trainee = experiment.build(training, data, Path(folder), {})
        if not isinstance(trainee, SweepingTrainee):
            raise UserError(range_test.explain_missing(experiment, "train a KerasTrainee, or give the trainee sweep"))
        with context.run(experiment, "find_rate", name, parameters.as_strings(), signals) as run:
            say(f"run {run.id} {name!r}")
            run.log_training_data(data)
            spread = parameters.lowest_rate, parameters.highest_rate, parameters.steps
            measured = range_test.measure(trainee, signals, *spread)
            suggestion = suggest(measured)
            rate_report.log_range(run, measured, suggestion)
            lines = [f"{suggestion.reason[0].upper()}{suggestion.reason[1:]}.", f"Preset: {preset}." if preset else ""]
            run.set_description("\n\n".join(map(escape_markdown, filter(None, lines))))
            if suggestion.rate is None:
                raise RunFailed(f"no learning rate can be suggested: {suggestion.reason}")
            run.log_metrics({SUGGESTED_RATE: suggestion.rate}, round(time.time() * 1000), step=0)
    say(f"suggested learning_rate: {suggestion.reason}")
