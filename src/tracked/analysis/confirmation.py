"""Decide which of a search's best trials wins, by trainings with new seeds beside trainings of the defaults.

The best of n results is chosen for its luck, too. So its value in the search is not used to decide: what counts are
trainings that nobody has chosen from yet, of candidates and defaults with the same new seeds.
"""

import hashlib
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TypeGuard

from tracked.analysis.choice_interval import compute_half_widths
from tracked.analysis.trials import Direction

MAX_VALUE = 1e100  # from here on a value is as good as not finite: its square may not be


@dataclass(frozen=True)
class Candidate:
    """A trial that may win: its value in the search, and those of its trainings with new seeds, by seed.

    A value that is None, absent, not finite or beyond ``MAX_VALUE`` is missing: the training failed, or ended without a
    number.
    """

    number: int
    searched: float | None
    values: Mapping[int, float | None]


@dataclass(frozen=True)
class Confirmed:
    """What new seeds say of a candidate, or of the defaults, whose ``number`` is None.

    Differences are above 0 where the candidate is better than the defaults, whichever way the metric is better.

    Args:
        values: of the trainings that have one, by seed.
        missing: the number of trainings without a value.
        mean: over the new seeds; NaN without a value.
        difference: mean of the paired differences to the defaults, over the seeds that both have a value for; else NaN.
        low: lower end of the difference's 95 % interval, which holds for all candidates at once; NaN without one.
        high: its upper end.
        optimism: by how much the value in the search looked better than ``mean``; NaN where either is missing.
    """

    number: int | None
    values: Mapping[int, float]
    missing: int
    mean: float
    difference: float = math.nan
    low: float = math.nan
    high: float = math.nan
    optimism: float = math.nan


@dataclass(frozen=True)
class Confirmation:
    """The winner, the candidates in the order given, and the defaults.

    ``confirmed`` is True where the winner is a candidate and the interval of its difference to the defaults lies above
    0. ``optimism`` is the candidates' average; NaN where none has one. ``seed`` is that of the winner's training with
    the median value: a typical one, not the luckiest; of two in the middle, the one that is less good.
    """

    winner: Confirmed
    candidates: Sequence[Confirmed]
    defaults: Confirmed
    confirmed: bool
    optimism: float
    seed: int
    seeds: int


def choose_seeds(seed: int, count: int) -> list[int]:
    """Choose new seeds, [count]: distinct, from 0 to 2**32 - 1, none of them the search's.

    They follow from the search's seed alone: a resumed search chooses the same, and more seeds begin with the fewer.
    """

    chosen: list[int] = []
    places = itertools.count()
    while len(chosen) < count:
        digest = hashlib.sha256(f"confirm {seed} {next(places)}".encode()).digest()
        number = int.from_bytes(digest[:4], "big")
        if number not in (seed, *chosen):
            chosen.append(number)
    return chosen


def confirm(
    candidates: Sequence[Candidate],
    defaults: Mapping[int, float | None],
    seeds: Sequence[int],
    direction: Direction,
) -> Confirmation:
    """Decide which candidate wins, or that the defaults do, and whether a candidate's lead is confirmed.

    The best mean over the new seeds wins; a candidate that is only as good as the defaults does not. Whoever lacks more
    values than another cannot win against it: a setting that fails now and then is not better.

    Where no candidate is better than the defaults, a lead is called confirmed in at most 1 of 20 searches as long as
    the noise between seeds is not skewed (bench/winner.py).

    Args:
        candidates: one or more.
        defaults: the values of the defaults' trainings, by seed.
        seeds: the new seeds, one or more: the same for all.

    Raises:
        ValueError: if there is no candidate or no seed, or if no training has a value.
    """
    base = _summarize(None, defaults, seeds)
    arms = [_summarize(one.number, one.values, seeds) for one in candidates]
    if not candidates or not any(one.values for one in (base, *arms)):
        raise ValueError(f"{len(candidates)} candidates and {len(seeds)} seeds; allowed: 1 or more, with a value")
    sign = 1 if direction == "min" else -1
    # Only whoever has all values that the defaults have has an interval, and tells how much seeds differ.
    full = [one for one in arms if base.values.keys() <= one.values.keys()]
    rows = [[row.values[seed] for seed in base.values] for row in (base, *full)]
    halves = dict(zip(map(id, full), compute_half_widths(rows, len(arms)), strict=True))
    compared = []
    for candidate, arm in zip(candidates, arms, strict=True):
        shared = [seed for seed in base.values if seed in arm.values]
        ahead = fmean(sign * (base.values[seed] - arm.values[seed]) for seed in shared) if shared else math.nan
        half = halves.get(id(arm), math.nan)
        optimism = sign * (arm.mean - candidate.searched) if _is_value(candidate.searched) else math.nan
        compared.append(replace(arm, difference=ahead, low=ahead - half, high=ahead + half, optimism=optimism))
    winner = min((base, *compared), key=lambda one: (one.missing, sign * one.mean))
    known = [one.optimism for one in compared if math.isfinite(one.optimism)]
    ordered = sorted(winner.values, key=lambda seed: sign * winner.values[seed])
    return Confirmation(
        winner,
        compared,
        base,
        confirmed=winner.low > 0,
        optimism=fmean(known) if known else math.nan,
        seed=ordered[len(ordered) // 2],
        seeds=len(seeds),
    )


def _summarize(number: int | None, values: Mapping[int, float | None], seeds: Sequence[int]) -> Confirmed:
    """Keep the values of these seeds that are none of the missing, and compute their mean."""
    given = {seed: float(one) for seed in seeds if _is_value(one := values.get(seed))}
    return Confirmed(number, given, len(seeds) - len(given), fmean(given.values()) if given else math.nan)


def _is_value(value: float | None) -> TypeGuard[float]:
    return value is not None and abs(value) < MAX_VALUE
