"""Replay rules for giving up on complete histories: what a search made of them would have saved, and lost.

Giving up changes nothing in a trial before its end. So the histories of trials that ran to their own end determine what
a rule would have done in a search that ran them one after the other, each knowing those before it, cut where the rule
had given them up. A trial that ends by itself after an epoch is not given up after that epoch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tracked.analysis.pruning import ASHA_ETA, ASHA_OTHERS, MEDIAN_FIRST_EPOCH, MEDIAN_OTHERS, PruningRule, is_rung
from tracked.analysis.rule_replay import History


@dataclass(frozen=True, eq=False)
class Curves:
    """What the rules need of histories: ``bests`` [histories, epochs], the best finite value so far, as of a metric
    that falls, infinite without one, and kept after the end; ``lengths`` [histories], in epochs."""

    bests: np.ndarray
    lengths: np.ndarray

    @classmethod
    def read(cls, histories: Sequence[History]) -> "Curves":
        """Read histories of one metric."""
        lengths = np.array([len(history.values) for history in histories])
        values = np.full((len(histories), lengths.max()), np.inf)
        for number, history in enumerate(histories):
            signed = history.values * (1.0 if history.mode == "min" else -1.0)
            values[number, : lengths[number]] = np.where(np.isfinite(signed), signed, np.inf)
        return cls(np.minimum.accumulate(values, axis=1), lengths)


def run_searches(curves: Curves, rule: PruningRule, searches: np.ndarray) -> np.ndarray:
    """Run many searches at once; returns the trained epochs of each trial [searches, trials].

    Args:
        searches: numbers of histories [searches, trials], in the order of the trials.
    """
    trained = curves.lengths[searches]
    known = np.empty((curves.bests.shape[1], *searches.shape))  # best so far by epoch, of what each trial has trained
    places = np.arange(curves.bests.shape[1])
    for trial in range(searches.shape[1]):
        numbers = searches[:, trial]
        goes_on = np.ones(len(searches), dtype=bool)
        for epoch in range(1, int(curves.lengths[numbers].max(initial=0))):
            own = curves.bests[numbers, epoch - 1]
            others, lasted = known[epoch - 1, :, :trial], trained[:, :trial]
            gives_up = goes_on & (curves.lengths[numbers] > epoch) & _is_behind(rule, epoch, own, others, lasted)
            trained[gives_up, trial] = epoch
            goes_on &= ~gives_up
        cut = np.minimum(places[None, :], trained[:, trial, None] - 1)
        known[:, :, trial] = curves.bests[numbers[:, None], cut].T
    return trained


def _is_behind(
    rule: PruningRule, epoch: int, own: np.ndarray, others: np.ndarray, lasted: np.ndarray
) -> np.ndarray | bool:
    """Decide as ``pruning.decide`` in many searches at once: own [searches], others and lasted [searches, others]."""
    if rule == "median":
        if epoch < MEDIAN_FIRST_EPOCH or others.shape[1] < MEDIAN_OTHERS:
            return False
        return 2 * (others < own[:, None]).sum(axis=1) > others.shape[1]
    if not is_rung(epoch) or others.shape[1] < ASHA_OTHERS:
        return False
    reached = lasted >= epoch
    count, better = reached.sum(axis=1), (reached & (others < own[:, None])).sum(axis=1)
    return (count >= ASHA_OTHERS) & (better >= (count + 1) // ASHA_ETA)


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What came of searches [searches]: ``saved``, the share of epochs; ``regret``, how much worse the best trial is
    that was not given up than the best of all, in the metric's unit."""

    saved: np.ndarray
    regret: np.ndarray

    @property
    def lost(self) -> np.ndarray:
        """Whether a search lost its best trial: all trials with the best value of all were given up."""
        return self.regret > 0


def judge(curves: Curves, searches: np.ndarray, trained: np.ndarray) -> Outcomes:
    """Judge what came of searches that trained their trials for so many epochs [searches, trials]."""
    lengths, finals = curves.lengths[searches], curves.bests[searches, -1]
    left = np.where(trained == lengths, finals, np.inf).min(axis=1)
    best = finals.min(axis=1)
    regret = np.where(left > best, left - np.where(np.isfinite(best), best, 0.0), 0.0)
    return Outcomes(1 - trained.sum(axis=1) / lengths.sum(axis=1), regret)


def replay_trials(histories: Sequence[History], rules: Sequence[PruningRule]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Replay rules on the trials in their recorded order.

    Args:
        histories: distinct, complete, of one metric, in the order of their start.

    Returns:
        a row per rule and trial: rule, trial (from 0), run_id, run_name, epochs, given_up_epoch (missing if not),
        epochs_saved, seconds_saved, best_value of the whole history, is_winner (it has the best value of all). A row
        per rule: rule, trainings, given_up, epochs, epochs_saved, seconds_saved, winner_lost, regret.
    """
    curves = Curves.read(histories)
    order, sign = np.arange(len(histories))[None, :], 1.0 if histories[0].mode == "min" else -1.0
    finals = curves.bests[:, -1]
    trials, pooled = [], []
    for rule in rules:
        trained = run_searches(curves, rule, order)
        outcomes, ends = judge(curves, order, trained), trained[0]
        seconds = [_seconds_after(history, int(end)) for history, end in zip(histories, ends, strict=True)]
        trials.append(
            pd.DataFrame(
                {
                    "rule": rule,
                    "trial": order[0],
                    "run_id": [history.run_id for history in histories],
                    "run_name": [history.run_name for history in histories],
                    "epochs": curves.lengths,
                    "given_up_epoch": pd.Series(ends, dtype="Int64").where(ends < curves.lengths),
                    "epochs_saved": curves.lengths - ends,
                    "seconds_saved": seconds,
                    "best_value": sign * finals,
                    "is_winner": finals == finals.min(),
                }
            )
        )
        pooled.append(
            {
                "rule": rule,
                "trainings": len(histories),
                "given_up": int((ends < curves.lengths).sum()),
                "epochs": int(curves.lengths.sum()),
                "epochs_saved": int((curves.lengths - ends).sum()),
                "seconds_saved": float(np.sum(seconds)),
                "winner_lost": bool(outcomes.lost[0]),
                "regret": float(outcomes.regret[0]),
            }
        )
    return pd.concat(trials, ignore_index=True), pd.DataFrame(pooled)


def _seconds_after(history: History, epoch: int) -> float:
    """Seconds that a history spent after an epoch; NaN where its clock was set back."""
    return float(history.seconds[-1] - history.seconds[epoch - 1]) if (np.diff(history.seconds) >= 0).all() else np.nan
