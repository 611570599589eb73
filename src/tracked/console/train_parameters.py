"""The parameters of a training: those of every training, and the experiment's own."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, create_model, model_validator

from tracked.console.errors import UserError
from tracked.console.metric_direction import infer_mode
from tracked.console.parameters import MAX_INT, Finite, Parameters, Switch, Text, refusal
from tracked.console.presets import PresetParameters, require_valid
from tracked.experiment import Experiment

MODEL_NAME = r"[^/:@'\"\s]*[^/:@'\"\s.][^/:@'\"\s]*"
EVALUATE, RESUME = "evaluate", "resume"  # of the command alone: no training's result depends on them
MAX_NAME = 256  # characters that a database holds, but SQLite; earlier trainings may have longer names
ModelName = Annotated[str, StringConstraints(pattern=f"^{MODEL_NAME}$"),
    Field(description="Name in the model registry", json_schema_extra={"allowed":
    "a name of at most 256 characters without blanks, quotes and /, : or @, not of dots alone"})]  # fmt: skip
Mode = Literal["min", "max"]
_CLASSES: dict[tuple[object, ...], type[Any]] = {}  # by experiment: making a class takes milliseconds


class TrainParameters(PresetParameters):
    """Train until the monitored metric no longer improves, and register the best checkpoint."""

    patience: int = Field(30, ge=0, le=MAX_INT, description="Epochs without an improvement before training stops")
    min_delta: Finite = Field(0.0001, ge=0, description="Smallest change of the monitor that counts as an improvement")
    monitor: Text = Field("val_loss", description="Metric that early stopping and the checkpoint watch")
    mode: Literal["min", "max", "auto"] = Field(
        "min", description="Whether a lower (min) or a higher (max) monitor is better"
    )
    epochs: int = Field(200000, ge=1, le=MAX_INT, description="Maximum number of epochs")
    seed: int = Field(
        7, ge=0, le=2**32 - 1, description="Seed of the initial weights, the dropout and each epoch's order"
    )
    model_name: ModelName = "model"

    directions: ClassVar[Mapping[str, Mode]] = {}  # of the experiment's metrics
    omitted_from_run_name: ClassVar[tuple[str, ...]] = ("model_name",)
    fixed_in_search: ClassVar[tuple[str, ...]] = ()  # parameters without which the trials' metrics are incomparable
    last_in_run_name: ClassVar[tuple[str, ...]] = ()

    @property
    def direction(self) -> Mode:
        """``mode`` with ``auto`` resolved: by the experiment's metrics, else by Keras's rule for the name."""
        return "max" if self._better == "max" else "min"

    @property
    def _better(self) -> Mode | None:
        return self.directions.get(self.monitor.removeprefix("val_")) or infer_mode(self.monitor)

    @property
    def run_name(self) -> str:
        """The run's name: patience, seed and every parameter that is given another value than its default."""
        first, fields, values = ("patience", "seed"), type(self).model_fields, self.short_values()
        # The UI truncates long names: the parameters that runs are compared by come first.
        others = (name for name in fields if name not in (*first, *self.last_in_run_name, *self.omitted_from_run_name))
        order = (*first, *others, *self.last_in_run_name)
        given = {name for name in fields if getattr(self, name) != fields[name].default} - self._from_preset
        return " ".join(f"{name}={values[name]}" for name in order if name in first or name in given)

    def short_values(self) -> dict[str, str]:
        """Format the values for a run's name."""
        return self.as_strings()

    def list_idle(self) -> list[str]:
        """List the parameters that differ from their defaults without an effect, each as "name=value with what"."""
        return []

    @model_validator(mode="after")
    def _mode_is_the_monitors(self) -> Self:
        if self.mode not in ("auto", self._better):
            raise ValueError(refusal("mode", self.mode, f"{self._better} or auto with monitor={self.monitor}"))
        return self


class TrainCommand(TrainParameters):
    """Train until the monitored metric no longer improves, and register the best checkpoint; or resume."""

    evaluate: Switch = Field(
        False,
        description="Whether to evaluate the version in the same process, as the verb evaluate does by default",
    )
    resume: Text = Field("no", description="Whether to resume an unfinished training: the experiment's newest, or "
        "the run with this id", json_schema_extra={
        "allowed": "no, latest or a run's id"})  # fmt: skip


def make_train_parameters(experiment: Experiment) -> type[TrainParameters]:
    """Complete an experiment's ``Parameters``: its name becomes the model's, its metrics the monitors."""
    key = type(experiment), experiment.name, tuple(experiment.metrics)
    if key in _CLASSES:
        return _CLASSES[key]
    own: type[TrainParameters] = experiment.Parameters
    names = [metric.name for metric in experiment.metrics]
    monitors = (*names, *(f"val_{name}" for name in names))
    monitor, mode = (own.model_fields[name] for name in ("monitor", "mode"))
    directions = {metric.name: metric.better for metric in experiment.metrics}
    default = mode.default
    if default != "auto":  # so that the default monitor's direction needs no mode
        default = directions.get(monitor.default.removeprefix("val_"), default)
    fields = {"monitor": (Literal[monitors], monitor.default), "mode": (mode.annotation, default)}
    cls = specialize(own, experiment, fields)
    cls.directions = directions
    require_valid(cls, experiment.name)
    _CLASSES[key] = cls
    return cls


def make_train_command(experiment: Experiment) -> type[TrainCommand]:
    """Make the parameters of ``train``: those of a training, ``evaluate`` and ``resume``.

    Raises:
        UserError: if the experiment has a parameter with such a name.
    """
    base: Any = make_train_parameters(experiment)
    if taken := [name for name in (EVALUATE, RESUME) if name in base.model_fields]:
        raise UserError(f"experiment {experiment.name!r}: {taken[0]} is a parameter of train; rename the experiment's")
    own = {name: TrainCommand.model_fields[name] for name in (EVALUATE, RESUME)}
    fields: dict[str, Any] = {name: (field.annotation, field) for name, field in own.items()}
    cls: type[TrainCommand] = create_model("TrainCommand", __base__=base, __doc__=TrainCommand.__doc__, **fields)
    return cls


def extract_training(command: TrainCommand, experiment: Experiment) -> TrainParameters:
    """Extract a command's parameters of the training, without ``evaluate`` and ``resume``."""
    cls = make_train_parameters(experiment)
    return cls(**{name: value for name, value in command.given.items() if name in cls.model_fields})


def specialize(base: type[Parameters], experiment: Experiment, fields: dict[str, tuple[Any, Any]]) -> type[Any]:
    """Make a subclass with the experiment's name in its defaults and the experiment's terms in its descriptions."""
    terms = experiment.terms
    words = {"row": terms.row, "rows": terms.rows, "loss": terms.loss, "unit": terms.unit}
    defaults = {
        "model_name": experiment.name,
        "model": f"models:/{experiment.name}@candidate",
        "margin": terms.margin,
    }
    specialized: dict[str, Any] = {}
    for name, field in base.model_fields.items():
        annotation, default = fields.get(name, (field.annotation, defaults.get(name, field.default)))
        description = _fill_in(field.description, words)
        copy = type(field).merge_field_infos(field, annotation=annotation, default=default, description=description)
        specialized[name] = (annotation, copy)
    return create_model(base.__name__, __base__=base, __doc__=_fill_in(base.__doc__, words), **specialized)


def _fill_in(text: str | None, words: Mapping[str, str]) -> str:
    """Replace these words in braces; other braces stay unchanged."""
    for name, word in words.items():
        text = (text or "").replace(f"{{{name}}}", word)
    return text or ""
