"""The parameters of find_rate: those that data and network are made with, and the range of the learning rate."""

from typing import Any, ClassVar, Self

from pydantic import Field, ValidationError, create_model, model_validator

from tracked.console.errors import UserError
from tracked.console.parameters import Finite, Parameters, describe_allowed, refusal
from tracked.console.rate_parameters import HIGHEST_RATE, LOWEST_RATE, STEPS, RateParameters
from tracked.console.train_parameters import make_train_parameters
from tracked.experiment import Experiment

MAX_STEPS = 100_000


class FindRateParameters(Parameters):
    """Train for a few hundred steps at growing learning rates, and suggest one; nothing is registered."""

    lowest_rate: Finite = Field(LOWEST_RATE, ge=1e-30, le=1e30, description="Learning rate of the first step")
    highest_rate: Finite = Field(HIGHEST_RATE, ge=1e-30, le=1e30, description="Learning rate of the last step")
    steps: int = Field(STEPS, ge=50, le=MAX_STEPS, description="Steps, each at a learning rate higher by the same "
        "factor; where an epoch has fewer, the next epoch's follow")  # fmt: skip

    trains: ClassVar[type[RateParameters]] = RateParameters  # the experiment's parameters of a training

    @property
    def training(self) -> RateParameters:
        """The parameters of the training whose first steps are taken."""
        given = {name: getattr(self, name) for name in self.model_fields_set if name in self.trains.model_fields}
        return self.trains(**given).at_constant(self.lowest_rate)

    def describe_preset(self) -> str:
        """Describe the values that the training's preset has set among these parameters; empty if there are none."""
        training = self.training
        as_logged, as_used = training.as_logged(), training.as_strings()
        set_by = [name for name in type(self).model_fields if as_logged.get(name) != as_used.get(name)]
        return ", ".join(f"{name} {as_used[name]}" for name in set_by)

    @property
    def run_name(self) -> str:
        """The run's name: the seed and every parameter that differs from its default."""
        training, fields = self.training, type(self).model_fields
        values = self.as_strings() | training.short_values()
        shown = [name for name in fields if name == "seed" or getattr(self, name) != fields[name].default]
        words = (f"{name}={values[name]}" for name in shown if name not in training.omitted_from_run_name)
        return " ".join(["find_rate", *words])

    @model_validator(mode="after")
    def _range_goes_up(self) -> Self:
        if self.lowest_rate >= self.highest_rate:
            allowed = f"less than highest_rate, which is {self.highest_rate}"
            raise ValueError(refusal("lowest_rate", self.lowest_rate, allowed))
        return self

    @model_validator(mode="after")
    def _training_is_allowed(self) -> Self:
        """Apply the experiment's own checks of several parameters."""
        try:
            assert self.training
        except ValidationError as error:
            first = error.errors()[0]
            if not first["loc"]:
                raise ValueError(first["msg"].removeprefix("Value error, ")) from None
            name = str(first["loc"][0])
            raise ValueError(refusal(name, first["input"], describe_allowed(self.trains.model_fields[name]))) from None
        return self


def make_find_rate_parameters(experiment: Experiment) -> type[FindRateParameters]:
    """Make the parameters of find_rate: the range, and those of a training that data and network are made with.

    Left out are those of when a training ends, how its rate falls and what is stored of it.

    Raises:
        UserError: if the experiment's parameters have no learning rate.
    """
    training = make_train_parameters(experiment)
    if not issubclass(training, RateParameters):
        raise UserError(
            f"experiment {experiment.name!r} has no learning rate to find: its Parameters is not a subclass of "
            "RateParameters; make it one"
        )
    left_out = {*RateParameters.model_fields, experiment.inputs_switch} - {"seed"}
    fields: dict[str, Any] = {
        name: (field.annotation, field) for name, field in training.model_fields.items() if name not in left_out
    }
    cls: type[FindRateParameters] = create_model(
        "FindRateParameters", __base__=FindRateParameters, __doc__=FindRateParameters.__doc__, **fields
    )
    cls.trains = training
    return cls
