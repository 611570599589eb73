"""Keras's rule for cutting the learning rate at a plateau, as a pure function of a metric's history.

Decides as ``keras.callbacks.ReduceLROnPlateau`` (Keras 3.15) does. An epoch improves as in ``early_stopping``: best and
``min_delta`` are the same. After ``patience`` or more epochs without an improvement, the rate of the epochs to come is
multiplied by ``factor``, and the count begins again; the best value stays. Until its first cut, the rule waits as early
stopping does, so the first cut comes at the epoch at which early stopping with the same patience would stop.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tracked.analysis.early_stopping import improves


@dataclass(frozen=True)
class PlateauRule:
    """When and how far to cut the rate.

    ``mode``, ``patience`` and ``min_delta`` as of an early-stopping rule. ``factor``: what a cut multiplies the rate
    by, from 0 to less than 1. After a cut, ``cooldown`` epochs are not counted. No cut goes below ``min_rate``.
    """

    mode: Literal["min", "max"]
    patience: int
    factor: float
    min_delta: float = 0.0
    cooldown: int = 0
    min_rate: float = 0.0


@dataclass(frozen=True)
class PlateauState:
    """The rule's state after an epoch. Epochs count from 1; ``epoch`` is 0 before the first.

    ``rate`` is that of the next epoch, a float32 as Keras keeps it; ``is_cut``: whether this epoch's end cut it.
    ``wait`` and ``cooldown`` are epochs counted since the last improvement or cut, and epochs not yet to be counted.
    """

    rate: float
    epoch: int = 0
    best: float | None = None
    wait: int = 0
    cooldown: int = 0
    is_cut: bool = False


def begin(rate: float) -> PlateauState:
    """Make the state before the first epoch, which trains with this rate."""
    return PlateauState(_round(rate))


def advance(rule: PlateauRule, state: PlateauState, value: float) -> PlateauState:
    """Advance the state by one epoch, which ended with ``value``."""
    cooling = max(state.cooldown - 1, 0)
    wait = 0 if state.cooldown else state.wait
    state = replace(state, epoch=state.epoch + 1, wait=wait, cooldown=cooling, is_cut=False)
    if state.best is None or improves(rule.mode, value, state.best, rule.min_delta):
        return replace(state, best=value, wait=0)
    if cooling:
        return state
    state = replace(state, wait=wait + 1)
    if state.wait < rule.patience or state.rate <= _round(rule.min_rate):
        return state
    rate = _round(max(state.rate * rule.factor, rule.min_rate))
    return replace(state, rate=rate, wait=0, cooldown=rule.cooldown, is_cut=True)


def follow(rule: PlateauRule, rate: float, values: Iterable[float]) -> list[PlateauState]:
    """Compute the state after each epoch of a history that began with this rate."""
    states = [begin(rate)]
    for value in values:
        states.append(advance(rule, states[-1], value))
    return states[1:]


def _round(rate: float) -> float:
    return float(np.float32(rate))
