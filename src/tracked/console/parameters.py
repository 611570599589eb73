"""How parameters are read, checked and refused: one line for a mistake, before anything heavy is imported.

python src/train.py --patience -1
error: patience: '-1' is not allowed; allowed: a whole number from 0 to 2147483647
"""

import argparse
import difflib
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Annotated, Any, Literal, NoReturn, Self, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.fields import FieldInfo

from tracked.console.errors import UserError


def _switch(value: Any) -> bool:
    """True or false, in no other spelling: what is recorded is compared by later runs."""
    if value in (True, "true"):
        return True
    if value in (False, "false"):
        return False
    raise ValueError("true or false")


Text = Annotated[str, StringConstraints(min_length=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Switch = Annotated[bool, BeforeValidator(_switch)]
MAX_INT = 2**31 - 1  # what a 32-bit count holds
MAX_LISTED = 10_000  # numbers in a list


class Parameters(BaseModel):
    """Parameters of one verb: frozen once they are checked."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @classmethod
    def parse(cls, argv: Sequence[str]) -> Self:
        """Read ``--name value`` and ``--name=value`` pairs.

        Raises:
            UserError: one line for the first parameter that is unknown, or whose value is not allowed.
        """
        # What is typed before them: a script, and its verb where it has several.
        typed = [PurePath(sys.argv[0]).name, *sys.argv[1 : len(sys.argv) - len(argv)]]
        parser = _Parser(cls.model_fields, prog=" ".join(typed), description=cls.__doc__)
        for name, field in cls.model_fields.items():
            text = f"{field.description or name} ({describe_allowed(field)}; default {as_string(field.default)})"
            parser.add_argument(f"--{name}", default=argparse.SUPPRESS, metavar="VALUE", help=text.replace("%", "%%"))
        try:
            return cls(**vars(parser.parse_args(_joined(argv, cls.model_fields))))
        except ValidationError as error:
            first = error.errors()[0]
            if not first["loc"]:
                raise UserError(first["msg"].removeprefix("Value error, ")) from None
            name = str(first["loc"][0])
            raise refusal(name, first["input"], describe_allowed(cls.model_fields[name])) from None

    def as_strings(self) -> dict[str, str]:
        """Name to value, each spelled as MLproject spells it, so that both ways to start a run record the same."""
        return {name: as_string(value) for name, value in self}


def parse_whole_numbers(text: str) -> list[int]:
    """A whole number from 0, or a range of them such as 1-30.

    Raises:
        ValueError: if it is neither.
    """
    first, dash, last = text.partition("-")
    if not (first.isdecimal() and (last.isdecimal() or not dash)):
        raise ValueError("a whole number or a range")
    low, high = int(first), int(last or first)
    if not low <= high < min(low + MAX_LISTED, MAX_INT):
        raise ValueError("a range that goes up")
    return list(range(low, high + 1))


def parse_number(text: str) -> list[float]:
    """A finite number from 0.

    Raises:
        ValueError: if it is none.
    """
    value = float(text)
    if not (math.isfinite(value) and value >= 0):
        raise ValueError("a finite number from 0")
    return [value]


def parse_numbers(text: str, one: Callable[[str], list[Any]]) -> list[Any]:
    """What a list such as 1,2,5-10 holds: each number once, from the smallest on.

    Args:
        one: reads what stands between two commas.

    Raises:
        ValueError: if that cannot be read, or there are too many numbers.
    """
    found = sorted({value for part in text.split(",") for value in one(part.strip())})
    if len(found) > MAX_LISTED:
        raise ValueError("too many numbers")
    return found


def make_list_check(one: Callable[[str], list[Any]]) -> Callable[[str], str]:
    """A check for a parameter that is auto or a list of numbers; what was written stays as it is."""

    def check(text: str) -> str:
        if text != "auto":
            parse_numbers(text, one)
        return text

    return check


def refusal(name: str, value: object, what_is_allowed: str) -> UserError:
    """The one line that every unusable parameter gets."""
    return UserError(f"{name}: {str(value)!r} is not allowed; allowed: {what_is_allowed}")


def as_string(value: Any) -> str:
    """A value as it stands in MLproject and on the command line: as Python prints it, but true and false."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def describe_allowed(field: FieldInfo) -> str:
    """What a parameter may be, in words, read off its type and range."""
    if isinstance(field.json_schema_extra, dict) and "allowed" in field.json_schema_extra:
        return str(field.json_schema_extra["allowed"])
    if get_origin(field.annotation) is Literal:
        *first, last = map(str, get_args(field.annotation))
        return " or ".join(filter(None, [", ".join(first), last]))
    if field.annotation is bool:
        return "true or false"
    bounds = {
        kind: getattr(bound, kind)
        for bound in field.metadata
        for kind in ("ge", "gt", "le", "lt")
        if hasattr(bound, kind)
    }
    if field.annotation is int and set(bounds) == {"ge", "le"}:
        return f"a whole number from {bounds['ge']} to {bounds['le']}"
    kinds: dict[Any, str] = {int: "a whole number", float: "a finite number", str: "a text"}
    what = kinds.get(field.annotation or str, str(field.annotation).replace("typing.", ""))
    signs = {"ge": "{} or more", "gt": "more than {}", "le": "{} or less", "lt": "less than {}"}
    return ", ".join([what, *(signs[kind].format(bound) for kind, bound in bounds.items())])


def _joined(argv: Sequence[str], names: dict[str, FieldInfo]) -> list[str]:
    """``--name value`` as ``--name=value``, so that argparse does not take a value such as -inf for a flag."""
    joined: list[str] = []
    rest = iter(argv)
    for word in rest:
        value = next(rest, None) if word.removeprefix("--") in names and word.startswith("--") else None
        joined.append(word if value is None else f"{word}={value}")
    return joined


class _Parser(argparse.ArgumentParser):
    """Says its complaints as everything else does: one line, no usage text."""

    def __init__(self, names: dict[str, FieldInfo], **kwargs: Any) -> None:
        super().__init__(allow_abbrev=False, **kwargs)
        self._names = list(names)

    def error(self, message: str) -> NoReturn:
        raise UserError(message.removeprefix("argument --"))

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        known, unknown = self.parse_known_args(args, namespace)
        if unknown:
            name, _, value = " ".join(unknown[:2]).removeprefix("--").replace(" ", "=", 1).partition("=")
            near = difflib.get_close_matches(name, self._names, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            given = f" (given {value!r})" if value else ""
            raise UserError(f"{name}: there is no such parameter{given}; allowed: {', '.join(self._names)}{hint}")
        return known
