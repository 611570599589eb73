"""Decide whether rows have drifted from those of a training: shares of rows, with intervals that hold all at once.

What is looked at is cut into events, such as "at most 64 words" or "predicted to be positive". Drift is shown where an
event's share differs by more than a margin, for certain: with millions of rows any table differs from any other by
something, and a difference that is real need not matter. Where no share can differ by more than the margin, the rows
are shown to be alike; between the two, there are too few of them to tell.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from tracked.analysis.intervals import bound_difference
from tracked.analysis.observations import Counts
from tracked.experiment import Observations

ERROR = 0.05  # the probability that any of the intervals misses, shared by all of them (Bonferroni)
MARGIN = 0.05  # of the rows
NAMED = 3  # differences told in a sentence
Verdict = Literal["drift", "alike", "undecided", "nothing"]


@dataclass(frozen=True)
class Shift:
    """The share of the rows of an event: in the reference, in the rows looked at, and the difference's interval.

    ``low`` and ``high`` are the ends of the interval of ``after - before``. ``reference`` and ``rows`` are the numbers
    of rows that were looked at.
    """

    name: str
    event: str
    before: float
    after: float
    low: float
    high: float
    reference: int
    rows: int

    @property
    def least(self) -> float:
        """The least difference that the interval allows, without its sign."""
        return max(self.low, -self.high, 0.0)

    @property
    def most(self) -> float:
        """The largest difference that the interval allows, without its sign."""
        return max(-self.low, self.high)

    def describe(self) -> str:
        """Describe the event, both shares and the interval, in points of 100."""
        shares = f"{self.before:.1%} -> {self.after:.1%}".replace("%", " %")
        return f"{self.name} {self.event}: {shares} ({100 * self.low:+.1f} to {100 * self.high:+.1f} points)"


@dataclass(frozen=True)
class Drift:
    """How rows differ from those of a training: each event's shift, in the order of what was looked at."""

    shifts: tuple[Shift, ...]
    margin: float

    @property
    def largest(self) -> tuple[Shift, ...]:
        """Of each thing looked at the event that differs most for certain; those that differ most first."""
        best: dict[str, Shift] = {}
        for shift in self.shifts:
            if shift.name not in best or _rank(shift) > _rank(best[shift.name]):
                best[shift.name] = shift
        return tuple(sorted(best.values(), key=_rank, reverse=True))

    @property
    def drifted(self) -> tuple[Shift, ...]:
        """Those of ``largest`` that differ by more than the margin for certain."""
        return tuple(shift for shift in self.largest if shift.least > self.margin)

    @property
    def verdict(self) -> Verdict:
        """Drift is shown, excluded, neither, or there is nothing to compare."""
        if not any(shift.reference for shift in self.shifts) or not any(shift.rows for shift in self.shifts):
            return "nothing"
        if self.drifted:
            return "drift"
        return "alike" if max(shift.most for shift in self.shifts) <= self.margin else "undecided"

    def describe(self, rows: str = "rows") -> str:
        """Say the verdict in one sentence; of 20 tables without drift 1 at most is said to drift."""
        points = f"{100 * self.margin:g} points"
        if self.verdict == "nothing":
            return f"Drift: not known, as there are no {rows} to compare."
        if self.verdict == "drift":
            named = "; ".join(shift.describe() for shift in self.drifted[:NAMED])
            more = f"; and in {len(self.drifted) - NAMED} more" if len(self.drifted) > NAMED else ""
            return f"Drift: shown beyond {points}, in {named}{more}."
        widest = max(self.shifts, key=lambda shift: shift.most)
        if self.verdict == "alike":
            return f"Drift: excluded beyond {points}: the widest interval is {widest.describe()}."
        few = f"{widest.rows:,} {rows} beside {widest.reference:,}"
        return f"Drift: not shown beyond {points}, nor excluded by {few}: the widest interval is {widest.describe()}."

    def to_table(self) -> pd.DataFrame:
        """Make a table of all events: shares and differences from 0 to 1."""
        columns = (
            "observed", "event", "training_share", "share", "difference_low", "difference_high", "drift",
            "training_rows", "rows",
        )  # fmt: skip
        lines = [
            (one.name, one.event, one.before, one.after, one.low, one.high, one.least > self.margin,
             one.reference, one.rows)
            for one in self.shifts
        ]  # fmt: skip
        return pd.DataFrame(lines, columns=list(columns))


def _rank(shift: Shift) -> tuple[float, float]:
    return shift.least, abs(shift.after - shift.before)


def compare(reference: Observations, observations: Observations, margin: float = MARGIN) -> Drift:
    """Compare rows with those of a reference, in all that both have looked at.

    Both are independent rows of their populations. However the things looked at depend on each other, the probability
    that any interval misses its difference is ``ERROR`` at most.

    Raises:
        ValueError: if something has other intervals in one than in the other.
    """
    pairs = {
        name: Counts.read(name, reference[name]).align(Counts.read(name, counts), name)
        for name, counts in observations.items()
        if name in reference
    }
    events = sum(_count_events(before) for before, _ in pairs.values())
    shifts = [
        shift for name, pair in pairs.items() for shift in _compare_counts(name, *pair, error=ERROR / max(events, 1))
    ]
    return Drift(tuple(shifts), margin)


def _count_events(counts: Counts) -> int:
    """Count the events: of two classes, the second says what the first does."""
    classes = len(counts.classes)
    return len(counts.edges) or (classes if classes > 2 else max(classes - 1, 0))


def _compare_counts(name: str, before: Counts, after: Counts, error: float) -> Iterator[Shift]:
    if before.edges:
        events = [f"at most {edge:g}" for edge in before.edges]
        successes = [np.cumsum(counts.counts)[:-1] for counts in (before, after)]
    else:
        first = len(before.classes) - _count_events(before)
        events = [repr(one) for one in before.classes[first:]]
        successes = [np.array(counts.counts[first:]) for counts in (before, after)]
    shares = [hits / max(counts.rows, 1) for hits, counts in zip(successes, (before, after), strict=True)]
    low, high = bound_difference(successes[0], before.rows, successes[1], after.rows, error)
    for place, event in enumerate(events):
        share, share_after, least, most = (float(each[place]) for each in (*shares, low, high))
        yield Shift(name, event, share, share_after, least, most, before.rows, after.rows)
