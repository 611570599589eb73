"""Measure how often replay's recommendation holds: the share of simulated trainings that the rule serves.

python bench/recommendation.py

Before: the shortest patience whose mean regret is within the tolerance in 95 % of bootstrap samples, over the runs that
answer every patience up to the longest that five of them answer. After: ``recommendation.recommend``. A recommendation
is right if the rule serves 90 % of 2,000 new trainings that wait as long as it names; before, if their mean regret
against the longest answered patience is within the tolerance. Ten minutes.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

import epochs

sys.path.insert(0, str(epochs.SRC))

from tracked.analysis.recommendation import SHARE, recommend
from tracked.analysis.rule_replay import History, replay

LENGTH, LONGEST, TOLERANCE, FRESH = 160, 20, 0.001, 2000
GRID = range(1, LONGEST + 1)
Draw = Callable[[np.random.Generator, int], np.ndarray]


def _falling(rng: np.random.Generator, runs: int, noise: np.ndarray) -> np.ndarray:
    """Draw losses [runs, epochs] that fall to a minimum and rise, with noise."""
    steps, lowest = np.arange(1, LENGTH + 1), rng.gamma(4, 2, (runs, 1)) + 1
    return 0.3 + 0.05 * np.log(steps / lowest) ** 2 + noise


def single(rng: np.random.Generator, runs: int) -> np.ndarray:
    return _falling(rng, runs, rng.normal(0, 0.002, (runs, LENGTH)))


def heavy(rng: np.random.Generator, runs: int) -> np.ndarray:
    return _falling(rng, runs, 0.002 * rng.standard_t(2, (runs, LENGTH)))


def second(chance: float) -> Draw:
    """Make a share ``chance`` of the trainings fall again, after 2 to 40 epochs."""

    def draw(rng: np.random.Generator, runs: int) -> np.ndarray:
        values = single(rng, runs)
        starts = values.argmin(1) + rng.integers(2, 40, runs)
        falls = (np.arange(LENGTH) >= starts[:, None]) & (rng.random(runs) < chance)[:, None]
        return values - np.where(falls, 0.05 + 0.05 * np.log1p(np.maximum(np.arange(LENGTH) - starts[:, None], 0)), 0)

    return draw


def plateaus(rng: np.random.Generator, runs: int) -> np.ndarray:
    """Draw losses that improve in steps, ever more rarely."""
    steps = rng.random((runs, LENGTH)) < 1 / (1 + np.arange(LENGTH) / 3)
    return 1 - 0.01 * np.cumsum(steps, 1) + np.abs(rng.normal(0, 0.002, (runs, LENGTH)))


POPULATIONS: dict[str, Draw] = {
    "one minimum": single,
    "heavy tails": heavy,
    "8 % fall again": second(0.08),
    "13 % fall again": second(0.13),
    "half fall again": second(0.5),
    "plateaus": plateaus,
}
# The patiences of the runs, in turn, and the maximum of epochs.
DESIGNS: dict[str, tuple[list[int | None], int]] = {
    "patience 20": ([20], LENGTH),
    "patience 3, 10 and 20": ([3, 10, 20], LENGTH),
    "patience 20, 45 epochs": ([20], 45),
    "45 epochs": ([None], 45),
}


def histories(values: np.ndarray, patiences: list[int | None], limit: int) -> list[History]:
    """Cut long trainings where their own patience or the maximum of epochs ends them."""
    own = [patiences[number % len(patiences)] for number in range(len(values))]
    uncut = [
        History(str(number), "", "val_loss", "min", row[:limit], np.arange(limit) * 1.0, own[number], 0.0)
        for number, row in enumerate(values)
    ]
    ends = np.full(len(values), limit)
    for patience in set(own) - {None}:
        numbers = [number for number, other in enumerate(own) if other == patience]
        stops = replay([uncut[number] for number in numbers], [patience], [0.0])["stopped_epoch"]
        ends[numbers] = stops.fillna(limit).astype(int)
    return [
        replace(history, values=history.values[:end], seconds=history.seconds[:end])
        for history, end in zip(uncut, ends, strict=True)
    ]


def before(table: pd.DataFrame, rng: np.random.Generator) -> tuple[int, int] | None:
    """Recommend as before: the patience, and the longest patience that its runs answer."""
    answered = (~table["censored"].astype(bool)).groupby([table["run_id"], table["patience"]]).all().unstack()
    up_to = answered.cummin(axis=1)
    enough = up_to.sum()[up_to.sum() >= 5]
    if not len(enough):
        return None
    longest = enough.index.max()
    judged = table[table["run_id"].isin(up_to.index[up_to[longest]]) & (table["patience"] <= longest)]
    for patience, group in judged.groupby("patience"):
        regret = group["regret"].to_numpy(dtype=float)
        of_all = table.loc[(table["patience"] == patience) & ~table["censored"], "regret"].to_numpy(dtype=float)
        if (group["epochs_saved"].astype(int) > 0).all() and of_all.mean() <= TOLERANCE:
            confidence = min(
                (values[rng.integers(0, len(values), (500, len(values)))].mean(1) <= TOLERANCE).mean()
                for values in (regret, of_all)
            )
            if confidence >= 0.95:
                return int(patience), int(longest)
    return None


def truth(draw: Draw, rng: np.random.Generator) -> Callable[[int, int], tuple[float, float]]:
    """Make a function of a patience and a longer wait: the share of new trainings served, and their mean regret."""
    fresh = histories(draw(rng, FRESH), [None], LENGTH)
    kept = replay(fresh, GRID, [0.0]).pivot(index="run_id", columns="patience", values="best_value")
    best = pd.Series({history.run_id: history.values.min() for history in fresh})
    kept = kept.apply(lambda column: column.fillna(best))  # a training without a stop has all epochs

    def judge(patience: int, wait: int) -> tuple[float, float]:
        regret = kept[patience] - kept.get(wait, best)
        return float((regret <= TOLERANCE).mean()), float(regret.mean())

    return judge


def calibration(
    sizes: tuple[int, ...], trials: int, designs: Iterable[str] = DESIGNS, populations: Iterable[str] = POPULATIONS
) -> Iterator[str]:
    """Yield the table: of the recommendations that claim 95 %, the share that does not hold."""
    rng = np.random.default_rng(1)
    truths = {name: truth(POPULATIONS[name], rng) for name in populations}
    rows = []
    for design in designs:
        patiences, limit = DESIGNS[design]
        for population in truths:
            line = []
            for size in sizes:
                recommended, wrong = [0, 0], [0, 0]
                for _ in range(trials):
                    table = replay(histories(POPULATIONS[population](rng, size), patiences, limit), GRID, [0.0])
                    old, new = before(table, rng), recommend(table, TOLERANCE)
                    if old:
                        recommended[0] += 1
                        wrong[0] += truths[population](*old)[1] > TOLERANCE
                    if new.patience is not None:
                        recommended[1] += 1
                        wrong[1] += truths[population](new.patience, new.wait)[0] < SHARE
                cells = [
                    f"{100 * bad / trials:.0f} of {100 * all_ / trials:.0f}"
                    for bad, all_ in zip(wrong, recommended, strict=True)
                ]
                line.append(" / ".join(cells))
            rows.append([f"{design}; {population}", *line])
            print(rows[-1], flush=True)
    head = ["of 100 replays: wrong of recommended, before / after", *(f"{size} runs" for size in sizes)]
    yield epochs.table(head, rows)


def main() -> None:
    """Simulate, print and write bench/out/recommendation.md."""
    epochs.write("recommendation.md", "\n\n".join(calibration((8, 20, 40, 100), 50)))


if __name__ == "__main__":
    main()
