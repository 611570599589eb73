"""The dimensions of a search: the values that one parameter may take."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from tracked.console.parameters import as_string

DIGITS = 3  # decimal digits of a range's width, or of a value on a log scale, that a proposal is rounded to at least


@dataclass(frozen=True)
class Range:
    """Numbers between two ends, both included: all of them, or those that steps from the low end reach.

    Args:
        low: whole numbers are ints, as is then ``high``; others floats.
        is_log: whether a proposal is uniform in the logarithm; then ``low`` is above 0 and there is no step.
        step: divides the range; None where there are no steps.
    """

    name: str
    low: int | float
    high: int | float
    is_log: bool = False
    step: int | float | None = None

    @property
    def text(self) -> str:
        """The dimension as ``parse_space`` reads it."""
        scale = "/log" if self.is_log else "" if self.step is None else f"/{as_string(self.step)}"
        return f"{self.name}={as_string(self.low)}..{as_string(self.high)}{scale}"

    @property
    def is_whole(self) -> bool:
        """Whether the values are whole numbers."""
        return isinstance(self.low, int)

    @property
    def steps(self) -> int | None:
        """The number of values that the steps reach; None where there are no steps."""
        if self.step is None:
            return None
        return int((_exact(self.high) - _exact(self.low)) / _exact(self.step)) + 1

    @property
    def point_count(self) -> int:
        """The number of the dimension's values in a grid."""
        return self.steps or len(self._spread())

    @property
    def corners(self) -> Sequence[int | float]:
        """The values at which another parameter is most likely not to fit."""
        return self.low, self.high

    def point(self, index: int) -> int | float:
        """Give a grid's value: each step; else the ends and the middle, a whole number where the ends are."""
        if self.step is None:
            return self._spread()[index]
        return _take_steps(self.low, self.step, index)

    def find(self, value: Any) -> int | None:
        """Find the step at which a value is; None if it is at none."""
        if self.step is None or not self.contains(value):
            return None
        return _find_step(self.low, self.step, value)

    def contains(self, value: Any) -> bool:
        """Check whether a value is one of the range's."""
        kinds = int if self.is_whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not self.low <= value <= self.high:
            return False
        return self.step is None or _find_step(self.low, self.step, value) is not None

    def shorten(self, value: float) -> int | float:
        """Round a number of a range without steps to a value that a run's name shows in a few digits."""
        if self.is_whole:
            return min(max(round(value), int(self.low)), int(self.high))
        width = float(self.high) - float(self.low)
        width = min(width, abs(value)) if self.is_log else width
        digits = DIGITS - math.floor(math.log10(width)) if 0 < width < math.inf else DIGITS
        try:
            rounded = round(value, digits)
        except OverflowError:  # there is no larger number
            rounded = value
        return min(max(rounded, float(self.low)), float(self.high))

    def _spread(self) -> list[int | float]:
        """Give the ends and the middle, the geometric one on a log scale; the same number once."""
        low, high = self.low, self.high
        middle = math.sqrt(low) * math.sqrt(high) if self.is_log else low / 2 + high / 2
        return list(dict.fromkeys([low, self.shorten(middle), high]))


@dataclass(frozen=True)
class Choice:
    """Two or more different values, in the order in which they are given."""

    name: str
    options: tuple[Any, ...]

    @property
    def text(self) -> str:
        """The dimension as ``parse_space`` reads it."""
        return f"{self.name}={','.join(map(as_string, self.options))}"

    @property
    def point_count(self) -> int:
        """The number of the dimension's values in a grid."""
        return len(self.options)

    @property
    def corners(self) -> Sequence[Any]:
        """The values at which another parameter may not fit: all."""
        return self.options

    def point(self, index: int) -> Any:
        """Give a grid's value."""
        return self.options[index]

    def find(self, value: Any) -> int | None:
        """Find a value's place; None if it is no option. 1 is not true, but is 1.0."""
        for index, option in enumerate(self.options):
            if option == value and isinstance(option, bool) == isinstance(value, bool):
                return index
        return None

    def contains(self, value: Any) -> bool:
        """Check whether a value is one of the options."""
        return self.find(value) is not None


Dimension = Range | Choice


def _take_steps(low: float, step: float, count: int) -> int | float:
    """Go a number of steps from the low end: a float is the one nearest to the decimal."""
    value = _exact(low) + count * _exact(step)
    return int(value) if isinstance(low, int) else float(value)


@functools.lru_cache(maxsize=10_000, typed=True)  # fractions are slow, and a search asks for each value again and again
def _find_step(low: float, step: float, value: float) -> int | None:
    """Count the steps from the low end to a value; None if none leads there."""
    count = round((_exact(value) - _exact(low)) / _exact(step))
    return count if _take_steps(low, step, count) == value else None


def _exact(value: float) -> Fraction:
    """Take a number as it is written: 0.1 is a tenth, so that three steps of it reach 0.3."""
    return Fraction(repr(value))
