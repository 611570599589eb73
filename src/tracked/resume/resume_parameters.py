"""The parameters of a training that goes on: those of its run, and what may be raised."""

import os
from collections.abc import Mapping
from functools import partial

from pydantic import ValidationError

from tracked.console.lines import warn
from tracked.console.parameters import as_string, refusal
from tracked.console.train_parameters import TrainCommand, TrainParameters, make_train_parameters
from tracked.experiment import Experiment
from tracked.resume import training_status
from tracked.runs import queries, versions
from tracked.runs.outbox import with_retries
from tracked.runs.queries import MlflowRun

EXTENDABLE = ("epochs", "patience")


def recorded_parameters(
    owner: Experiment, run: MlflowRun, asked: Mapping[str, object] | None = None
) -> TrainParameters:
    """The parameters that a training has, with what it has been raised to.

    Args:
        owner: the experiment that it is of.
        asked: values of those that it has not recorded.

    Raises:
        UserError: if they are none of this project's.
    """
    cls = make_train_parameters(owner)
    unknown = sorted(set(training_status.read_launch(run).get("parameters", {})) - set(cls.model_fields))
    if unknown:
        allowed = f"a training with this experiment's parameters; this one has {unknown[0]!r} as well"
        raise refusal("resume", run.info.run_id, allowed)
    found = (
        training_status.read_launch(run).get("parameters") or queries.read_parameters(run)
    ) | queries.read_extended(run)
    found = {name: value for name, value in found.items() if name in cls.model_fields}
    try:
        return cls.model_validate(dict(asked or {}) | found)
    except ValidationError as error:
        problem = error.errors()[0]
        told = ": ".join([*map(str, problem["loc"]), problem["msg"]])
        raise refusal("resume", run.info.run_id, f"a training with parameters of this project ({told})") from None


def merge_parameters(
    owner: Experiment, run: MlflowRun, command: TrainCommand
) -> tuple[TrainParameters, dict[str, int]]:
    """The run's parameters, with what is asked for where the run has none; and what some of them are raised to.

    ``mlflow run`` passes every default: that one is given cannot be told from that it is not, and counts as not given.

    Raises:
        UserError: if a parameter would have to change.
        RunFailed: if the store keeps failing.
    """
    defaults, run_id = make_train_parameters(owner).model_fields, run.info.run_id
    given = {name: getattr(command, name) for name in command.model_fields_set & set(defaults)}
    asked = {name: value for name, value in given.items() if value != defaults[name].default}
    former = recorded_parameters(owner, run, asked)
    if "MLFLOW_RUN_ID" not in os.environ:
        for name in sorted(set(given) - set(asked)):
            if getattr(former, name) != given[name]:
                value = as_string(getattr(former, name))
                warn(f"{name}: {as_string(given[name])} is the default and counts as not given; the run has {value}")
    extended: dict[str, int] = {}
    for name, value in asked.items():
        before = getattr(former, name)
        if name in EXTENDABLE and value > before:
            extended[name] = value
        elif value != before:
            more = " or more" if name in EXTENDABLE else ""
            raise refusal(name, as_string(value), f"{as_string(before)}{more}, as run {run_id} has it")
    registered = with_retries("looking for a version", partial(versions.find_versions, run_id)) if extended else []
    if registered:
        first = next(iter(extended))
        raise refusal(
            first, extended[first], f"{as_string(getattr(former, first))}, since run {run_id} has a version already"
        )
    return former, extended
