"""Learning-rate schedules for an optimizer, from the parameters of a training.

``exponential`` and ``cosine`` are Keras's own schedules, counted in steps. A plateau cuts a rate that is a number: its
rule sees epochs, and the trainer sets the rate (``rate_control``). A warm-up before any of them is computed from the
optimizer's iterations, since one call of TensorFlow may take several steps.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras.optimizers.schedules import CosineDecay, ExponentialDecay, LearningRateSchedule

from tracked.console.rate_parameters import RateParameters


class WarmUp(LearningRateSchedule):
    """Raise the rate in a straight line over the first steps, then leave it or follow a schedule.

    Step n of the first ``steps``, counted from 1, has n / ``steps`` of the rate. (Keras's ``CosineDecay`` has n - 1 of
    them, so that its first step changes nothing.) The schedule begins with the step after them.

    Args:
        rate: what the warm-up ends with; :attr:`rate` is a variable, and setting it changes the steps to come.
        steps: 1 or more.
        after: the schedule to follow, which begins with the same rate; None: the rate stays.
    """

    def __init__(self, rate: float, steps: int, after: LearningRateSchedule | None = None) -> None:
        super().__init__()
        self.rate = keras.Variable(rate, dtype="float32", trainable=False, name="learning_rate")
        self.steps, self.after = steps, after

    def __call__(self, step: Any) -> Any:
        """Compute the rate of a step, counted from 0."""
        done, steps = keras.ops.cast(step, "float32"), keras.ops.cast(float(self.steps), "float32")
        rate = keras.ops.convert_to_tensor(self.rate)
        later = self.after(keras.ops.maximum(done - steps, 0.0)) if self.after else rate
        return keras.ops.where(done < steps, rate * ((done + 1) / steps), later)

    def get_config(self) -> dict[str, Any]:
        """Give the arguments."""
        return {"rate": float(np.asarray(self.rate)), "steps": self.steps, "after": self.after}


def make_rate(parameters: RateParameters, steps_per_epoch: int) -> float | LearningRateSchedule:
    """Make the ``learning_rate`` of an optimizer: a number, or a schedule by steps.

    Args:
        parameters: with a number as ``learning_rate``.
        steps_per_epoch: batches of an epoch, on which exponential and cosine depend.
    """
    rate, factor = float(parameters.learning_rate), parameters.decay_factor
    # Floats, since Keras converts whole numbers to 32 bits.
    steps, after = float(parameters.decay_epochs) * steps_per_epoch, None
    if parameters.schedule == "exponential":
        after = ExponentialDecay(rate, steps, factor)
    elif parameters.schedule == "cosine":
        after = CosineDecay(rate, steps, alpha=factor)
    if parameters.warmup_steps:
        return WarmUp(rate, parameters.warmup_steps, after)
    return after or rate


def schedule_of(optimizer: keras.optimizers.Optimizer) -> LearningRateSchedule | None:
    """Find an optimizer's schedule; None if its rate is a number."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # within one that scales the loss
    rate = getattr(optimizer, "_learning_rate", None)  # Keras has no public name for it
    return rate if isinstance(rate, LearningRateSchedule) else None


def last_rate(optimizer: keras.optimizers.Optimizer) -> float:
    """The rate of the last step as the shortest decimal of its float32 value; before the first, the first one's."""
    schedule = schedule_of(optimizer)
    rate = schedule(max(int(optimizer.iterations) - 1, 0)) if schedule else optimizer.learning_rate
    return float(str(np.float32(rate)))


def set_rate(optimizer: keras.optimizers.Optimizer, rate: float) -> None:
    """Set the rate of the steps to come; after a warm-up's end, if one is under way.

    Raises:
        TypeError: if a schedule of steps determines the rate.
    """
    schedule = schedule_of(optimizer)
    if isinstance(schedule, WarmUp) and schedule.after is None:
        schedule.rate.assign(rate)
    else:
        optimizer.learning_rate = rate


@contextmanager
def storable(optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Within the block, the optimizer can be saved in a file that Keras loads without this project.

    Keras's own schedules are saved as they are, a warm-up as a constant: the rate of the last step.
    """
    schedule = schedule_of(optimizer)
    if not isinstance(schedule, WarmUp):
        yield
        return
    optimizer.learning_rate = ExponentialDecay(last_rate(optimizer), 1, 1.0)
    try:
        yield
    finally:
        optimizer.learning_rate = schedule
