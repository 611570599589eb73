"""Keras's early-stopping rule as a pure function of a metric's history.

What ``keras.callbacks.EarlyStopping`` (Keras 3.15) decides, without Keras, so that a recorded history can be asked too:
an epoch improves when its value, moved back by ``min_delta``, beats the best so far. Both sides are rounded to float32,
as Keras compares them. The first value is always an improvement, a NaN never is one and, coming first, is never beaten.
Training stops at the first epoch after the first that ends with ``patience`` epochs, or more, without an improvement.

``keras.callbacks.ModelCheckpoint`` compares in the same way, without ``min_delta``.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

Event = Literal["improved", "waiting", "stopped"]


@dataclass(frozen=True)
class Rule:
    """When to stop: ``mode`` is min or max, ``patience`` a number of epochs, ``min_delta`` in the metric's unit."""

    mode: Literal["min", "max"]
    patience: int
    min_delta: float = 0.0

    def improves(self, value: float, best: float | None) -> bool:
        """Whether ``value`` beats ``best``; ``None`` means that there is no best yet."""
        if best is None:
            return True
        with np.errstate(over="ignore"):
            if self.mode == "min":
                return bool(np.float32(value + self.min_delta) < np.float32(best))
            return bool(np.float32(value - self.min_delta) > np.float32(best))


@dataclass(frozen=True)
class State:
    """Where the rule stands after an epoch. Epochs count from 1; before the first, ``epoch`` is 0.

    ``wait`` is the number of epochs since ``best_epoch``, the last improvement. After ``stopped`` nothing follows.
    """

    epoch: int = 0
    best: float | None = None
    best_epoch: int = 0
    wait: int = 0
    stopped: bool = False

    @property
    def event(self) -> Event:
        """What happened at this epoch."""
        if self.stopped:
            return "stopped"
        return "waiting" if self.wait else "improved"


def advance(rule: Rule, state: State, value: float) -> State:
    """The state after one more epoch, which ended with ``value``.

    Raises:
        ValueError: if the rule has already stopped.
    """
    if state.stopped:
        raise ValueError(f"stopped at epoch {state.epoch}: no epoch follows")
    epoch = state.epoch + 1
    if rule.improves(value, state.best):
        return State(epoch, value, epoch)
    wait = state.wait + 1
    return replace(state, epoch=epoch, wait=wait, stopped=wait >= rule.patience and epoch > 1)


def follow(rule: Rule, values: Iterable[float]) -> list[State]:
    """The state after each epoch of a history, up to and including the one that stops."""
    states: list[State] = []
    state = State()
    for value in values:
        state = advance(rule, state, value)
        states.append(state)
        if state.stopped:
            break
    return states
