"""The parameters of a training: those of any, and those that an experiment adds."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, create_model, model_validator

from tracked.console.metric_direction import infer_mode
from tracked.console.parameters import (
    MAX_INT,
    Finite,
    Parameters,
    Text,
    refusal,
)
from tracked.experiment import Experiment

MODEL_NAME = r"[^/:@'\"\s]*[^/:@'\"\s.][^/:@'\"\s]*"
MAX_NAME = 256  # characters that a registry's database holds
ModelName = Annotated[str, StringConstraints(pattern=f"^{MODEL_NAME}$", max_length=MAX_NAME),
    Field(description="Name in the model registry", json_schema_extra={"allowed":
    "a name of at most 256 characters without blanks, quotes and /, : or @, not of dots alone"})]  # fmt: skip
Mode = Literal["min", "max"]
_COMPLETED: dict[tuple[object, ...], type[Any]] = {}  # by the experiment: making one takes milliseconds


class TrainParameters(Parameters):
    """Train until the monitored metric no longer improves, and register the best checkpoint."""

    patience: int = Field(30, ge=0, le=MAX_INT, description="Epochs without an improvement before training stops")
    min_delta: Finite = Field(0.0001, ge=0, description="Smallest change of the monitor that is an improvement")
    monitor: Text = Field("val_loss", description="Metric that early stopping and the checkpoint watch")
    mode: Literal["min", "max", "auto"] = Field("min", description="Whether less or more of the monitor is better")
    epochs: int = Field(200000, ge=1, le=MAX_INT, description="Epochs at most")
    seed: int = Field(
        7, ge=0, le=2**32 - 1, description="Fixes the initial weights, the dropout and each epoch's order"
    )
    model_name: ModelName = "model"

    directions: ClassVar[Mapping[str, Mode]] = {}  # of the metrics that the experiment declares
    omitted_from_run_name: ClassVar[tuple[str, ...]] = ("model_name",)  # parameters that no run is named after
    last_in_run_name: ClassVar[tuple[str, ...]] = ()

    @property
    def direction(self) -> Mode:
        """``mode`` with ``auto`` resolved: as the experiment declares the metric, else by Keras's rule for its name."""
        return "max" if self._better == "max" else "min"

    @property
    def _better(self) -> Mode | None:
        return self.directions.get(self.monitor.removeprefix("val_")) or infer_mode(self.monitor)

    @property
    def run_name(self) -> str:
        """What is particular about a training, as its run's name: ``patience=30 seed=7`` and what is not a default."""
        first, fields, values = ("patience", "seed"), type(self).model_fields, self.short_values()
        # Where the UI cuts a name off, what runs are often compared by is still there.
        others = (name for name in fields if name not in (*first, *self.last_in_run_name, *self.omitted_from_run_name))
        order = (*first, *others, *self.last_in_run_name)
        told = (name for name in order if name in first or getattr(self, name) != fields[name].default)
        return " ".join(f"{name}={values[name]}" for name in told)

    def short_values(self) -> dict[str, str]:
        """Values as they stand in a run's name."""
        return self.as_strings()

    @model_validator(mode="after")
    def _mode_is_the_monitors(self) -> Self:
        if self.mode not in ("auto", self._better):
            raise ValueError(refusal("mode", self.mode, f"{self._better} or auto with monitor={self.monitor}"))
        return self


class TrainCommand(TrainParameters):
    """Train until the monitored metric no longer improves, and register the best checkpoint; or go on with that."""

    resume: Text = Field("no", description="Whether to go on with a training that did not come to its end: the newest "
        "one of the experiment, or the one with this run id", json_schema_extra={
        "allowed": "no, latest or a run's id"})  # fmt: skip


def make_train_parameters(experiment: Experiment) -> type[TrainParameters]:
    """Complete an experiment's ``Parameters``: its name as the model's, its metrics as what can be monitored."""
    key = type(experiment), experiment.name, tuple(experiment.metrics)
    if key in _COMPLETED:
        return _COMPLETED[key]
    own: type[TrainParameters] = experiment.Parameters
    names = [metric.name for metric in experiment.metrics]
    monitors = (*names, *(f"val_{name}" for name in names))
    monitor, mode = (own.model_fields[name] for name in ("monitor", "mode"))
    directions = {metric.name: metric.better for metric in experiment.metrics}
    default = mode.default
    if default != "auto":  # of what is monitored unless the command says otherwise
        default = directions.get(monitor.default.removeprefix("val_"), default)
    fields = {"monitor": (Literal[monitors], monitor.default), "mode": (mode.annotation, default)}
    made = specialize(own, experiment, fields)
    made.directions = directions
    _COMPLETED[key] = made
    return made


def make_train_command(experiment: Experiment) -> type[TrainCommand]:
    """Give the parameters of ``train``: those of a training, and ``resume``."""
    resume = TrainCommand.model_fields["resume"]
    fields: dict[str, Any] = {"resume": (resume.annotation, resume)}
    base: Any = make_train_parameters(experiment)
    made: type[TrainCommand] = create_model("TrainCommand", __base__=base, __doc__=TrainCommand.__doc__, **fields)
    return made


def extract_training(command: TrainCommand, experiment: Experiment) -> TrainParameters:
    """Give what a command says of the training alone."""
    cls = make_train_parameters(experiment)
    return cls(**command.model_dump(include=set(cls.model_fields)))


def specialize(base: type[Parameters], experiment: Experiment, fields: dict[str, tuple[Any, Any]]) -> type[Any]:
    """Make a subclass whose defaults name the experiment, and whose descriptions are in its terms."""
    terms = experiment.terms
    words = {"row": terms.row, "rows": terms.rows, "loss": terms.loss, "unit": terms.unit}
    defaults = {
        "model_name": experiment.name,
        "model": f"models:/{experiment.name}@candidate",
        "margin": terms.margin,
    }
    found: dict[str, Any] = {}
    for name, field in base.model_fields.items():
        annotation, default = fields.get(name, (field.annotation, defaults.get(name, field.default)))
        said = _filled(field.description, words)
        copy = type(field).merge_field_infos(field, annotation=annotation, default=default, description=said)
        found[name] = (annotation, copy)
    return create_model(base.__name__, __base__=base, __doc__=_filled(base.__doc__, words), **found)


def _filled(text: str | None, words: Mapping[str, str]) -> str:
    """A text with some words in braces replaced; other braces stay as they are."""
    for name, word in words.items():
        text = (text or "").replace(f"{{{name}}}", word)
    return text or ""
