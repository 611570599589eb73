"""The learning rates of a training with ``schedule=plateau``: a function of its parameters and its history."""

from collections.abc import Iterable, Mapping

import numpy as np

from tracked.analysis.plateau import PlateauRule, PlateauState, begin, follow
from tracked.console.rate_parameters import RateParameters
from tracked.console.train_parameters import TrainParameters


def make_rule(parameters: TrainParameters) -> PlateauRule | None:
    """Make the rule that cuts the rate, None without ``schedule=plateau``; it watches what early stopping watches."""
    if not isinstance(parameters, RateParameters) or parameters.schedule != "plateau":
        return None
    patience, factor = parameters.decay_patience, parameters.decay_factor
    return PlateauRule(parameters.direction, patience, factor, parameters.min_delta)


def make_first_state(parameters: TrainParameters) -> PlateauState:
    """Make the rule's state before the first epoch."""
    assert isinstance(parameters, RateParameters)
    return begin(float(parameters.learning_rate))


def list_next_rates(parameters: TrainParameters, history: Iterable[Mapping[str, float]]) -> list[float]:
    """List the rate of the next epoch after each epoch's metrics; empty without a rule."""
    rule = make_rule(parameters)
    if rule is None:
        return []
    values = (float(metrics[parameters.monitor]) for metrics in history)
    states = follow(rule, make_first_state(parameters).rate, values)
    return [float(str(np.float32(state.rate))) for state in states]  # in the spelling of the metric learning_rate
