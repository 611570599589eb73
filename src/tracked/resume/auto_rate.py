"""Resolve ``learning_rate=auto`` of a training: by the run's tag, else by a range test before its first epoch."""

import gc

from tracked.analysis.rate_range import NO_RATE, suggest
from tracked.console.errors import RunFailed
from tracked.console.lines import say
from tracked.console.rate_parameters import AUTO, LOWEST_RATE, RateParameters
from tracked.console.signals import Signals
from tracked.console.train_parameters import TrainParameters
from tracked.experiment import Dataset, Experiment, SweepingTrainee
from tracked.resume.resume_plan import ResumePlan
from tracked.runs.schema import SUGGESTED_RATE
from tracked.runs.writer import Run
from tracked.training import range_test, reproducibility


def resolve(
    experiment: Experiment,
    parameters: TrainParameters,
    data: Dataset,
    run: Run,
    plan: ResumePlan | None,
    signals: Signals,
) -> TrainParameters:
    """Return the parameters with a number as ``learning_rate``.

    The training that follows equals, to the last bit, one to which the number was given. A resumed training takes the
    number from its run's tag; killed before the tag, it tests again.

    Raises:
        Interrupted: if a signal came.
        RunFailed: if no rate can be suggested, or the trainee cannot be tested.
    """
    if not isinstance(parameters, RateParameters) or parameters.learning_rate != AUTO:
        return parameters
    stored = plan.run.data.tags.get(SUGGESTED_RATE) if plan else None
    if stored:
        say(f"learning_rate=auto: {stored}, as the run's range test has suggested")
        return parameters.with_suggested(float(stored))
    rate = _test(experiment, parameters, data, run, signals)
    gc.collect()  # the tested network, before the one to train is built
    reproducibility.make_repeatable(parameters.seed, experiment.operation_threads)
    return parameters.with_suggested(rate)


def _test(experiment: Experiment, parameters: RateParameters, data: Dataset, run: Run, signals: Signals) -> float:
    """Test a trainee of its own, and log what comes of it."""
    from tracked.reports import rate_report

    trainee = experiment.build(parameters.at_constant(LOWEST_RATE), data, run.folder, {})
    if not isinstance(trainee, SweepingTrainee):
        run.stop_reason = NO_RATE
        raise RunFailed(range_test.explain_missing(experiment, "give learning_rate a number"))
    measured = range_test.measure(trainee, signals)
    suggestion = suggest(measured)
    rate_report.log_range(run, measured, suggestion)
    if suggestion.rate is None:
        run.stop_reason = NO_RATE
        raise RunFailed(f"learning_rate=auto: {suggestion.reason}; or start a new training with a number")
    run.set_tags({SUGGESTED_RATE: suggestion.rate})
    say(f"learning_rate=auto: {suggestion.reason}")
    return suggestion.rate
