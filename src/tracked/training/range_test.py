"""Measure a trainee's loss at growing learning rates."""

from tracked.analysis.rate_range import RateRange, spread_rates
from tracked.console.progress import track
from tracked.console.rate_parameters import HIGHEST_RATE, LOWEST_RATE, STEPS
from tracked.console.signals import Signals
from tracked.experiment import Experiment, SweepingTrainee


def measure(
    trainee: SweepingTrainee,
    signals: Signals,
    lowest: float = LOWEST_RATE,
    highest: float = HIGHEST_RATE,
    steps: int = STEPS,
) -> RateRange:
    """Train for a step at each of ``steps`` rates, until the loss diverges. The trainee is not trained afterwards.

    Raises:
        Interrupted: between two steps, if a signal came.
    """
    measured = RateRange(spread_rates(lowest, highest, steps))
    with signals.hold(), track("range test", steps, "steps") as progress:
        for loss in trainee.sweep(measured.rates):
            signals.check()
            progress.advance()
            if not measured.add(loss):
                break
    return measured


def explain_missing(experiment: Experiment, advice: str) -> str:
    """Explain that an experiment's trainee cannot be tested, with what else to do."""
    return f"experiment {experiment.name!r}: its trainee lacks sweep(rates), which a range test needs; {advice}"
