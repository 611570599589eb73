"""Decide whether a trial of a search is given up before its end, from the learning curves of other trials.

The best value so far of the trial is compared with the best so far of the others after equally many epochs. So the
decision after an epoch depends on nothing that came later, in this trial or in another one, and the decisions of a
search can be replayed from its histories. Two rules:

- median (Golovin et al. 2017, Google Vizier): more than half of the others were better. One that has ended before is
  taken with what it had reached: exact for a training that ended by itself. For one that was given up it is the worst
  that it could have reached, so that the bar only gets lower.
- asha (Li et al. 2020, asynchronous successive halving, in its stopping form): after 1, 2, 4, 8, … epochs, the better
  half of all that came so far goes on.
"""

import math
from collections.abc import Sequence
from typing import Literal, get_args

from tracked.analysis.trials import Direction

PruningRule = Literal["median", "asha"]
RULES: tuple[PruningRule, ...] = get_args(PruningRule)

# Below five, the median of the others is nearly any of them: two good trials at the start would end most that follow.
MEDIAN_OTHERS = 5
# After the first epoch a curve tells more of the learning rate's size than of where it ends: slow ones are behind.
MEDIAN_FIRST_EPOCH = 2
# Trainings with early stopping last about ten epochs: thirds would leave three rungs. Of thirty simulated trials whose
# curves cross, halves save 62 % of the epochs and lose the best one in 22 % of searches, thirds 70 % in 36 %
# (bench/pruning.py).
ASHA_ETA = 2
# With the trial itself that is a group of four, of which two go on; of fewer, one that leads by chance ends the rest.
ASHA_OTHERS = 3


def decide(rule: PruningRule, values: Sequence[float], others: Sequence[Sequence[float]], direction: Direction) -> str:
    """Decide after an epoch whether a trial is given up; returns the reason, or an empty text if it goes on.

    A trial that is behind none of the others is never given up. Values that are not finite count as none; a trial
    without any is behind every trial that has one.

    Args:
        values: of the monitored metric after each epoch of the trial so far, from epoch 1 on.
        others: the same of other trials that have ended, in any order; values after as many epochs are not looked at.
    """
    epoch = len(values)
    if rule == "median":
        known = [other for other in others if len(other)]
        if epoch < MEDIAN_FIRST_EPOCH or len(known) < MEDIAN_OTHERS:
            return ""
        own, *bests = _find_bests([values, *known], epoch, direction)
        median = sorted(bests)[len(bests) // 2]  # of an even number the worse one of the middle: more than half beat it
        if not own > median:
            return ""
        return _explain(own, median, direction, epoch, "the median {} of " + f"{len(bests)} trials")
    known = [other for other in others if len(other) >= epoch]
    if not is_rung(epoch) or len(known) < ASHA_OTHERS:
        return ""
    own, *bests = _find_bests([values, *known], epoch, direction)
    keeps = (len(bests) + 1) // ASHA_ETA
    last = sorted([own, *bests])[keeps - 1]
    if not own > last:
        return ""
    return _explain(own, last, direction, epoch, "{}, " + f"the last of the best {keeps} of {len(bests) + 1} trials")


def is_rung(epoch: int) -> bool:
    """Check whether successive halving decides after this epoch."""
    rung = 1
    while rung < epoch:
        rung *= ASHA_ETA
    return rung == epoch


def _find_bests(histories: Sequence[Sequence[float]], epoch: int, direction: Direction) -> list[float]:
    """Find each history's best finite value until an epoch, so that lower is better; infinite where there is none."""
    sign = 1.0 if direction == "min" else -1.0
    return [
        min((sign * float(value) + 0.0 for value in history[:epoch] if math.isfinite(value)), default=math.inf)
        for history in histories
    ]


def _explain(own: float, bar: float, direction: Direction, epoch: int, of: str) -> str:
    """Explain the decision, with as many digits as tell the two values apart."""
    sign = 1.0 if direction == "min" else -1.0
    digits = next((digits for digits in range(3, 17) if f"{own:.{digits}g}" != f"{bar:.{digits}g}"), 17)
    against = of.format(f"{sign * bar + 0.0:.{digits}g}")
    if math.isinf(own):
        return f"without a finite value after epoch {epoch}: worse than {against}"
    return f"{sign * own + 0.0:.{digits}g} at best after epoch {epoch} is worse than {against}"
