"""The parameters of a resumed training: its run's, some of them extended."""

from collections.abc import Mapping
from functools import partial

from pydantic import ValidationError

from tracked.console.errors import UserError
from tracked.console.lines import warn
from tracked.console.parameters import as_string, refusal
from tracked.console.train_parameters import TrainCommand, TrainParameters, make_train_parameters
from tracked.experiment import Experiment
from tracked.runs import run_parameters, versions
from tracked.runs.connection import mlflow_run_id
from tracked.runs.outbox import with_retries
from tracked.runs.queries import MlflowRun

EXTENDABLE = ("epochs", "patience")
RENAMABLE = "model_name"  # as long as nothing is registered: the right to the former name may be gone


def recorded_parameters(
    owner: Experiment, run: MlflowRun, requested: Mapping[str, object] | None = None
) -> TrainParameters:
    """Read a training's parameters, with their extended values and the preset's values that it began with.

    Args:
        owner: the training's experiment.
        requested: values for parameters that the run has not recorded; of a run that an attempt has started, these are
            parameters that came with a later version, and have their defaults.

    Raises:
        UserError: if they are not valid parameters of the experiment.
    """
    cls = make_train_parameters(owner)
    launched = run_parameters.read_launch(run).get("parameters", {})
    unknown = sorted(set(launched) - set(cls.model_fields))
    if unknown:
        raise UserError(
            f"resume: run {run.info.run_id} has the parameter {unknown[0]!r}, which experiment {owner.name!r} lacks; "
            "start a new training without --resume"
        )
    values = run_parameters.read_given(run)
    recorded = {name: value for name, value in values.items() if name in cls.model_fields}
    try:
        of_preset = run_parameters.read_preset_values(run)  # its preset may set others by now
        # What a training's version did not know, it did not use; a run that nothing has begun takes what is requested.
        given = recorded if launched else dict(requested or {}) | recorded
        return cls.model_validate(given, context=of_preset)
    except ValidationError as error:
        first = error.errors()[0]
        problem = ": ".join([*map(str, first["loc"]), first["msg"]])
        raise UserError(
            f"resume: run {run.info.run_id} has an invalid parameter ({problem}); start a new training without --resume"
        ) from None


def merge_parameters(
    owner: Experiment, run: MlflowRun, command: TrainCommand
) -> tuple[TrainParameters, dict[str, int | str]]:
    """Merge the run's parameters with the command's; returns the run's, completed, and the extended values.

    Another ``model_name`` counts as extended.

    A value equal to its default counts as not given, since ``mlflow run`` passes every default; a model's name counts
    on a command line.

    Raises:
        UserError: if a parameter would have to change.
        RunFailed: if the store keeps failing.
    """
    defaults, run_id = make_train_parameters(owner).model_fields, run.info.run_id
    given = {name: value for name, value in command.given.items() if name in defaults}
    counted = () if mlflow_run_id() else (RENAMABLE,)
    requested = {name: value for name, value in given.items() if name in counted or value != defaults[name].default}
    recorded = recorded_parameters(owner, run, requested)
    warn_of_uncounted(given, requested, recorded)
    extended: dict[str, int | str] = {}
    for name, value in requested.items():
        former = getattr(recorded, name)
        if (name in EXTENDABLE and value > former) or (name == RENAMABLE and value != former):
            extended[name] = value
        elif value != former:
            more = " or more" if name in EXTENDABLE else ""
            raise refusal(name, as_string(value), f"{as_string(former)}{more}, as run {run_id} has it")
    registered = with_retries("finding model versions", partial(versions.find_versions, run_id)) if extended else []
    if registered:
        first = next(iter(extended))
        former = as_string(getattr(recorded, first))
        raise refusal(first, extended[first], f"{former}, since run {run_id} has a registered version")
    return recorded, extended


def warn_of_uncounted(given: Mapping[str, object], requested: Mapping[str, object], recorded: TrainParameters) -> None:
    """Warn of each given default that does not count, where the run has another value.

    Args:
        requested: the given values that count.
    """
    if mlflow_run_id():
        return  # it passes every default
    for name in sorted(set(given) - set(requested)):
        if getattr(recorded, name) != given[name]:
            default, value = as_string(given[name]), as_string(getattr(recorded, name))
            warn(f"{name}: the default, {default}, counts as not given; the run's value, {value}, is used")
