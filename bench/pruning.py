"""Measure how often the intervals of replayed rules for giving up hold, on made-up learning curves that cross.

python bench/pruning.py

A replay of 30 or 60 trainings estimates, for a new search, the share of epochs that a rule saves and how often it loses
the best training. The truth is the mean over 8,000 new searches of as many trials. Two minutes.
"""

import sys
from collections.abc import Callable, Iterator
from unittest import mock

import numpy as np

import epochs

sys.path.insert(0, str(epochs.SRC))

from tracked.analysis import pruning, pruning_replay
from tracked.analysis.pruning import RULES
from tracked.analysis.pruning_estimate import estimate
from tracked.analysis.pruning_replay import Curves, judge, run_searches

LENGTH, FRESH, SIZES, ETAS = 12, 8000, (30, 60), (2, 3, 4)
Draw = Callable[[np.random.Generator, int], np.ndarray]


def _fall(end: np.ndarray, start: np.ndarray, speed: np.ndarray) -> np.ndarray:
    """Draw curves [trials, epochs] that fall from a start to an end."""
    return end[:, None] + (start - end)[:, None] * np.exp(-np.arange(1, LENGTH + 1) * speed[:, None])


def parallel(rng: np.random.Generator, trials: int) -> np.ndarray:
    """Curves that hardly cross."""
    end = rng.normal(0.4, 0.05, trials)
    return _fall(end, end + 0.4, np.full(trials, 0.5)) + rng.normal(0, 0.005, (trials, LENGTH))


def crossing(rng: np.random.Generator, trials: int) -> np.ndarray:
    """Curves whose speed has nothing to do with their end."""
    speed = np.exp(rng.normal(-1, 0.8, trials))
    return _fall(rng.normal(0.4, 0.05, trials), np.full(trials, 0.8), speed) + rng.normal(0, 0.01, (trials, LENGTH))


def slow_wins(rng: np.random.Generator, trials: int) -> np.ndarray:
    """Curves of which the slow ones end lower."""
    rank = rng.random(trials)
    return _fall(0.45 - 0.1 * rank, np.full(trials, 0.8), 1.2 - rank) + rng.normal(0, 0.01, (trials, LENGTH))


def noise(rng: np.random.Generator, trials: int) -> np.ndarray:
    """Curves that differ by heavy-tailed noise alone."""
    return _fall(np.full(trials, 0.4), np.full(trials, 0.8), np.full(trials, 0.4)) + 0.02 * rng.standard_t(
        2, (trials, LENGTH)
    )


def rarely_bad(rng: np.random.Generator, trials: int) -> np.ndarray:
    """Curves of which one in twelve does not fall."""
    bad = rng.random(trials) < 1 / 12
    return np.where(bad[:, None], 0.9, parallel(rng, trials))


def no_number(rng: np.random.Generator, trials: int) -> np.ndarray:
    """Crossing curves of which one in six ends in NaN."""
    values, breaks = crossing(rng, trials), rng.integers(1, LENGTH, trials)
    ends = (rng.random(trials) < 1 / 6)[:, None] & (np.arange(LENGTH) >= breaks[:, None])
    return np.where(ends, np.nan, values)


FAMILIES: dict[str, Draw] = {
    "parallel": parallel, "crossing": crossing, "slow ones win": slow_wins, "noise alone": noise,
    "one in twelve does not fall": rarely_bad, "one in six breaks": no_number,
}  # fmt: skip


def draw(family: str, rng: np.random.Generator, trials: int) -> Curves:
    """Draw trials that end two to five epochs after their best one, as early stopping ends them."""
    values = FAMILIES[family](rng, trials)
    finite = np.where(np.isfinite(values), values, np.inf)
    lengths = np.clip(finite.argmin(axis=1) + 1 + rng.integers(2, 6, trials), 3, LENGTH)
    after = np.arange(LENGTH) >= lengths[:, None]
    return Curves(np.minimum.accumulate(np.where(after, np.inf, finite), axis=1), lengths)


def coverage(repeats: int, sizes: tuple[int, ...] = SIZES, fresh: int = FRESH) -> Iterator[str]:
    """Yield the table: of the intervals that claim 95 %, the share that holds, and their mean ends."""
    rng, rows = np.random.default_rng(1), []
    for family in FAMILIES:
        for size in sizes:
            replays = [draw(family, rng, size) for _ in range(repeats)]
            for rule in RULES:
                found = [estimate(curves, rule) for curves in replays]
                trials = found[0].trials
                new = draw(family, rng, fresh * trials)
                searches = np.arange(fresh * trials).reshape(fresh, trials)
                truth = judge(new, searches, run_searches(new, rule, searches))
                row = [family, rule, f"{size}: {found[0].separate} of {trials}"]
                for name, true in (("saved", truth.saved.mean()), ("lost", truth.lost.mean())):
                    low, high = (np.array([getattr(one, f"{name}_{end}") for one in found]) for end in ("low", "high"))
                    held = ((low <= true) & (true <= high)).mean()
                    row.append(f"{true:.3f}: {held:.1%} ({low.mean():.2f} to {high.mean():.2f})")
                rows.append(row)
                print(row, flush=True)
    head = ["curves", "rule", "trainings: separate searches of", "saved: held (mean interval)", "best lost: held"]
    yield epochs.table(head, rows)


def compare_etas(searches: int, trials: int = 30) -> str:
    """Compare the shares that go on after a rung of ASHA: one in two, three or four; epochs saved and best ones lost.

    The rungs follow from the share: 1, 2, 4, 8 epochs, or 1, 3, 9, or 1, 4.
    """
    rng, rows = np.random.default_rng(2), []
    for family in FAMILIES:
        curves = draw(family, rng, searches * trials)
        order = np.arange(searches * trials).reshape(searches, trials)
        row: list[object] = [family]
        for eta in ETAS:
            with mock.patch.object(pruning, "ASHA_ETA", eta), mock.patch.object(pruning_replay, "ASHA_ETA", eta):
                found = judge(curves, order, run_searches(curves, "asha", order))
            row.append(f"{found.saved.mean():.0%}, {found.lost.mean():.0%}")
        rows.append(row)
        print(row, flush=True)
    return epochs.table(["curves", *(f"one in {eta}: saved, best lost" for eta in ETAS)], rows)


def main() -> None:
    """Simulate, print and write bench/out/pruning.md."""
    epochs.write("pruning.md", "\n\n".join([*coverage(100), compare_etas(2000)]))


if __name__ == "__main__":
    main()
