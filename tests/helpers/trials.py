"""Made-up trials of a search."""

import math
import random

from tracked.analysis.trials import Trial
from tracked.reports.search_scale import Axis

AXES = (
    Axis("learning_rate", 1e-4, 1e-2, is_log=True), Axis("dropout", 0, 0.6), Axis("units", 8, 64),
    Axis("schedule", choices=("constant", "cosine")), Axis("amsgrad", choices=(False, True)),
)  # fmt: skip


def make_trials(count: int, seed: int = 0) -> list[Trial]:
    """Make trials of ``AXES``, best at a learning rate of 0.001: trial 4 of 5 pruned, 11 not a number, 17 failed."""
    chance, trials = random.Random(seed), []
    for number in range(count):
        rate = 10 ** chance.uniform(-4, -2)
        values = {
            "learning_rate": rate, "dropout": chance.uniform(0, 0.6), "units": chance.randrange(8, 65, 8),
            "schedule": chance.choice(["constant", "cosine"]), "amsgrad": chance.random() < 0.5,
        }  # fmt: skip
        level = 0.28 + 0.05 * abs(math.log10(rate) + 3)
        history = [level + 0.25 * math.exp(-epoch) + 0.004 * chance.random() for epoch in range(chance.randint(5, 9))]
        status, note = "finished", ""
        if number % 5 == 4:
            status, note, history = "pruned", "median: 0.3461 is worse than 0.3261 of 3 trials", history[:2]
        elif number == 11:
            status, history = "not_a_number", [*history[:2], math.nan]
        elif number == 17:
            status, note, history = "failed", "ResourceExhaustedError: out of memory", history[:1]
        best = min(value for value in history if math.isfinite(value))
        trials.append(
            Trial(number, values, range(number), status, f"{number:032x}", f"trial {number}", history, best,
                  history.index(best) + 1, 4.0 * len(history), note)
        )  # fmt: skip
    return trials
