"""The parameters of a search: its own, and those of a training, which hold for all trials."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, create_model, model_validator

from tracked.console import trial_parameters
from tracked.console.errors import UserError
from tracked.console.executors import AUTO, Address, Executor, check_workers
from tracked.console.parameters import Text, refusal
from tracked.console.space import SPACE, SYNTAX, Space, parse_space
from tracked.console.train_parameters import TrainParameters, make_train_parameters
from tracked.experiment import Experiment

MAX_TRIALS = 100_000
_CLASSES: dict[type[TrainParameters], type[Any]] = {}  # by the parameters of a training: making a class takes long


class SearchParameters(TrainParameters):
    """Train with proposed parameters, trial after trial, and register the winner."""

    trials: int = Field(20, ge=1, le=MAX_TRIALS, description="Trainings with proposed parameters")
    workers: int = Field(1, ge=1, le=1024, description="Trials that are trained at the same time")
    sampler: Literal["tpe", "random", "grid"] = Field(
        "tpe", description="How values are proposed: near the best so far, at random, or all points of a grid"
    )
    space: Text = Field(AUTO, description="The parameters that are varied, and their bounds; auto: the experiment's",
        json_schema_extra={"allowed": f"auto, or {SYNTAX}"})  # fmt: skip
    prune: Literal["none", "median", "asha"] = Field(
        "none", description="Which trials are given up early: none, those worse than the median of others, or all but "
        "the best part of those that came as far"
    )  # fmt: skip
    confirm: int = Field(3, ge=0, le=20, description="New seeds with which the best trials and the defaults are "
        "trained before one is registered; 0: the best trial is registered, its lead unconfirmed")  # fmt: skip
    keep: int = Field(3, ge=0, le=1000, description="Best trials whose checkpoints are kept")
    executor: Executor = Field("processes", description="Where trials are trained")
    address: Address = AUTO
    resume: Text = Field("no", description="Whether to resume an unfinished search: the experiment's newest, or the "
        "run with this id", json_schema_extra={"allowed": "no, latest or a run's id"})  # fmt: skip

    trains: ClassVar[type[TrainParameters]] = TrainParameters  # the experiment's parameters of a training
    default_space: ClassVar[str] = ""

    _space: Space = Space(())

    @property
    def search_space(self) -> Space:
        """The parsed space, the experiment's in place of auto."""
        return self._space

    @property
    def training_given(self) -> dict[str, Any]:
        """The given parameters of a training, without the search's own; those that its preset sets are not given."""
        return {name: value for name, value in self.given.items() if name in self.trains.model_fields}

    @property
    def run_name(self) -> str:
        """The run's name: trials, sampler, seed, and every other parameter with another value than its default."""
        first, last = ("trials", "sampler", "seed"), (*self.last_in_run_name, SPACE)
        left_out = {*first, *last, *self.omitted_from_run_name, "workers", "executor", "address", "resume"}
        fields, values = type(self).model_fields, self.short_values()
        order = (*first, *(name for name in fields if name not in left_out), *last)
        given = {name for name in fields if getattr(self, name) != fields[name].default} - self._from_preset
        return " ".join(["search", *(f"{name}={values[name]}" for name in order if name in first or name in given)])

    def short_values(self) -> dict[str, str]:
        """Format the values for a run's name: of a space, the parameters that it varies."""
        return super().short_values() | {SPACE: ",".join(self._space.names)}

    @model_validator(mode="after")
    def _space_is_allowed(self) -> Self:
        text = self.default_space if self.space == AUTO else self.space
        if not text and self.resume != "no":
            return self  # the resumed search's run has its space
        if not text:
            raise ValueError(refusal(SPACE, self.space, f"{SYNTAX}; the experiment has no space of its own"))
        try:
            self._space = parse_space(text, self.trains)
        except UserError as error:
            raise ValueError(error) from None
        given = self.training_given
        for name in self._space.names:
            field = self.trains.model_fields[name]
            if name in given and given[name] != field.default:
                raise ValueError(refusal(name, given[name], f"no value where the space varies {name}"))
        points = self._space.point_count
        if self.sampler == "grid" and self.trials > points:
            raise ValueError(refusal("trials", self.trials, f"at most {points}, the points of the grid"))
        if self.sampler == "grid" and points > MAX_TRIALS:
            raise ValueError(refusal(SPACE, text, f"at most {MAX_TRIALS} points with sampler=grid, not {points}"))
        return self

    @model_validator(mode="after")
    def _workers_have_cores(self) -> Self:
        check_workers(self.workers, self.executor, self.address)
        return self

    @model_validator(mode="after")
    def _trials_are_allowed(self) -> Self:
        """Apply the experiment's own checks of several parameters, at the corners of the space."""
        given, preset = self.training_given, self.preset_values
        if problem := trial_parameters.explain_refused(self._space, given, preset, self.trains):
            raise ValueError(refusal(SPACE, self._space.text, problem))
        return self


def make_search_parameters(experiment: Experiment) -> type[SearchParameters]:
    """Make the parameters of a search: those of a training, then the search's own.

    Raises:
        UserError: if the experiment has a parameter with a name of the search's own, or a space that is not allowed.
    """
    training = make_train_parameters(experiment)
    if training in _CLASSES:
        return _CLASSES[training]
    own = [name for name in SearchParameters.model_fields if name not in TrainParameters.model_fields]
    if taken := [name for name in own if name in training.model_fields]:
        raise UserError(
            f"experiment {experiment.name!r}: {taken[0]} is a parameter of a search; rename the experiment's"
        )
    if experiment.space:
        try:
            parse_space(experiment.space, training)
        except UserError as error:
            raise UserError(f"experiment {experiment.name!r}: {error}") from None
    fields: dict[str, Any] = {name: (field.annotation, field) for name, field in training.model_fields.items()}
    seed = fields["seed"][1]
    meaning = seed.description or ""
    described = f"Seed of the proposals, and of each trial: {meaning[:1].lower()}{meaning[1:]}"
    fields["seed"] = seed.annotation, type(seed).merge_field_infos(seed, description=described)
    fields |= {
        name: (SearchParameters.model_fields[name].annotation, SearchParameters.model_fields[name]) for name in own
    }
    bases: Any = (SearchParameters, training)
    cls: type[SearchParameters] = create_model(
        "SearchParameters", __base__=bases, __doc__=SearchParameters.__doc__, **fields
    )
    cls.trains, cls.default_space = training, experiment.space
    _CLASSES[training] = cls
    return cls


def make_trial_parameters(
    experiment: Experiment, command: SearchParameters, values: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Make what a trial's parameters are validated from, so that the proposed values win over a preset's.

    Returns:
        the given values and the context, as ``make_train_parameters(experiment).model_validate(given,
        context=context)`` takes them. JSON keeps both.
    """
    assert command.trains is make_train_parameters(experiment)
    return trial_parameters.combine(command.training_given, command.preset_values, values)
