"""Estimate what a rule for giving up does in new searches, from the histories of trials that ran to their own end.

Searches of ``m`` trials are drawn from the histories: a random order of all of them, cut into searches of ``m`` that
share none, many times over. The histories must be of trials that do not depend on each other, as a random sampler's.
bench/pruning.py measures how often the intervals hold.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t as student

from tracked.analysis.intervals import bound_share
from tracked.analysis.pruning import MEDIAN_OTHERS, PruningRule
from tracked.analysis.pruning_replay import Curves, judge, run_searches
from tracked.analysis.rule_replay import History

TRIALS = 20  # of a drawn search at most: the default of a search
SEPARATE = 3  # searches without a common history that the histories must make: fewer bound next to nothing
MIN_TRIALS = MEDIAN_OTHERS + 1  # of a drawn search: in a shorter one the median rule never decides
NEEDED = SEPARATE * MIN_TRIALS
DRAWN = 1200  # searches at least: that they are no more widens the interval of what is saved by about a sixth
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """What a rule does in a search of ``trials`` trials, by ``separate`` searches without a common history.

    Means with their 95 % intervals, NaN where there are too few histories for one; no interval is known for the
    regret, whose mean hangs on rare large ones.
    """

    trials: int
    separate: int
    saved: float
    saved_low: float
    saved_high: float
    lost: float
    lost_low: float
    lost_high: float
    regret: float
    regret_worst: float


def estimate(curves: Curves, rule: PruningRule, seed: int = 0) -> Estimate:
    """Estimate what a rule does in new searches of such trials.

    The share lost is bounded by ``bound_share``, which holds always. For the share saved that would be needlessly wide:
    its interval is Student's with the jackknife's variance over the histories, which is too large rather than too small
    (Efron and Stein 1981); where no history changes it, ``bound_share`` again.
    """
    count = len(curves.lengths)
    trials = min(TRIALS, count // SEPARATE) if count >= NEEDED else count
    separate = count // trials
    orders = np.random.default_rng(seed).permuted(np.tile(np.arange(count), (-(-DRAWN // separate), 1)), axis=1)
    searches = orders[:, : separate * trials].reshape(-1, trials)
    outcomes = judge(curves, searches, run_searches(curves, rule, searches))
    saved, lost = float(outcomes.saved.mean()), float(outcomes.lost.mean())
    ends = [np.nan] * 4
    if count >= NEEDED:
        ends = [*_jackknife(outcomes.saved, searches, count, separate), *bound_share(lost, separate, CONFIDENCE)]
    return Estimate(
        trials, separate, saved, ends[0], ends[1], lost, ends[2], ends[3],
        float(outcomes.regret.mean()), float(outcomes.regret.max()),
    )  # fmt: skip


def _jackknife(values: np.ndarray, searches: np.ndarray, count: int, separate: int) -> tuple[float, float]:
    """Compute the interval of a mean over searches [searches], by leaving out those with each history in turn."""
    numbers = searches.ravel()
    sums = np.bincount(numbers, np.repeat(values, searches.shape[1]), count)
    without = (values.sum() - sums) / (len(values) - np.bincount(numbers, minlength=count))
    error = np.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum())
    mean = float(values.mean())
    if error < 1e-9:
        return bound_share(mean, separate, CONFIDENCE)
    reach = float(student.ppf(0.5 + CONFIDENCE / 2, count - 1) * error)
    return max(mean - reach, 0.0), min(mean + reach, 1.0)


def estimate_rules(histories: Sequence[History], rules: Sequence[PruningRule]) -> pd.DataFrame:
    """Estimate what each rule does: a row per rule, with the fields of :class:`Estimate` as ``search_…``.

    Args:
        histories: distinct, complete, of one metric.
    """
    curves = Curves.read(histories)
    rows = [{f"search_{name}": value for name, value in vars(estimate(curves, rule)).items()} for rule in rules]
    return pd.DataFrame(rows).assign(rule=list(rules))
