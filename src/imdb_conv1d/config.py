"""Every parameter once: its name, type, default, range and help.

The command line, the checks, MLproject and the README's tables follow from the classes below (a test compares them).
Nothing heavy is imported here, so that a mistake is answered at once:

    python src/train.py --patience -1
    error: patience: '-1' is not allowed; allowed: a whole number, 0 or more
"""

import argparse
import difflib
from collections.abc import Sequence
from pathlib import PurePath
from typing import Annotated, Any, Literal, NoReturn, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic.fields import FieldInfo

from imdb_conv1d.console import UserError

Text = Annotated[str, StringConstraints(min_length=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
MOST = 2**31 - 1  # what a 32-bit count holds
Switch = Annotated[bool, BeforeValidator(lambda value: _switch(value))]
Monitor = Literal["loss", "accuracy", "val_loss", "val_accuracy"]


class Parameters(BaseModel):
    """Parameters of one verb: frozen once they are checked."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @classmethod
    def parse(cls, argv: Sequence[str]) -> Self:
        """Read ``--name value`` and ``--name=value`` pairs.

        Raises:
            UserError: one line for the first parameter that is unknown, or whose value is not allowed.
        """
        parser = _Parser(cls.model_fields, description=cls.__doc__)
        for name, field in cls.model_fields.items():
            text = f"{field.description} ({allowed(field)}; default {spelled(field.default)})"
            parser.add_argument(f"--{name}", default=argparse.SUPPRESS, metavar="VALUE", help=text.replace("%", "%%"))
        try:
            return cls(**vars(parser.parse_args(_joined(argv, cls.model_fields))))
        except ValidationError as error:
            first = error.errors()[0]
            if not first["loc"]:
                raise UserError(first["msg"].removeprefix("Value error, ")) from None
            name = str(first["loc"][0])
            raise refusal(name, first["input"], allowed(cls.model_fields[name])) from None

    def spelled(self) -> dict[str, str]:
        """Name to value, each spelled as MLproject spells it, so that both ways to start a run record the same."""
        return {name: spelled(value) for name, value in self}


class TrainParameters(Parameters):
    """Train until the monitored metric no longer improves, and register the best checkpoint."""

    data: Text = Field("auto", description="Where the reviews come from", json_schema_extra={
        "allowed": "auto, imdb, reviews, or the path of an aclImdb folder, a .csv or a .parquet file"})  # fmt: skip
    patience: int = Field(30, ge=0, le=MOST, description="Epochs without an improvement before training stops")
    min_delta: Finite = Field(0.0001, ge=0, description="Smallest change of the monitor that is an improvement")
    monitor: Monitor = Field("val_loss", description="Metric that early stopping and the checkpoint watch")
    mode: Literal["min", "max", "auto"] = Field("min", description="Whether less or more of the monitor is better")
    epochs: int = Field(200000, ge=1, le=MOST, description="Epochs at most")
    batch_size: int = Field(32, ge=1, le=MOST, description="Reviews in one step")
    validation_split: Finite = Field(0.2, gt=0, lt=1, description="Part of the training reviews held out to validate")
    max_features: int = Field(
        5000, ge=4, le=MOST, description="Ids in all: padding, start, unknown and the most frequent words"
    )
    maxlen: int = Field(400, ge=1, le=MOST, description="Words kept of a review, its last ones")
    embedding_dims: int = Field(50, ge=1, le=MOST, description="Size of a word's vector")
    filters: int = Field(250, ge=1, le=MOST, description="Filters of the convolution")
    kernel_size: int = Field(3, ge=1, le=MOST, description="Words that a filter sees at once, at most maxlen")
    hidden_dims: int = Field(250, ge=1, le=MOST, description="Units of the hidden layer")
    learning_rate: Finite = Field(0.001, ge=1e-30, le=1e30, description="Adam's step size")
    seed: int = Field(
        7, ge=0, le=2**32 - 1, description="Fixes the initial weights, the dropout and each epoch's order"
    )
    model_name: Annotated[str, StringConstraints(pattern=r"^[^/:@'\"\s]*[^/:@'\"\s.][^/:@'\"\s]*$")] = Field(
        "imdb-conv1d", description="Name in the model registry", json_schema_extra={
            "allowed": "a name without blanks, quotes and /, : or @, not of dots alone"})  # fmt: skip
    log_texts: Switch = Field(True, description="Whether texts of the data may be stored with the runs and the model")

    @property
    def direction(self) -> Literal["min", "max"]:
        """``mode`` with ``auto`` resolved by Keras's rule for the monitor's name."""
        return better(self.monitor) if self.mode == "auto" else self.mode

    @property
    def headline(self) -> str:
        """What is particular about a training, as its run's name: ``patience=30 seed=7`` and what is not a default."""
        always, never = {"patience", "seed"}, {"model_name", "log_texts"}
        fields = type(self).model_fields
        told = [name for name in fields if name in always or getattr(self, name) != fields[name].default]
        values = self.spelled() | {"data": PurePath(self.data).name}
        return " ".join(
            f"{name}={values[name]}" for name in sorted(told, key=lambda n: n not in always) if name not in never
        )

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.mode not in ("auto", better(self.monitor)):
            raise ValueError(refusal("mode", self.mode, f"{better(self.monitor)} or auto with monitor={self.monitor}"))
        if self.kernel_size > self.maxlen:
            raise ValueError(refusal("kernel_size", self.kernel_size, f"at most maxlen, which is {self.maxlen}"))
        return self


class EvaluateParameters(Parameters):
    """Evaluate a registered model on data that it was not trained on."""

    model: Annotated[str, StringConstraints(pattern=r"^(models|runs):/+[^/].*$")] = Field(
        "models:/imdb-conv1d@candidate", description="The model to evaluate", json_schema_extra={
            "allowed": "models:/NAME@ALIAS, models:/NAME/VERSION, models:/MODEL_ID or runs:/RUN_ID/NAME"})  # fmt: skip
    data: Text = Field("auto", description="The reviews to score; auto: the test part of what it was trained on",
        json_schema_extra={"allowed": "auto, imdb, reviews, or the path of an aclImdb folder, a .csv or a .parquet "
                                      "file: its test part where it has one, else all of it"})  # fmt: skip
    log_texts: Switch = Field(
        True, description="Whether mistakes may be stored with their texts, if training allowed it"
    )


def _switch(value: Any) -> bool:
    """True or false, in no other spelling: what is recorded is compared by later runs."""
    if value in (True, "true"):
        return True
    if value in (False, "false"):
        return False
    raise ValueError("true or false")


def better(monitor: str) -> Literal["min", "max"]:
    """Keras's own rule for ``mode=auto``: more is better for an accuracy, less for a loss."""
    return "max" if monitor.removeprefix("val_") == "accuracy" else "min"


def refusal(name: str, value: object, what_is_allowed: str) -> UserError:
    """The one line that every unusable parameter gets."""
    return UserError(f"{name}: {str(value)!r} is not allowed; allowed: {what_is_allowed}")


def spelled(value: Any) -> str:
    """A value as it stands in MLproject and on the command line: as Python prints it, but true and false."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def allowed(field: FieldInfo) -> str:
    """What a parameter may be, in words, read off its type and range."""
    if isinstance(field.json_schema_extra, dict) and "allowed" in field.json_schema_extra:
        return str(field.json_schema_extra["allowed"])
    if choices := get_args(field.annotation):
        return ", ".join(choices[:-1]) + f" or {choices[-1]}"
    if field.annotation is bool:
        return "true or false"
    bounds = {
        kind: getattr(bound, kind)
        for bound in field.metadata
        for kind in ("ge", "gt", "le", "lt")
        if hasattr(bound, kind)
    }
    if field.annotation is int:
        return f"a whole number from {bounds['ge']} to {bounds['le']}"
    signs = {"ge": "{} or more", "gt": "more than {}", "le": "{} or less", "lt": "less than {}"}
    return ", ".join(["a finite number", *(signs[kind].format(bound) for kind, bound in bounds.items())])


def _joined(argv: Sequence[str], names: dict[str, FieldInfo]) -> list[str]:
    """``--name value`` as ``--name=value``, so that argparse does not take a value such as -inf for a flag."""
    joined: list[str] = []
    rest = iter(argv)
    for word in rest:
        value = next(rest, None) if word.removeprefix("--") in names and word.startswith("--") else None
        joined.append(word if value is None else f"{word}={value}")
    return joined


class _Parser(argparse.ArgumentParser):
    """Says its complaints as everything else does: one line, no usage text."""

    def __init__(self, names: dict[str, FieldInfo], **kwargs: Any) -> None:
        super().__init__(allow_abbrev=False, **kwargs)
        self._names = list(names)

    def error(self, message: str) -> NoReturn:
        raise UserError(message.removeprefix("argument --"))

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        known, unknown = self.parse_known_args(args, namespace)
        if unknown:
            name, _, value = " ".join(unknown[:2]).removeprefix("--").replace(" ", "=", 1).partition("=")
            near = difflib.get_close_matches(name, self._names, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            given = f" (given {value!r})" if value else ""
            raise UserError(f"{name}: there is no such parameter{given}; allowed: {', '.join(self._names)}{hint}")
        return known
