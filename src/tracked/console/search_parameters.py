"""The parameters of a search: its own, and all of a training, which hold for every trial."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, create_model

from tracked.console.parameters import Text
from tracked.console.space import Space, parse_space
from tracked.console.train_parameters import TrainParameters, make_train_parameters
from tracked.experiment import Experiment


class SearchParameters(TrainParameters):
    """Search."""

    trials: int = Field(20, ge=1, le=100000)
    workers: int = Field(1, ge=1)
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    space: Text = "auto"
    prune: Literal["none", "median", "asha"] = "none"
    confirm: int = Field(3, ge=0, le=20)
    keep: int = Field(3, ge=0, le=1000)
    executor: Literal["processes", "ray"] = "processes"
    address: Text = "auto"
    resume: Text = "no"

    trains: ClassVar[type[TrainParameters]] = TrainParameters
    default_space: ClassVar[str] = ""

    @property
    def parsed_space(self) -> Space:
        return parse_space(self.default_space if self.space == "auto" else self.space, self.trains)

    @property
    def run_name(self) -> str:
        return f"search {self.trials} trials"

    def make_trial_parameters(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
        given = {name: value for name, value in self.given.items() if name in self.trains.model_fields}
        of_preset = {**self.preset_values, **values} if self.preset_values else None
        return {**given, **values}, of_preset


def make_search_parameters(experiment: Experiment) -> type[SearchParameters]:
    base: Any = make_train_parameters(experiment)
    own = {
        name: (f.annotation, f)
        for name, f in SearchParameters.model_fields.items()
        if name not in TrainParameters.model_fields
    }
    cls = create_model("SearchParameters", __base__=(SearchParameters, base), **own)
    cls.trains, cls.default_space = base, getattr(experiment, "space", "") or "learning_rate=1e-3..1e-1/log"
    return cls
