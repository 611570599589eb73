"""The parameters of a trial: those given to the search, a preset's, and the proposed values, which win."""

import itertools
import math
import random
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from tracked.console.parameters import as_string, describe_allowed, refusal
from tracked.console.space import Space
from tracked.console.train_parameters import TrainParameters

MAX_CORNERS = 2000  # of a space that are checked before the first trial; of more, as many at random


def combine(
    given: Mapping[str, Any], preset: Mapping[str, Any], values: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Combine given values with proposed ones; as a context, the preset's values if it sets any.

    A value equal to its default counts as not given, and the preset's would be taken in its place: so the proposed
    values are among those of the context, which stand for the preset's.

    Returns:
        the values and the context that ``TrainParameters.model_validate`` takes.
    """
    return {**given, **values}, {**preset, **values} if preset else None


def explain_refused(
    space: Space, given: Mapping[str, Any], preset: Mapping[str, Any], trains: type[TrainParameters]
) -> str:
    """Explain which of the space's corners the checks of several parameters refuse; empty if they refuse none."""
    for values in _list_corners(space):
        combined, context = combine(given, preset, values)
        try:
            trains.model_validate(combined, context=context)
        except ValidationError as error:
            first = error.errors()[0]
            message = first["msg"].removeprefix("Value error, ")
            if first["loc"]:
                name = str(first["loc"][0])
                message = str(refusal(name, first["input"], describe_allowed(trains.model_fields[name])))
            chosen = " ".join(f"{name}={as_string(value)}" for name, value in values.items())
            return f"values that a training accepts; with {chosen}, {message}"
    return ""


def _list_corners(space: Space) -> list[dict[str, Any]]:
    """List the space's corners: ends of ranges, and all choices; of too many, a sample that is always the same."""
    sides = [dimension.corners for dimension in space.dimensions]
    if math.prod(map(len, sides)) <= MAX_CORNERS:
        return [dict(zip(space.names, corner, strict=True)) for corner in itertools.product(*sides)]
    rng = random.Random(0)
    return [{one.name: rng.choice(one.corners) for one in space.dimensions} for _ in range(MAX_CORNERS)]
