"""A run's parameters, as every verb reads them."""

import json
import re
import shlex
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from mlflow.entities import Run

from tracked.console.parameters import as_string
from tracked.console.train_parameters import EVALUATE, TrainParameters
from tracked.runs.schema import ENTRY_POINT, EXTENDED, LAUNCH, PRESET_VALUES, VERB

NUMBERS = {name: field.annotation for name, field in TrainParameters.model_fields.items()}


def read_parameters(run: Run) -> dict[str, str]:
    """Read the parameters that a run uses: as :func:`read_given` reads them, with the values of its preset."""
    of_preset = {name: as_string(value) for name, value in (read_preset_values(run) or {}).items()}
    extended = {name: as_string(value) for name, value in read_extended(run).items()}
    return read_given(run) | of_preset | extended


def read_given(run: Run) -> dict[str, str]:
    """Read the parameters that a run was given, a number in one spelling: of 3.0 for ``patience``, this gives 3.

    Values of the tag ``launch`` come before the run's, and extended ones before both. The quotes that ``mlflow run``
    puts around what a shell would take apart are removed. Of this project's runs, ``evaluate`` is left out: no result
    of a training depends on it.
    """
    values = dict(run.data.params)
    if VERB in run.data.tags:
        values.pop(EVALUATE, None)
    if ENTRY_POINT in run.data.tags:
        for name, value in values.items():
            with suppress(ValueError):
                words = shlex.split(value)
                values[name] = words[0] if len(words) == 1 else value
    values |= read_launch(run).get("parameters", {}) | read_extended(run)
    return {name: _spell(name, as_string(value)) for name, value in values.items()}


def _spell(name: str, value: str) -> str:
    """Spell a parameter of any training as its type is printed; another value stays as it is."""
    with suppress(ValueError, OverflowError):
        number = float(value)
        if NUMBERS.get(name) is float:
            return str(number)
        if NUMBERS.get(name) is int and number.is_integer():
            return str(int(number))
    return value


def format_extended(extended: Mapping[str, int | str], epoch: int) -> str:
    """Format the tag of extended parameters: JSON, with a sentence that earlier versions of this project read."""
    sentence = ", ".join(f"{name} to {value} after epoch {epoch}" for name, value in extended.items())
    return json.dumps({**extended, "sentence": sentence})


def read_extended(run: Run) -> dict[str, int | str]:
    """Read the last value of each parameter that was extended, and the model's name where it was changed."""
    tag = run.data.tags.get(EXTENDED, "")
    try:
        values = json.loads(tag)
    except (ValueError, RecursionError):
        values = {name: int(value) for name, value in re.findall(r"(\w+) to (\d+) after epoch", tag)}  # earlier form
    if not isinstance(values, dict):
        return {}
    return {name: value for name, value in values.items() if type(value) is (str if name == "model_name" else int)}


def read_preset_values(run: Run) -> dict[str, Any] | None:
    """Read the values that a run's training began with for the parameters that its preset sets; None without a tag."""
    try:
        values = json.loads(run.data.tags.get(PRESET_VALUES, ""))
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def read_evaluate(run: Run) -> bool:
    """Read whether a training was to evaluate its version: as its last attempt was told, else as the run was made."""
    return bool(read_launch(run).get(EVALUATE, run.data.params.get(EVALUATE) == "true"))


def read_launch(run: Run) -> dict[str, Any]:
    """Read what the last attempt noted: parameters, the data's source, process, host, the folder of run folders."""
    try:
        launch = json.loads(run.data.tags.get(LAUNCH, "{}"))
    except (ValueError, RecursionError):
        return {}
    kinds: dict[str, type] = dict.fromkeys(("snapshots", "source", "host", "since", "start", "system", "token"), str)
    kinds |= {"parameters": dict, "pid": int, EVALUATE: bool}
    fits = isinstance(launch, dict) and all(type(launch.get(name, kind())) is kind for name, kind in kinds.items())
    return launch if fits else {}
