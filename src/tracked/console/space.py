"""The space of a search: which parameters are varied, and within which bounds.

learning_rate=1e-4..1e-2/log dropout=0..0.6 units=32..256/32 schedule=constant,cosine

Items are separated by blanks. ``low..high`` is a range; behind it, ``/log`` makes proposals uniform in the logarithm,
and ``/STEP`` takes steps from the low end on. ``a,b,c`` are choices. A value is what the parameter itself accepts.
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from tracked.console.dimensions import Choice, Dimension, Range
from tracked.console.parameters import describe_allowed, refusal
from tracked.console.presets import PRESET
from tracked.console.train_parameters import TrainParameters

SPACE = "space"
SYNTAX = "items such as rate=1e-4..1e-2/log units=32..256/32 kind=a,b, separated by blanks"
# Of the parameters of every training, these differ between trials without making their results incomparable.
VARIED = ("patience", "min_delta")


@dataclass(frozen=True)
class Space:
    """The dimensions of a search, in the order in which they are given."""

    dimensions: tuple[Dimension, ...]

    @property
    def text(self) -> str:
        """The space as ``parse_space`` reads it, each value in one spelling."""
        return " ".join(dimension.text for dimension in self.dimensions)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parameters that are varied."""
        return tuple(dimension.name for dimension in self.dimensions)

    @property
    def point_count(self) -> int:
        """The number of points of the grid."""
        return math.prod(dimension.point_count for dimension in self.dimensions)

    def point(self, index: int) -> dict[str, Any]:
        """Give a point of the grid, from 0 on; the last parameter varies fastest."""
        values = {}
        for dimension in reversed(self.dimensions):
            index, place = divmod(index, dimension.point_count)
            values[dimension.name] = dimension.point(place)
        return {name: values[name] for name in self.names}

    def contains(self, values: Mapping[str, Any]) -> bool:
        """Check whether these values are a point of the space: a value for each parameter, and no other."""
        return set(values) == set(self.names) and all(one.contains(values[one.name]) for one in self.dimensions)


def grid_points(space: Space) -> list[dict[str, Any]]:
    """List the grid's points: all choices and steps; of a range without steps, the ends and the middle."""
    return [space.point(index) for index in range(space.point_count)]


def list_searchable(cls: type[TrainParameters]) -> list[str]:
    """List the parameters of a training that a search may vary."""
    common = {*TrainParameters.model_fields, PRESET, *cls.fixed_in_search} - set(VARIED)
    return [name for name in cls.model_fields if name not in common]


def parse_space(text: str, cls: type[TrainParameters]) -> Space:
    """Parse a space.

    Args:
        cls: the parameters of the trainings, whose types and limits hold for each value.

    Raises:
        UserError: one line for the first item that is not allowed.
    """
    found: dict[str, Dimension] = {}
    for item in text.split():
        name, equals, values = item.partition("=")
        if not (equals and name and values):
            raise refusal(SPACE, item, SYNTAX)
        _require_searchable(item, name, cls)
        if name in found:
            raise refusal(SPACE, item, f"{name} once; it already has {found[name].text}")
        found[name] = _parse_dimension(item, name, values, cls.model_fields[name])
    if not found:
        raise refusal(SPACE, text, SYNTAX)
    return Space(tuple(found.values()))


def _require_searchable(item: str, name: str, cls: type[TrainParameters]) -> None:
    allowed = list_searchable(cls)
    if name in allowed:
        return
    if name in cls.model_fields:
        raise refusal(SPACE, item, f"parameters other than {name}, which all trials have in common")
    matches = difflib.get_close_matches(name, allowed, 1)
    hint = f"; did you mean {matches[0]}?" if matches else ""
    raise refusal(SPACE, item, f"a search over {', '.join(allowed)}{hint}")


def _parse_dimension(item: str, name: str, values: str, field: FieldInfo) -> Dimension:
    number = _find_number(field.annotation)
    if number and ".." in values:
        return _parse_range(item, name, values, field, number)
    options = tuple(_parse_value(item, name, text, field) for text in values.split(","))
    if len(options) < 2:
        number_range = f"a range, such as {name}=LOW..HIGH, or " if number else ""
        raise refusal(SPACE, item, f"{number_range}two or more choices, such as {name}=A,B")
    if len({(isinstance(option, bool), option) for option in options}) < len(options):
        raise refusal(SPACE, item, "each choice once")
    return Choice(name, options)


def _parse_range(item: str, name: str, values: str, field: FieldInfo, number: type[int] | type[float]) -> Range:
    ends, slash, scale = values.partition("/")
    first, _, last = ends.partition("..")
    if last.startswith("."):  # a number may begin with a dot, but then the range looks as with a dot too many
        raise refusal(SPACE, item, f"a range with two dots between its ends, such as {name}=0.1..0.5")
    low, high = (_parse_value(item, name, text, field) for text in (first, last))
    if not all(isinstance(end, (int, float)) and math.isfinite(end) for end in (low, high)):
        raise refusal(SPACE, item, "a range from a finite number to another")
    low, high = number(low), number(high)
    if low >= high:
        raise refusal(SPACE, item, "a range from a lower number to a higher one")
    if not slash:
        return Range(name, low, high)
    if scale == "log":
        if low <= 0:
            raise refusal(SPACE, item, "a log scale from a number above 0 on")
        return Range(name, low, high, is_log=True)
    try:
        step = number(scale)
        if math.isfinite(step) and step > 0 and Range(name, low, high, step=step).contains(high):
            return Range(name, low, high, step=step)
    except (ValueError, OverflowError):
        pass
    allowed = f"log, or a step{' of a whole number' if number is int else ''} that leads from {low} to {high}"
    raise refusal(SPACE, item, f"behind / {allowed}")


def _parse_value(item: str, name: str, text: str, field: FieldInfo) -> Any:
    """Parse a value as the parameter itself does."""
    if text:
        try:
            return TypeAdapter(field.rebuild_annotation()).validate_python(text)
        except ValidationError:
            pass
    raise refusal(SPACE, item, f"for {name} {describe_allowed(field)}")


def _find_number(annotation: Any) -> type[int] | type[float] | None:
    """Find whether a parameter takes whole numbers or others; None if it takes no number."""
    if annotation is int or annotation is float:
        return annotation
    if get_origin(annotation) is Literal:
        return None
    return next(filter(None, map(_find_number, get_args(annotation))), None)
