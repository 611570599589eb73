"""Every parameter once: its name, type, default, range and help.

The command line, the checks, MLproject and the README's tables follow from these classes; a test compares them.
"""

import re
from pathlib import PurePath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from tracked.console.parameters import (
    MOST,
    Finite,
    Parameters,
    Switch,
    Text,
    listed,
    number,
    numbers,
    refusal,
    whole_number,
)

LESS_IS_BETTER = ("loss", "error", "mse", "mae", "mape", "msle", "crossentropy", "hinge", "divergence", "poisson",
                  "logcosh")  # fmt: skip
MORE_IS_BETTER = ("accuracy", "acc", "auc", "precision", "recall", "sensitivity", "specificity", "score", "iou", "io_u",
                  "similarity", "correlation")  # fmt: skip
Monitor = Literal["loss", "accuracy", "val_loss", "val_accuracy"]

MODEL_NAME = r"[^/:@'\"\s]*[^/:@'\"\s.][^/:@'\"\s]*"
ModelName = Annotated[str, StringConstraints(pattern=f"^{MODEL_NAME}$"), Field(description="Name in the model registry",
    json_schema_extra={"allowed": "a name without blanks, quotes and /, : or @, not of dots alone"})]  # fmt: skip
ExperimentName = Annotated[Text, Field(description="The experiment; auto: the one that MLflow's settings name",
    json_schema_extra={"allowed": "auto or an experiment's name"})]  # fmt: skip
A_SOURCE = "auto, imdb, reviews, or the path of an aclImdb folder, a .csv or a .parquet file"
DATA_TO_SCORE = f"{A_SOURCE}: its test part where it has one, else all of it"


class TrainParameters(Parameters):
    """Train until the monitored metric no longer improves, and register the best checkpoint."""

    data: Text = Field("auto", description="Where the reviews come from", json_schema_extra={"allowed": A_SOURCE})
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
    fused: Switch = Field(True, description="Whether a CPU trains with fused layers: the same network, in less time; "
        "plain ones do where embedding_dims * kernel_size is below 64")  # fmt: skip
    seed: int = Field(
        7, ge=0, le=2**32 - 1, description="Fixes the initial weights, the dropout and each epoch's order"
    )
    model_name: ModelName = "imdb-conv1d"
    log_texts: Switch = Field(True, description="Whether texts of the data may be stored with the runs and the model")

    @property
    def direction(self) -> Literal["min", "max"]:
        """``mode`` with ``auto`` resolved by Keras's rule for the monitor's name."""
        return "max" if better(self.monitor) == "max" else "min"

    @property
    def headline(self) -> str:
        """What is particular about a training, as its run's name: ``patience=30 seed=7`` and what is not a default."""
        first, last, never = ("patience", "seed"), ("data",), ("model_name", "log_texts")
        fields, values = type(self).model_fields, self.spelled() | {"data": PurePath(self.data).name}
        # Where the UI cuts a name off, what runs are often compared by is still there.
        order = (*first, *(name for name in fields if name not in (*first, *last, *never)), *last)
        told = (name for name in order if name in first or getattr(self, name) != fields[name].default)
        return " ".join(f"{name}={values[name]}" for name in told)

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.mode not in ("auto", better(self.monitor)):
            raise ValueError(refusal("mode", self.mode, f"{better(self.monitor)} or auto with monitor={self.monitor}"))
        if self.kernel_size > self.maxlen:
            raise ValueError(refusal("kernel_size", self.kernel_size, f"at most maxlen, which is {self.maxlen}"))
        return self


class TrainCommand(TrainParameters):
    """Train until the monitored metric no longer improves, and register the best checkpoint; or go on with that."""

    resume: Text = Field("no", description="Whether to go on with a training that did not come to its end: the newest "
        "one of the experiment, or the one with this run id", json_schema_extra={
        "allowed": "no, latest or a run's id"})  # fmt: skip

    @property
    def parameters(self) -> TrainParameters:
        """Those of the training."""
        return TrainParameters(**self.model_dump(include=set(TrainParameters.model_fields)))


class UnfinishedParameters(Parameters):
    """List the trainings that did not come to their end, and close those that nobody goes on with."""

    experiment: ExperimentName = "auto"
    close: Text = Field("no", description="What to close for good: all that are known to be dead, or one",
        json_schema_extra={"allowed": "no, dead or a run's id"})  # fmt: skip


class EvaluateParameters(Parameters):
    """Evaluate a registered model on data that it was not trained on."""

    model: Annotated[str, StringConstraints(pattern=r"^(models|runs):/+[^/].*$")] = Field(
        "models:/imdb-conv1d@candidate", description="The model to evaluate", json_schema_extra={
            "allowed": "models:/NAME@ALIAS, models:/NAME/VERSION, models:/MODEL_ID or runs:/RUN_ID/NAME"})  # fmt: skip
    data: Text = Field("auto", description="The reviews to score; auto: the test part of what it was trained on",
        json_schema_extra={"allowed": DATA_TO_SCORE})  # fmt: skip
    log_texts: Switch = Field(
        True, description="Whether mistakes may be stored with their texts, if training allowed it"
    )


class ReplayParameters(Parameters):
    """Tell from recorded trainings what other early-stopping rules would have made of them."""

    run: Text = Field("auto", description="The training to replay; auto: the experiment's newest one, or all of them "
        "where experiment is given", json_schema_extra={"allowed": "auto, all or a run's id"})  # fmt: skip
    experiment: ExperimentName = "auto"
    monitor: Text = Field("auto", description="The metric that the rule watches; auto: the run's own, else val_loss",
        json_schema_extra={"allowed": "auto or the name of a metric that has one value an epoch"})  # fmt: skip
    mode: Literal["auto", "min", "max"] = Field(
        "auto", description="Whether less or more is better; auto: the run's own, else Keras's rule for the name"
    )
    patience: Annotated[str, AfterValidator(listed(whole_number))] = Field(
        "auto", description="Patiences to try; auto: 1 to the run's own", json_schema_extra={
            "allowed": "auto, or whole numbers from 0 such as 1,2,5 or 1-30, 10000 at most"})  # fmt: skip
    min_delta: Annotated[str, AfterValidator(listed(number))] = Field(
        "auto", description="Values of min_delta to try; auto: 0 and the run's own", json_schema_extra={
            "allowed": "auto, or finite numbers from 0 such as 0,0.001, 10000 at most"})  # fmt: skip
    tolerance: Finite = Field(
        0.001,
        ge=0,
        description="What a training may lose by a shorter wait, in the metric's unit, and still count as served",
    )

    @property
    def patiences(self) -> list[int]:
        """The patiences given; none for auto."""
        return [] if self.patience == "auto" else numbers(self.patience, whole_number)

    @property
    def min_deltas(self) -> list[float]:
        """The values of min_delta given; none for auto."""
        return [] if self.min_delta == "auto" else numbers(self.min_delta, number)


class CompareParameters(Parameters):
    """Put the trainings of an experiment side by side."""

    experiment: ExperimentName = "auto"
    runs: Text = Field("all", description="The trainings to compare", json_schema_extra={
        "allowed": "all, or runs' ids separated by commas"})  # fmt: skip
    monitor: Text = Field("auto", description="The metric to compare by; auto: what most of the runs watch",
        json_schema_extra={"allowed": "auto or the name of a metric that has one value an epoch"})  # fmt: skip
    mode: Literal["auto", "min", "max"] = Field(
        "auto", description="Whether less or more is better; auto: the runs' own, else Keras's rule for the name"
    )


class PromoteParameters(Parameters):
    """Make a version the champion, unless its log loss on the same test rows may be worse than the present one's."""

    model: Annotated[str, StringConstraints(pattern=rf"^models:/+{MODEL_NAME}[@/][^/]+$")] = Field(
        "models:/imdb-conv1d@candidate", description="The version to promote", json_schema_extra={
            "allowed": "models:/NAME@ALIAS or models:/NAME/VERSION"})  # fmt: skip
    data: Text = Field("auto", description="The reviews to compare on; auto: the test part of what it was trained on",
        json_schema_extra={"allowed": DATA_TO_SCORE})  # fmt: skip
    margin: Finite = Field(
        0.02, ge=0, description="How much worse its log loss may be, in nats a review, and still count as not worse"
    )
    confidence: Finite = Field(
        0.95, ge=0.5, le=0.99, description="How sure it must be that the log loss is not worse by more than margin"
    )
    log_texts: Switch = Field(
        True, description="Whether an evaluation made for this may store mistakes with their texts"
    )


class RollbackParameters(Parameters):
    """Make the former champion the champion again."""

    model_name: ModelName = "imdb-conv1d"


def better(monitor: str) -> Literal["min", "max"] | None:
    """Keras's rule for ``mode=auto``, by a metric's name: less is better for a loss or an error, more for an accuracy.

    Keras asks the metric itself; its own metrics are told by their names here, any other is None.
    """
    name = re.sub(r"_\d+$", "", monitor.lower().removeprefix("val_"))  # Keras numbers metrics of one name: auc, auc_1
    if name.endswith(LESS_IS_BETTER):
        return "min"
    return "max" if name.endswith(MORE_IS_BETTER) else None
