"""Parse and check parameters: a mistake is one line, printed before anything slow is imported.

python src/train.py --patience -1
error: patience: '-1' is not allowed; allowed: a whole number from 0 to 2147483647
"""

import argparse
import difflib
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Annotated, Any, Literal, NoReturn, Self, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.fields import FieldInfo

from tracked.console.errors import UserError
from tracked.console.secrets import hide_known


def _switch(value: Any) -> bool:
    """Accept true and false in one spelling only: later runs compare the logged value."""
    if value in (True, "true"):
        return True
    if value in (False, "false"):
        return False
    raise ValueError("true or false")


Text = Annotated[str, StringConstraints(min_length=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Switch = Annotated[bool, BeforeValidator(_switch)]
MAX_INT = 2**31 - 1  # the largest 32-bit integer
MAX_LISTED = 10_000  # numbers in a list


class Parameters(BaseModel):
    """Parameters of one verb, frozen once checked."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @classmethod
    def parse(cls, argv: Sequence[str]) -> Self:
        """Read ``--name value`` and ``--name=value`` pairs.

        Raises:
            UserError: one line for the first unknown parameter or value that is not allowed, or that holds a secret.
        """
        # The words before the parameters: a script, and its verb where it has several.
        command = [PurePath(sys.argv[0]).name, *sys.argv[1 : len(sys.argv) - len(argv)]]
        parser = _Parser(cls.model_fields, prog=" ".join(command), description=cls.__doc__, epilog=cls.describe_more())
        for name, field in cls.model_fields.items():
            text = f"{field.description or name} ({describe_allowed(field)}; default {as_string(field.default)})"
            parser.add_argument(f"--{name}", default=argparse.SUPPRESS, metavar="VALUE", help=text.replace("%", "%%"))
        given = vars(parser.parse_args(_join_values(argv, cls.model_fields)))
        for name, value in given.items():
            if value != as_string(cls.model_fields[name].default):
                require_no_secret(name, value)
        try:
            return cls(**given)
        except ValidationError as error:
            first = error.errors()[0]
            if not first["loc"]:
                raise UserError(cls.explain(given, first["msg"].removeprefix("Value error, "))) from None
            name = str(first["loc"][0])
            raise refusal(name, first["input"], describe_allowed(cls.model_fields[name])) from None

    @classmethod
    def describe_more(cls) -> str:
        """Describe for ``--help`` what the parameters' own descriptions leave out."""
        return ""

    @classmethod
    def explain(cls, given: Mapping[str, Any], message: str) -> str:
        """Add to a refusal of these values together what the values themselves do not show."""
        return message

    def as_strings(self) -> dict[str, str]:
        """Format all values as MLproject does, so that runs started either way log the same parameters."""
        return {name: as_string(value) for name, value in self}


def parse_whole_numbers(text: str) -> list[int]:
    """Parse a whole number from 0, or a range such as 1-30.

    Raises:
        ValueError: if the text is neither.
    """
    first, dash, last = text.partition("-")
    if not (first.isdecimal() and (last.isdecimal() or not dash)):
        raise ValueError("a whole number or a range")
    low, high = int(first), int(last or first)
    if not low <= high < min(low + MAX_LISTED, MAX_INT):
        raise ValueError("a range that goes up")
    return list(range(low, high + 1))


def parse_number(text: str) -> list[float]:
    """Parse a finite number from 0.

    Raises:
        ValueError: if the text is another.
    """
    value = float(text)
    if not (math.isfinite(value) and value >= 0):
        raise ValueError("a finite number from 0")
    return [value]


def parse_numbers(text: str, parse_item: Callable[[str], list[Any]]) -> list[Any]:
    """Parse a list such as 1,2,5-10 into distinct numbers in ascending order.

    Args:
        parse_item: parses the text between two commas.

    Raises:
        ValueError: if an item cannot be parsed, or the list holds more than ``MAX_LISTED`` numbers.
    """
    numbers = sorted({value for item in text.split(",") for value in parse_item(item.strip())})
    if len(numbers) > MAX_LISTED:
        raise ValueError("too many numbers")
    return numbers


def make_list_check(parse_item: Callable[[str], list[Any]]) -> Callable[[str], str]:
    """Make the check of a parameter that is auto or a list of numbers; its text stays unchanged."""

    def check(text: str) -> str:
        if text != "auto":
            parse_numbers(text, parse_item)
        return text

    return check


def refusal(name: str, value: object, allowed: str) -> UserError:
    """Make the error for a parameter's value that is not allowed."""
    return UserError(f"{name}: {str(value)!r} is not allowed; allowed: {allowed}")


def require_no_secret(name: str, value: str) -> None:
    """Refuse a value that holds a password or a token.

    Raises:
        UserError: without the secret.
    """
    if (shown := hide_known(value)) != value:
        raise UserError(
            f"{name}: {shown!r} holds a password or a token, which the list of processes and the run would show; "
            "allowed: a value without one; mlflow run has stored it already: delete the run that it made"
        )


def describe_error(error: ValidationError) -> str:
    """Describe the first problem of parameters that are not allowed."""
    first = error.errors()[0]
    return ": ".join([*map(str, first["loc"]), first["msg"].removeprefix("Value error, ")])


def as_string(value: Any) -> str:
    """Format a value as in MLproject and on the command line: as Python prints it, but true and false in lower case."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def describe_allowed(field: FieldInfo) -> str:
    """Describe a parameter's allowed values from its type and range."""
    if isinstance(field.json_schema_extra, dict) and "allowed" in field.json_schema_extra:
        return str(field.json_schema_extra["allowed"])
    if get_origin(field.annotation) is Literal:
        *first, last = map(str, get_args(field.annotation))
        return " or ".join(filter(None, [", ".join(first), last]))
    if field.annotation is bool:
        return "true or false"
    bounds = {
        name: getattr(bound, name)
        for bound in field.metadata
        for name in ("ge", "gt", "le", "lt")
        if hasattr(bound, name)
    }
    if field.annotation is int and set(bounds) == {"ge", "le"}:
        return f"a whole number from {bounds['ge']} to {bounds['le']}"
    kinds: dict[Any, str] = {int: "a whole number", float: "a finite number", str: "a text"}
    kind = kinds.get(field.annotation or str, str(field.annotation).replace("typing.", ""))
    signs = {"ge": "{} or more", "gt": "more than {}", "le": "{} or less", "lt": "less than {}"}
    return ", ".join([kind, *(signs[name].format(bound) for name, bound in bounds.items())])


def _join_values(argv: Sequence[str], names: dict[str, FieldInfo]) -> list[str]:
    """Join ``--name value`` to ``--name=value``: argparse would take a value such as -inf for a flag."""
    joined: list[str] = []
    rest = iter(argv)
    for word in rest:
        value = next(rest, None) if word.removeprefix("--") in names and word.startswith("--") else None
        joined.append(word if value is None else f"{word}={value}")
    return joined


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line without usage text."""

    def __init__(self, names: dict[str, FieldInfo], **kwargs: Any) -> None:
        super().__init__(allow_abbrev=False, **kwargs)
        self._names = list(names)

    def error(self, message: str) -> NoReturn:
        raise UserError(message.removeprefix("argument --"))

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        known, unknown = self.parse_known_args(args, namespace)
        if unknown:
            name, _, value = " ".join(unknown[:2]).removeprefix("--").replace(" ", "=", 1).partition("=")
            matches = difflib.get_close_matches(name, self._names, 1)
            hint = f"; did you mean {matches[0]}?" if matches else ""
            given = f" (given {value!r})" if value else ""
            raise UserError(f"{name}: unknown parameter{given}; allowed: {', '.join(self._names)}{hint}")
        return known
