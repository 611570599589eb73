"""Count rows by what is looked at in them, as plain JSON whose leaves are numbers of rows.

A number is {"up_to": {"2": 3, "4": 0, "inf": 1}}: rows above the edge before, up to this one. A class is {"classes":
{"positive": 3, "negative": 1}}. Counts of several tables are added up leaf by leaf.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

UP_TO, CLASSES = "up_to", "classes"
LISTED = 200  # with more classes, those without a row are left out


def count_values(values: ArrayLike, edges: Sequence[float]) -> dict[str, dict[str, int]]:
    """Count rows by the interval of their value, [n].

    Args:
        edges: ascending; what is above the last one is counted, too.

    Raises:
        ValueError: if a value is not a number, or edges do not differ in 12 digits.
    """
    array = np.asarray(values, dtype=float)
    if np.isnan(array).any():
        raise ValueError("a value is not a number")
    names = [f"{edge:.12g}" for edge in (*edges, math.inf)]
    if len(set(names)) < len(names):
        raise ValueError("edges do not differ in 12 digits")
    counts = np.bincount(np.searchsorted(np.asarray(edges, dtype=float), array), minlength=len(edges) + 1)
    return {UP_TO: dict(zip(names, counts.tolist(), strict=True))}


def count_classes(codes: ArrayLike, classes: Sequence[str]) -> dict[str, dict[str, int]]:
    """Count rows by the code of their class, int [n]: its position in ``classes``."""
    counts = np.bincount(np.asarray(codes, dtype=np.int64), minlength=len(classes)).tolist()
    named = zip(classes, counts, strict=True)
    return {CLASSES: {name: count for name, count in named if count or len(classes) <= LISTED}}


@dataclass(frozen=True)
class Counts:
    """Rows counted by class, or by the interval of a number; each row once.

    Args:
        counts: rows of each class or interval.
        classes: the classes' names; empty for a number.
        edges: of a number, ascending: interval k ends with edge k, and the last one has no end.
    """

    counts: tuple[int, ...]
    classes: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()

    @property
    def rows(self) -> int:
        """The number of rows."""
        return sum(self.counts)

    @property
    def names(self) -> tuple[str, ...]:
        """Name the classes, or the intervals by their ends."""
        return self.classes or (*(f"{edge:.12g}" for edge in self.edges), "above")

    @classmethod
    def read(cls, name: str, values: Any) -> Self:
        """Read counts from JSON.

        Raises:
            ValueError: if it is not as described above.
        """
        kinds = values if isinstance(values, Mapping) else {}
        try:
            if set(kinds) == {CLASSES}:
                named = sorted((str(one), int(count)) for one, count in kinds[CLASSES].items())
                return cls(tuple(count for _, count in named), classes=tuple(one for one, _ in named))
            if set(kinds) == {UP_TO}:
                ends = sorted((float(edge), int(count)) for edge, count in kinds[UP_TO].items())
                if ends and ends[-1][0] == math.inf:
                    return cls(tuple(count for _, count in ends), edges=tuple(edge for edge, _ in ends[:-1]))
        except (AttributeError, TypeError, ValueError):
            pass
        raise ValueError(f"{name}: what is observed must be given by count_values or count_classes")

    def align(self, other: "Counts", name: str) -> tuple["Counts", "Counts"]:
        """Give both the classes of both.

        Raises:
            ValueError: if they are counted by different intervals, or one by classes.
        """
        if bool(self.edges) != bool(other.edges) or self.edges != other.edges:
            raise ValueError(f"{name}: counted by other intervals than in the training")
        names = tuple(sorted({*self.classes, *other.classes}))
        return self._name(names), other._name(names)

    def _name(self, names: tuple[str, ...]) -> "Counts":
        if not names:
            return self
        known = dict(zip(self.classes, self.counts, strict=True))
        return Counts(tuple(known.get(name, 0) for name in names), names)


def add_observations(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Add up two observations leaf by leaf; a missing leaf counts as 0."""
    total = dict(first)
    for name, value in second.items():
        if isinstance(value, Mapping):
            total[name] = add_observations(total.get(name, {}), value)
        else:
            total[name] = total.get(name, 0) + value
    return total
