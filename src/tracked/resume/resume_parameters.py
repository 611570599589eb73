"""The parameters of a training that goes on: those of its run, and what may be raised."""

import os
from collections.abc import Mapping
from functools import partial

from pydantic import ValidationError

from tracked.console.lines import warn
from tracked.console.parameters import refusal, spelled
from tracked.console.train_parameters import TrainCommand, TrainParameters, of_training
from tracked.experiment import Experiment
from tracked.resume import training_status
from tracked.runs import queries, versions
from tracked.runs.connection import refuses
from tracked.runs.outbox import persist
from tracked.runs.queries import Recorded

MAY_BE_RAISED = ("epochs", "patience")


def recorded(owner: Experiment, run: Recorded, asked: Mapping[str, object] | None = None) -> TrainParameters:
    """The parameters that a training has, with what it has been raised to.

    Args:
        owner: the experiment that it is of.
        asked: values of those that it has not recorded.

    Raises:
        UserError: if they are none of this project's.
    """
    cls = of_training(owner)
    unknown = sorted(set(training_status.launch(run).get("parameters", {})) - set(cls.model_fields))
    if unknown:
        allowed = f"a training with this experiment's parameters; this one has {unknown[0]!r} as well"
        raise refusal("resume", run.info.run_id, allowed)
    found = (training_status.launch(run).get("parameters") or queries.parameters(run)) | queries.raised(run)
    found = {name: value for name, value in found.items() if name in cls.model_fields}
    try:
        return cls.model_validate(dict(asked or {}) | found)
    except ValidationError as error:
        problem = error.errors()[0]
        told = ": ".join([*map(str, problem["loc"]), problem["msg"]])
        raise refusal("resume", run.info.run_id, f"a training with parameters of this project ({told})") from None


def merged(owner: Experiment, run: Recorded, command: TrainCommand) -> tuple[TrainParameters, dict[str, int]]:
    """The run's parameters, with what is asked for where the run has none; and what some of them are raised to.

    ``mlflow run`` passes every default: that one is given cannot be told from that it is not, and counts as not given.

    Raises:
        UserError: if a parameter would have to change.
        RunFailed: if the store keeps failing.
    """
    defaults, run_id = of_training(owner).model_fields, run.info.run_id
    given = {name: getattr(command, name) for name in command.model_fields_set & set(defaults)}
    asked = {name: value for name, value in given.items() if value != defaults[name].default}
    former = recorded(owner, run, asked)
    if "MLFLOW_RUN_ID" not in os.environ:
        for name in sorted(set(given) - set(asked)):
            if getattr(former, name) != given[name]:
                value = spelled(getattr(former, name))
                warn(f"{name}: {spelled(given[name])} is the default and counts as not given; the run has {value}")
    raised: dict[str, int] = {}
    for name, value in asked.items():
        before = getattr(former, name)
        if name in MAY_BE_RAISED and value > before:
            raised[name] = value
        elif value != before:
            more = " or more" if name in MAY_BE_RAISED else ""
            raise refusal(name, spelled(value), f"{spelled(before)}{more}, as run {run_id} has it")
    registered = persist("looking for a version", partial(versions.versions, run_id), refuses) if raised else []
    if registered:
        first = next(iter(raised))
        raise refusal(
            first, raised[first], f"{spelled(getattr(former, first))}, since run {run_id} has a version already"
        )
    return former, raised
