"""Decide whether a network is better than the baselines beside it, on the same rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from tracked.analysis.intervals import average_by_key, compute_interval
from tracked.analysis.paired import ERROR, compute_mcnemar
from tracked.experiment import Terms

QUESTION = "Is the network worth it?"
MIN_ROWS = 2


@dataclass(frozen=True)
class Outcome:
    """A model's rows: their losses [n] and, where a row can be right, whether each is, [n]."""

    loss: ArrayLike
    correct: ArrayLike | None = None


@dataclass(frozen=True)
class Difference:
    """A figure of the network and of a baseline, and the difference between them, above 0 where the network is better.

    ``low`` and ``high`` are the ends of its interval, NaN where the rows allow none. ``shown`` is 1 where the network
    is shown better, -1 where the baseline is, else 0.
    """

    network: float
    baseline: float
    low: float
    high: float
    shown: Literal[-1, 0, 1]

    @property
    def difference(self) -> float:
        """How much better the network is; below 0 where it is worse."""
        return self.network - self.baseline


@dataclass(frozen=True)
class Verdict:
    """Whether a network is worth it: shown better than all baselines, or some baseline shown better, or neither.

    ``against`` names the baseline that decides, the best of them. ``figure`` is its difference in the share of right
    rows or, where no row can be right, in the loss, whose figures are negative losses: more is better. ``loss`` is the
    difference in the loss beside the share. ``rows`` counts the distinct rows, ``confidence`` is that of the intervals.
    """

    answer: Literal["yes", "no", "not shown"]
    against: str
    figure: Difference
    loss: Difference | None
    rows: int
    confidence: float

    def describe(self, terms: Terms, name: str) -> str:
        """Describe the verdict in one sentence with its figures.

        Args:
            name: what the baseline is called in a sentence, such as "the linear model".
        """
        answer = {"yes": "Yes", "no": "No", "not shown": "No difference is shown"}[self.answer]
        figures = _describe_share(self, terms, name) if self.loss else _describe_loss(self, terms, name)
        return f"{QUESTION} {answer}: {figures}{_describe_disagreement(self, terms, name)}."


def decide(network: Outcome, baselines: Mapping[str, Outcome], keys: ArrayLike | None = None) -> Verdict:
    """Decide whether a network is better than each of its baselines.

    The share of right rows decides where there is one, by McNemar's exact test and the interval of the difference; else
    the loss, by its interval. The error of 1 in 20 is shared by the baselines (Bonferroni): of networks that are as
    good as them, at most 1 in 20 is called worth it or not worth it.

    Args:
        baselines: one or more, on the same rows in the same order.
        keys: the rows' keys, [n]: rows with the same key count as one, with their mean. None where all differ.

    Raises:
        ValueError: if there is no baseline, or the numbers of rows differ or are below ``MIN_ROWS``.
    """
    outcomes = [network, *baselines.values()]
    lengths = {len(np.asarray(values)) for one in outcomes for values in (one.loss, one.correct) if values is not None}
    if not baselines or len(lengths) > 1 or min(lengths) < MIN_ROWS:
        raise ValueError(f"{len(baselines)} baselines of {sorted(lengths)} rows; allowed: 1 or more, of 2 equal rows")
    confidence = 1 - ERROR / len(baselines)
    has_correct = all(one.correct is not None for one in outcomes)

    def compare(baseline: Outcome, by_correct: bool) -> Difference:
        if by_correct:
            first, second = (average_by_key(np.asarray(x.correct, dtype=float), keys) for x in (network, baseline))
        else:
            first, second = (-average_by_key(np.asarray(x.loss, dtype=float), keys) for x in (network, baseline))
        return _compare(first, second, confidence, by_correct)

    compared = {name: compare(one, has_correct) for name, one in baselines.items()}
    better = [name for name, one in compared.items() if one.shown < 0]
    undecided = [name for name, one in compared.items() if one.shown == 0]
    answer: Literal["yes", "no", "not shown"] = "no" if better else "not shown" if undecided else "yes"
    against = max(better or undecided or compared, key=lambda name: compared[name].baseline)
    loss = compare(baselines[against], by_correct=False) if has_correct else None
    rows = len(average_by_key(np.asarray(network.loss, dtype=float), keys))
    return Verdict(answer, against, compared[against], loss, rows, confidence)


def _compare(network: np.ndarray, baseline: np.ndarray, confidence: float, exact: bool) -> Difference:
    """Compare values of distinct rows, of which more is better.

    Args:
        exact: whether the values are shares of right rows, which McNemar's test needs.
    """
    ahead = network - baseline
    low, high = compute_interval(ahead, confidence)
    excludes_0, side = low > 0 or high < 0, np.sign(ahead.mean())
    if exact:
        first_only, second_only, p_value = compute_mcnemar(ahead)
        # With too few rows for an interval, the exact test decides alone.
        excludes_0 = (excludes_0 or np.isnan(low)) and p_value < 1 - confidence
        side = side if side == np.sign(first_only - second_only) else 0
    shown: Literal[-1, 0, 1] = 0 if not (excludes_0 and side) else 1 if side > 0 else -1
    return Difference(float(network.mean()), float(baseline.mean()), low, high, shown)


def _describe_share(verdict: Verdict, terms: Terms, name: str) -> str:
    """Describe both shares of right rows, the better one first."""
    figure = verdict.figure
    network, other = f"{100 * figure.network:.1f} %", f"{100 * figure.baseline:.1f} %"
    rows = f"of these {verdict.rows:,} {terms.rows}"
    shares = f"{name} is right on {other} {rows}, the network on {network}"
    if figure.difference > 0:
        shares = f"the network is right on {network} {rows}, {name} on {other}"
    return f"{shares} ({_describe_gap(figure, verdict.confidence, 100, 1, 'points')})"


def _describe_loss(verdict: Verdict, terms: Terms, name: str) -> str:
    """Describe both mean losses, the better one first."""
    figure, digits = verdict.figure, max(0, terms.digits - 1)
    gap = _describe_gap(figure, verdict.confidence, 1, digits, terms.unit)
    pair = ["the network", -figure.network], [name, -figure.baseline]
    (first, less), (second, more) = pair if figure.difference > 0 else pair[::-1]
    better = f"{first} has {_with_article(terms.loss)} of {less:.{digits}f} {terms.unit}"
    return f"{better} on these {verdict.rows:,} {terms.rows}, {second} of {more:.{digits}f} ({gap})"


def _with_article(noun: str) -> str:
    """Put the article before a noun."""
    return f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}"


def _describe_gap(figure: Difference, confidence: float, scale: float, digits: int, unit: str) -> str:
    """Describe the size of a difference with its interval, from the side of the better one."""
    side = 1 if figure.difference > 0 else -1
    gap = f"difference {abs(figure.difference) * scale:.{digits}f} {unit}"
    if np.isnan(figure.low):
        return f"{gap}; the rows allow no interval"
    ends = sorted((side * scale * figure.low, side * scale * figure.high))
    return f"{gap}, {100 * confidence:.4g} % interval {ends[0]:.{digits}f} to {ends[1]:.{digits}f}"


def _describe_disagreement(verdict: Verdict, terms: Terms, name: str) -> str:
    """Say what the loss shows, where it shows other than the share of right rows; else empty."""
    loss = verdict.loss
    if loss is None or loss.shown in (0, verdict.figure.shown):
        return ""
    digits = max(0, terms.digits - 1)
    pair = ["the network", -loss.network], [name, -loss.baseline]
    (first, less), (_, more) = pair if loss.shown > 0 else pair[::-1]
    return f"; by {terms.loss}, {first} is better ({less:.{digits}f} against {more:.{digits}f} {terms.unit})"
