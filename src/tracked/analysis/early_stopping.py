"""Keras's early-stopping rule as a pure function of a metric's history.

What ``keras.callbacks.EarlyStopping`` (Keras 3.15) decides, without Keras, so that a recorded history can be asked too:
an epoch improves when its value, moved back by ``min_delta``, beats the best so far. Both sides are rounded to float32,
as Keras compares them. The first value is always an improvement, a NaN never is one and, coming first, is never beaten.
Training stops at the first epoch after the first that ends with ``patience`` epochs, or more, without an improvement.

``keras.callbacks.ModelCheckpoint`` compares in the same way, without ``min_delta``.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

Event = Literal["improved", "waiting", "stopped"]
COMPLETED = ("patience", "epochs")  # the reasons of a training that has come to its own end
OTHER_HISTORY = "other_history"  # the reason where a resumed training came out otherwise than its run has it
NOT_A_NUMBER = "not_a_number"  # the reason after which nothing can go on


def improves(mode: Any, value: Any, best: Any, min_delta: Any = 0.0) -> Any:
    """Whether ``value`` beats ``best``, element by element over arrays that broadcast.

    Args:
        mode: "min" or "max", or an array of them.
    """
    sign = np.where(np.equal(mode, "min"), 1.0, -1.0)  # turning a number's sign is exact, as is the rounding of both
    with np.errstate(over="ignore", invalid="ignore"):
        return sign * np.float32(value + sign * min_delta) < sign * np.float32(best)


def step(mode: Any, patience: Any, min_delta: Any, epoch: int, best: Any, wait: Any, value: Any) -> tuple[Any, ...]:
    """The rule at the end of one epoch, for one history or for many at once: all that is ever decided is decided here.

    Args:
        epoch: counts from 1; at the first one ``best`` and ``wait`` are not looked at.
        best: value of the last improvement before this epoch.
        wait: epochs since then, before this one.

    Returns:
        whether the epoch improves, the epochs waited after it, whether training stops; the arguments may be arrays
        that broadcast.
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
        """Whether ``value`` beats ``best``; ``None`` means that there is no best yet."""
        return best is None or bool(improves(self.mode, value, best, self.min_delta))


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
    epoch, best = state.epoch + 1, np.nan if state.best is None else state.best
    improved, wait, stops = step(rule.mode, rule.patience, rule.min_delta, epoch, best, state.wait, value)
    if improved:
        return State(epoch, value, epoch)
    return replace(state, epoch=epoch, wait=int(wait), stopped=bool(stops))


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
