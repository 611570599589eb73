"""The parameters of a training whose trainee has a learning rate: the rate, its schedule, its warm-up."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tracked.console.parameters import MAX_INT, Finite, refusal
from tracked.console.train_parameters import TrainParameters

AUTO = "auto"  # the rate that a range test suggests
Rate = Annotated[Finite, Field(ge=1e-30, le=1e30)] | Literal["auto"]
ALLOWED_RATES = "auto, or a finite number from 1e-30 to 1e+30"
LOWEST_RATE, HIGHEST_RATE, STEPS = 1e-6, 10.0, 500  # of a range test
USED_BY = {
    "decay_factor": ("plateau", "exponential", "cosine"), "decay_epochs": ("exponential", "cosine"),
    "decay_patience": ("plateau",),
}  # fmt: skip


class RateParameters(TrainParameters):
    """Train until the monitored metric no longer improves, and register the best checkpoint."""

    learning_rate: Rate = Field(0.001, description="Adam's step size; auto: as find_rate suggests",
        json_schema_extra={"allowed": ALLOWED_RATES})  # fmt: skip
    schedule: Literal["constant", "plateau", "exponential", "cosine"] = Field(
        "constant",
        description="How the learning rate falls: not at all; at each plateau of the monitor; by decay_factor every "
        "decay_epochs; along half a cosine to decay_factor of it within decay_epochs",
    )
    decay_factor: Finite = Field(
        0.1, gt=0, lt=1, description="What the learning rate is multiplied by at a plateau, or within decay_epochs"
    )
    decay_epochs: int = Field(
        10, ge=1, le=MAX_INT, description="Epochs in which an exponential or cosine schedule falls by decay_factor"
    )
    decay_patience: int = Field(
        5, ge=1, le=MAX_INT, description="Epochs without an improvement before schedule=plateau cuts the learning rate"
    )
    warmup_steps: int = Field(
        0, ge=0, le=MAX_INT, description="First steps, in which the learning rate rises from 0 in a straight line"
    )

    _is_suggested: bool = False  # whether the learning rate is a number in place of auto

    def at_constant(self, rate: float) -> Self:
        """Copy the parameters with a constant learning rate, so that each step can be given its own."""
        return self.model_copy(update={"learning_rate": rate, "schedule": "constant", "warmup_steps": 0})

    def with_suggested(self, rate: float) -> Self:
        """Copy the parameters with a number in place of auto; they are logged with auto all the same."""
        copy = self.model_copy(update={"learning_rate": rate})
        copy._is_suggested = True
        return copy

    def as_logged(self) -> dict[str, str]:
        """Format the values as given, else the defaults; auto stays auto."""
        return super().as_logged() | ({"learning_rate": AUTO} if self._is_suggested else {})

    def list_idle(self) -> list[str]:
        """List the parameters of other schedules that differ from their defaults."""
        values, fields = self.as_strings(), type(self).model_fields
        idle = [name for name, schedules in USED_BY.items() if self.schedule not in schedules]
        changed = [name for name in idle if getattr(self, name) != fields[name].default]
        return [f"{name}={values[name]} with schedule={self.schedule}" for name in changed]

    @model_validator(mode="after")
    def _plateau_before_the_stop(self) -> Self:
        if self.schedule == "plateau" and self.decay_patience >= self.patience:
            allowed = f"less than patience, which is {self.patience}, with schedule=plateau"
            raise ValueError(refusal("decay_patience", self.decay_patience, allowed))
        return self
