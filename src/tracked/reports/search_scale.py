"""Place a search's values on axes: which part of the values an axis shows, and where a parameter's value stands."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, TypeGuard

from matplotlib.ticker import MaxNLocator

from tracked.analysis.trials import Direction, Trial

ROOM = 2.5
CLOSE = 0.07  # of an axis: ticks nearer than this to its ends are left out
SPREAD = 0.1  # of an axis: how far equal choices are drawn apart, so that each can be hovered over
GOLDEN = 0.618034


@dataclass(frozen=True)
class Axis:
    """A searched parameter: a range with its ends, or choices.

    Args:
        low: the end of a range; None: the least value that a trial has. ``high`` likewise.
        choices: in order; empty for a range.
    """

    name: str
    low: float | None = None
    high: float | None = None
    is_log: bool = False
    choices: Sequence[Any] = ()


@dataclass(frozen=True)
class Scale:
    """An axis with its ticks: their positions from 0 to 1, and their texts."""

    axis: Axis
    low: float
    high: float
    positions: Sequence[float]
    texts: Sequence[str]

    def place(self, value: Any, number: int) -> float | None:
        """Give a value's position, near 0 to 1; None if it does not stand on the axis.

        Args:
            number: of the trial; equal choices of trials are placed a little apart.
        """
        if self.axis.choices:
            if value not in self.axis.choices:
                return None
            apart = ((number * GOLDEN) % 1 - 0.5) * SPREAD
            return self.positions[self.axis.choices.index(value)] + apart
        return _place(value, self.low, self.high, self.axis.is_log)


def make_scale(axis: Axis, trials: Iterable[Trial]) -> Scale:
    """Make the scale of an axis; it reaches as far as the values of the trials, too."""
    if axis.choices:
        last = max(len(axis.choices) - 1, 1)
        spots = [number / last if len(axis.choices) > 1 else 0.5 for number in range(len(axis.choices))]
        return Scale(axis, 0, last, spots, [format_value(choice) for choice in axis.choices])
    values = [one.values[axis.name] for one in trials if is_number(one.values.get(axis.name))]
    values += [end for end in (axis.low, axis.high) if end is not None]
    if axis.is_log:
        values = [value for value in values if value > 0]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    ticks = [(_place(tick, low, high, axis.is_log), tick) for tick in _spread_ticks(low, high, axis.is_log)]
    inner = [(spot, tick) for spot, tick in ticks if spot is not None and CLOSE < spot < 1 - CLOSE]
    ends = [(0.0, low), *inner, (1.0, high)] if low < high else [(0.5, low)]
    return Scale(axis, low, high, [spot for spot, _ in ends], [_format_tick(tick) for _, tick in ends])


def _spread_ticks(low: float, high: float, is_log: bool) -> list[float]:
    if not is_log:
        return [float(tick) for tick in MaxNLocator(nbins=5).tick_values(low, high)]
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1) if low > 0 else range(0)
    multiples = (1,) if len(decades) > 3 else (1, 3) if len(decades) > 2 else (1, 2, 5)
    return [multiple * 10.0**decade for decade in decades for multiple in multiples]


def _format_tick(tick: float) -> str:
    return f"{tick:.0f}" if float(tick).is_integer() and abs(tick) < 1e6 else f"{tick:.4g}"


def _place(value: Any, low: float, high: float, is_log: bool) -> float | None:
    if not is_number(value) or (is_log and min(value, low) <= 0):
        return None
    if low == high:
        return 0.5
    if is_log:
        return math.log(value / low) / math.log(high / low)
    return float((value - low) / (high - low))


def limit_values(values: Iterable[float | None], direction: Direction, room: float = ROOM) -> tuple[float, float]:
    """Find which values an axis shows: all of them, unless some are so far from the best that they would hide the rest.

    Args:
        room: times the distance of the best to the median value: what is farther from the best is not shown.

    Returns:
        lowest and highest, each finite; the lower one is less. (0, 1) without a finite value.
    """
    sign = 1 if direction == "min" else -1
    finite = sorted(sign * value for value in values if value is not None and math.isfinite(value))
    if not finite:
        return 0.0, 1.0
    best, worst, middle = finite[0], finite[-1], median(finite)
    if middle > best:
        worst = min(worst, best + room * (middle - best))
    low, high = sorted((sign * best, sign * worst))
    margin = 0.06 * (high - low) or 0.05 * abs(low) or 1.0
    return low - margin, high + margin


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a finite number; a truth value is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def format_value(value: object) -> str:
    """Format a parameter's value for people."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def format_metric(value: float | None) -> str:
    """Format a metric's value for people; a dash without a value."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.4g}"
