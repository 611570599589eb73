"""Count rows by what is looked at in them: sums over any parts of a table, in whole numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Counts:
    """Rows counted by class, or by intervals of a number; each row once.

    Args:
        counts: rows of each class or interval.
        classes: the classes' names; empty for a number.
        edges: ascending; interval k holds the numbers above edge k - 1, up to edge k, and the last one those above all.
        unit: what the number counts, for sentences.
    """

    counts: tuple[int, ...]
    classes: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    unit: str = ""

    def __post_init__(self) -> None:
        if len(self.counts) != (len(self.classes) or len(self.edges) + 1):
            raise ValueError(f"{len(self.counts)} counts; allowed: one for each class, or one more than edges")
        if list(self.edges) != sorted(set(self.edges)):
            raise ValueError("edges are not ascending")

    @property
    def rows(self) -> int:
        """The number of rows."""
        return sum(self.counts)

    def is_like(self, other: "Counts") -> bool:
        """Check whether the other has the same classes or intervals."""
        return (self.classes, self.edges) == (other.classes, other.edges)

    def __add__(self, other: "Counts") -> "Counts":
        if not self.is_like(other):
            raise ValueError("counts of other classes or intervals cannot be added")
        sums = tuple(a + b for a, b in zip(self.counts, other.counts, strict=True))
        return Counts(sums, self.classes, self.edges, self.unit)

    def to_json(self) -> dict[str, Any]:
        """Convert to plain JSON values, without the zeros of many classes."""
        present = {str(place): count for place, count in enumerate(self.counts) if count}
        named: dict[str, Any] = {"classes": list(self.classes)} if self.classes else {"edges": list(self.edges)}
        return named | {"unit": self.unit, "counts": present}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` gives.

        Raises:
            ValueError: if it is something else.
        """
        try:
            classes, edges = tuple(map(str, values.get("classes", ()))), tuple(map(float, values.get("edges", ())))
            counts = [0] * (len(classes) or len(edges) + 1)
            for place, count in values["counts"].items():
                counts[int(place)] = int(count)
            return cls(tuple(counts), classes, edges, str(values.get("unit", "")))
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise ValueError(f"no counts of rows ({error})") from None


Observations: TypeAlias = Mapping[str, Counts]


def count_values(values: ArrayLike, edges: Sequence[float], unit: str = "") -> Counts:
    """Count rows by the interval of their value, [n].

    Raises:
        ValueError: if a value is not a number.
    """
    array = np.asarray(values, dtype=float)
    if np.isnan(array).any():
        raise ValueError("a value is not a number")
    places = np.searchsorted(np.asarray(edges, dtype=float), array, side="left")
    return Counts(tuple(np.bincount(places, minlength=len(edges) + 1).tolist()), edges=tuple(edges), unit=unit)


def count_classes(codes: ArrayLike, classes: Sequence[str]) -> Counts:
    """Count rows by the code of their class, int [n]: its position in ``classes``."""
    places = np.asarray(codes, dtype=np.int64)
    return Counts(tuple(np.bincount(places, minlength=len(classes)).tolist()), tuple(classes))


def add(observations: Observations, others: Observations) -> dict[str, Counts]:
    """Add up what was seen in different rows; either may be empty.

    Raises:
        ValueError: if a name has other classes or intervals in one than in the other.
    """
    shared = {name: counts + others[name] for name, counts in observations.items() if name in others}
    return {**observations, **others, **shared}


def to_json(observations: Observations) -> dict[str, Any]:
    """Convert to plain JSON values."""
    return {name: counts.to_json() for name, counts in observations.items()}


def from_json(values: Mapping[str, Any]) -> dict[str, Counts]:
    """Read what :func:`to_json` gives.

    Raises:
        ValueError: if it is something else.
    """
    return {str(name): Counts.from_json(counts) for name, counts in values.items()}
