"""Presets: the parameter ``preset`` names a set of values for other parameters.

``mlflow run`` passes every default as if it were given, so a value equal to its default counts as not given; another
value wins over the preset's.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Self, get_args

from pydantic import ModelWrapValidatorHandler, TypeAdapter, ValidationError, ValidationInfo, model_validator

from tracked.console.errors import UserError
from tracked.console.parameters import Parameters, as_string, describe_error

PRESET = "preset"


class PresetParameters(Parameters):
    """Parameters some of which a preset may set; the values are those that the work uses, and all checks hold for them.

    A subclass gives ``presets``, the values of each, and a parameter ``preset`` of their names, whose default is one
    without values.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    _preset_names: tuple[str, ...] = ()  # the parameters that the preset sets
    _from_preset: frozenset[str] = frozenset()  # those of them that no given value wins over

    @property
    def given(self) -> dict[str, Any]:
        """The values as they were given, without those of the preset and the defaults."""
        return {name: self._value_without_preset(name) for name in self.model_fields_set}

    @property
    def preset_values(self) -> dict[str, Any]:
        """The values of all parameters that the preset sets, a given value in place of the preset's."""
        return {name: getattr(self, name) for name in self._preset_names}

    def extend(self, values: Mapping[str, Any]) -> Self:
        """Copy the parameters with other values for some, which win over the preset's."""
        return type(self).model_validate(self.given | dict(values), context=self.preset_values)

    def as_logged(self) -> dict[str, str]:
        """Format the values as given, else the defaults: what ``mlflow run`` logs before the script starts."""
        return {name: as_string(self._value_without_preset(name)) for name in type(self).model_fields}

    def describe_preset(self) -> str:
        """Describe the values that the preset has set in a line; empty if there are none."""
        values = {name: value for name, value in self.preset_values.items() if name in self._from_preset}
        return f"preset {getattr(self, PRESET)}: {format_values(values)}" if values else ""

    def list_uncounted(self) -> list[str]:
        """List in a line each the given defaults that do not count, as the preset sets another value."""
        fields = type(self).model_fields
        return [
            f"{name}: the default, {as_string(fields[name].default)}, counts as not given; preset "
            f"{getattr(self, PRESET)} sets {as_string(getattr(self, name))}"
            for name in self._preset_names
            if name in self._from_preset & self.model_fields_set
        ]

    def _value_without_preset(self, name: str) -> Any:
        return type(self).model_fields[name].default if name in self._from_preset else getattr(self, name)

    @classmethod
    def describe_more(cls) -> str:
        """Describe the values of each preset."""
        return " ".join(f"preset {name}: {format_values(values)}." for name, values in cls.presets.items() if values)

    @classmethod
    def explain(cls, given: Mapping[str, Any], message: str) -> str:
        """Add to a refusal which of the values that it names the preset has set."""
        chosen = _choose(cls, given, _find(cls, given))
        named = {name: value for name, value in chosen.items() if re.search(rf"\b{name}\b", message)}
        return f"{message}; preset {given[PRESET]} sets {format_values(named)}" if named else message

    @model_validator(mode="wrap")
    @classmethod
    def _take_preset(cls, given: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        """Take the preset's values: those of ``presets``, or the validation's context if there is one.

        So a resumed training keeps the values that it began with.
        """
        if not isinstance(given, Mapping):
            return handler(given)
        values: Mapping[str, Any] = _find(cls, given) if info.context is None else info.context
        chosen = _choose(cls, given, values)
        made = handler({**given, **chosen})
        made.model_fields_set.intersection_update(given)
        made._preset_names, made._from_preset = tuple(values), frozenset(chosen)
        return made


def format_values(values: Mapping[str, Any]) -> str:
    """Format values for a line, such as: units 64, share 0.25."""
    return ", ".join(f"{name} {as_string(value)}" for name, value in values.items())


def require_valid(cls: type[PresetParameters], owner: str) -> None:
    """Check an experiment's presets.

    Raises:
        UserError: if ``preset`` does not offer exactly these, the default one sets a value, or another sets one that is
            not allowed.
    """
    field = cls.model_fields.get(PRESET)
    offered = get_args(field.annotation) if field else ()
    if sorted(offered) != sorted(cls.presets):
        raise _fault(owner, f"offers {', '.join(offered) or 'nothing'}", ", ".join(cls.presets) or "nothing")
    if field and cls.presets[field.default]:
        raise _fault(owner, f"is {field.default} by default, which sets values", "a default that sets none")
    for name, values in cls.presets.items():
        if PRESET in values:
            raise _fault(owner, f"{name} sets {PRESET}", "values of other parameters")
        try:
            cls.model_validate({PRESET: name})
        except ValidationError as error:
            problem = describe_error(error)
            raise _fault(owner, f"{name} sets a refused value ({problem})", "values that are accepted") from None


def _find(cls: type[PresetParameters], given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Find the values of the given preset, or of the default one; empty for an unknown one."""
    field = cls.model_fields.get(PRESET)
    return cls.presets.get(str(given.get(PRESET, field.default)), {}) if field else {}


def _choose(cls: type[PresetParameters], given: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Choose those of a preset's values that no given one wins over."""
    return {name: value for name, value in values.items() if name not in given or _is_default(cls, name, given[name])}


def _is_default(cls: type[PresetParameters], name: str, value: Any) -> bool:
    """Check a value in any spelling that the parameter takes, such as 5000.0."""
    field = cls.model_fields.get(name)
    try:
        return field is not None and bool(
            TypeAdapter(field.rebuild_annotation()).validate_python(value) == field.default
        )
    except ValidationError:
        return False


def _fault(owner: str, problem: str, allowed: str) -> UserError:
    return UserError(f"experiment {owner!r}: {PRESET} {problem}; allowed: {allowed}")
