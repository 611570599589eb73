"""Keras's early-stopping rule as a pure function of a metric's history.

Decides as ``keras.callbacks.EarlyStopping`` (Keras 3.15) does, but also on recorded histories. An epoch improves when
its value, moved back by ``min_delta``, beats the best so far; both sides are rounded to float32, as in Keras. The first
value always improves. NaN never improves, and a NaN in the first epoch is never beaten. Training stops at the first
epoch, from epoch 2 on, after ``patience`` or more epochs without an improvement.

``keras.callbacks.ModelCheckpoint`` compares in the same way, without ``min_delta``.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

Event = Literal["improved", "waiting", "stopped"]
COMPLETED = ("patience", "epochs")  # stop reasons of a training that ended by its own rule
PRUNED = "pruned"  # of a trial that its search gave up
OTHER_HISTORY = "other_history"  # stop reason: a resumed training reported other values than its run has stored
NOT_A_NUMBER = "not_a_number"  # stop reason: the loss became NaN or infinite; such a training cannot be resumed


def improves(mode: Any, value: Any, best: Any, min_delta: Any = 0.0) -> Any:
    """Check whether ``value`` beats ``best``, element by element over arrays that broadcast.

    Args:
        mode: "min" or "max", or an array of them.
    """
    sign = np.where(np.equal(mode, "min"), 1.0, -1.0)  # exact: negation commutes with rounding
    with np.errstate(over="ignore", invalid="ignore"):
        return sign * np.float32(value + sign * min_delta) < sign * np.float32(best)


def step(mode: Any, patience: Any, min_delta: Any, epoch: int, best: Any, wait: Any, value: Any) -> tuple[Any, ...]:
    """Apply the rule at the end of one epoch, to one history or to many at once.

    Every decision to stop is made here. The arguments may be arrays that broadcast.

    Args:
        epoch: counts from 1; at epoch 1, ``best`` and ``wait`` are ignored.
        best: value of the last improvement before this epoch.
        wait: epochs since that improvement, before this epoch.

    Returns:
        whether the epoch improves, the epochs waited after it, whether training stops.
    """
    improved = improves(mode, value, best, min_delta) | (epoch == 1)
    wait = np.where(improved, 0, wait + 1)
    return improved, wait, ~improved & (wait >= patience) & (epoch > 1)


@dataclass(frozen=True)
class Rule:
    """When to stop: ``mode`` is min or max, ``patience`` a number of epochs, ``min_delta`` in the metric's unit."""

    mode: Literal["min", "max"]
    patience: int
    min_delta: float = 0.0

    def improves(self, value: float, best: float | None) -> bool:
        """Check whether ``value`` beats ``best``, which is None before the first epoch."""
        return best is None or bool(improves(self.mode, value, best, self.min_delta))


@dataclass(frozen=True)
class State:
    """The rule's state after an epoch. Epochs count from 1; ``epoch`` is 0 before the first.

    ``wait`` is the number of epochs since ``best_epoch``, the last improvement. No epoch follows ``stopped``.
    """

    epoch: int = 0
    best: float | None = None
    best_epoch: int = 0
    wait: int = 0
    stopped: bool = False

    @property
    def event(self) -> Event:
        """The event of this epoch."""
        if self.stopped:
            return "stopped"
        return "waiting" if self.wait else "improved"


def advance(rule: Rule, state: State, value: float) -> State:
    """Advance the state by one epoch, which ended with ``value``.

    Raises:
        ValueError: if the rule has already stopped.
    """
    if state.stopped:
        raise ValueError(f"stopped at epoch {state.epoch}: no epoch follows")
    epoch, best = state.epoch + 1, np.nan if state.best is None else state.best
    improved, wait, stops = step(rule.mode, rule.patience, rule.min_delta, epoch, best, state.wait, value)
    if improved:
        return State(epoch, value, epoch)
    return replace(state, epoch=epoch, wait=int(wait), stopped=bool(stops))


def follow(rule: Rule, values: Iterable[float]) -> list[State]:
    """Compute the state after each epoch of a history, up to and including the epoch that stops."""
    states: list[State] = []
    state = State()
    for value in values:
        state = advance(rule, state, value)
        states.append(state)
        if state.stopped:
            break
    return states
