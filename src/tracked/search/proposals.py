"""Propose the values of a trial: a pure function of the space, the seed, the trial's number and the known results.

A proposal needs no memory: whoever knows the same results proposes the same values, in any process and after any kill.
"""

import functools
import hashlib
import math
import random
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tracked.analysis.trials import Direction, Trial, rank
from tracked.console.dimensions import Choice, Dimension
from tracked.console.space import Space

Sampler = Literal["tpe", "random", "grid"]
STARTUP = 10  # results from which TPE proposes; before, points are random
MAX_KNOWN, MAX_BEST = 150, 50  # trials that TPE sees: of more, these best and the newest others
ATTEMPTS = 100  # random points in search of one that is not known


def propose(
    space: Space, sampler: Sampler, seed: int, number: int, trials: Sequence[Trial], direction: Direction
) -> dict[str, Any]:
    """Propose the values of a trial.

    Running and failed trials do not count, nor does the order of ``trials``. A point whose result is known is proposed
    again only by a grid that is used up, or where random points find no other.

    Args:
        seed: of the search.
        number: of the trial, from 0 on.
        direction: whether a lower or a higher monitored metric is better.

    Returns:
        a value for each of the space's parameters: whole numbers, floats, texts, true or false, as JSON keeps them.
    """
    if sampler == "grid":
        order = _shuffle(seed, space.point_count)
        return space.point(order[number % len(order)])
    known = sorted((one for one in trials if one.is_result and space.contains(one.values)), key=lambda one: one.number)
    rng = random.Random(_derive_seed(seed, number))
    values = _draw(space, rng)
    if sampler == "tpe" and len(known) >= STARTUP:
        values = _ask_tpe(space, _derive_seed(seed, number), _choose_known(known, direction), direction)
    seen = [dict(one.values) for one in known]
    for _ in range(ATTEMPTS):
        if values not in seen:
            break
        values = _draw(space, rng)
    return values


def _derive_seed(seed: int, number: int) -> int:
    """Derive a number of 32 bits, the same on every machine."""
    return int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:4], "big")


@functools.lru_cache(maxsize=4)
def _shuffle(seed: int, count: int) -> list[int]:
    order = list(range(count))
    random.Random(_derive_seed(seed, count)).shuffle(order)
    return order


def _draw(space: Space, rng: random.Random) -> dict[str, Any]:
    """Draw a point: uniform in each range, or in its logarithm, and among steps and choices."""
    return {dimension.name: _draw_value(dimension, rng.random()) for dimension in space.dimensions}


def _draw_value(dimension: Dimension, share: float) -> Any:
    """Turn a number from 0 to below 1 into a value."""
    if isinstance(dimension, Choice) or dimension.step is not None:
        return dimension.point(int(share * dimension.point_count))
    low, high = dimension.low, dimension.high
    if dimension.is_whole:  # each whole number has an equal part of the line
        low, high = low - 0.5, high + 0.5
    if dimension.is_log:
        return dimension.shorten(math.exp((1 - share) * math.log(low) + share * math.log(high)))
    return dimension.shorten((1 - share) * low + share * high)


def _choose_known(known: Sequence[Trial], direction: Direction) -> list[Trial]:
    """Choose the trials that TPE sees, in order of number: the time for a proposal grows with them."""
    if len(known) <= MAX_KNOWN:
        return list(known)
    best = {one.number for one in rank(known, direction)[:MAX_BEST]}
    others = [one for one in known if one.number not in best]
    newest = others[len(best) - MAX_KNOWN :]
    return sorted([*(one for one in known if one.number in best), *newest], key=lambda one: one.number)


def _ask_tpe(space: Space, seed: int, known: Sequence[Trial], direction: Direction) -> dict[str, Any]:
    """Ask Optuna's TPE for the values after these trials, with a study that is made for it."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {dimension.name: _describe(dimension) for dimension in space.dimensions}
    # The defaults of Optuna 4 and 5 differ; the former calls this one experimental.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=0, multivariate=True)
    study = optuna.create_study(
        storage=optuna.storages.InMemoryStorage(),
        sampler=sampler,
        direction="minimize" if direction == "min" else "maximize",
    )
    study.add_trials([_tell(space, one, distributions) for one in known])
    asked = study.ask(distributions).params
    return {dimension.name: _decode(dimension, asked[dimension.name]) for dimension in space.dimensions}


def _describe(dimension: Dimension) -> Any:
    """Describe a dimension to Optuna: steps by their number, choices by their place, so that values stay ours."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(dimension, Choice):
        return CategoricalDistribution(range(dimension.point_count))
    if dimension.step is not None:
        return IntDistribution(0, dimension.point_count - 1)
    if dimension.is_whole:
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.is_log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.is_log)


def _encode(dimension: Dimension, value: Any) -> Any:
    return dimension.find(value) if isinstance(dimension, Choice) or dimension.step is not None else value


def _decode(dimension: Dimension, value: Any) -> Any:
    if isinstance(dimension, Choice) or dimension.step is not None:
        return dimension.point(int(value))
    return dimension.shorten(value)


def _tell(space: Space, trial: Trial, distributions: Mapping[str, Any]) -> Any:
    """Make Optuna's record of a trial.

    Of trials without a final value, TPE ranks those behind all finished ones: by how far they came, then by the value
    there; the last are those without any, such as one whose metric is not a number.
    """
    from optuna.trial import TrialState, create_trial

    params = {dimension.name: _encode(dimension, trial.values[dimension.name]) for dimension in space.dimensions}
    if trial.status == "finished" and trial.best is not None and math.isfinite(trial.best):
        return create_trial(value=trial.best, params=params, distributions=dict(distributions))
    steps = {}
    if trial.status == "pruned" and trial.history and math.isfinite(trial.history[-1]):
        steps = {trial.epochs: trial.history[-1]}
    return create_trial(
        state=TrialState.PRUNED, params=params, distributions=dict(distributions), intermediate_values=steps
    )
