"""The experiment's own parameters, beside those of every training."""

from pathlib import PurePath
from typing import Literal, Self

from pydantic import Field, model_validator

from tracked.console import train_parameters, verb_parameters
from tracked.console.parameters import MAX_INT, Finite, Switch, Text, refusal

SOURCES = "auto, imdb, reviews, or the path of an aclImdb folder, a .csv or a .parquet file"
DATA_TO_SCORE = f"{SOURCES}: its test part if it has one, else all of it"


class TrainParameters(train_parameters.TrainParameters):
    """Train until the monitored metric no longer improves, and register the best checkpoint."""

    monitor: Literal["loss", "accuracy", "val_loss", "val_accuracy"] = Field(
        "val_loss", description="Metric that early stopping and the checkpoint watch"
    )
    model_name: train_parameters.ModelName = "imdb-conv1d"
    data: Text = Field("auto", description="Where the reviews come from", json_schema_extra={"allowed": SOURCES})
    batch_size: int = Field(32, ge=1, le=MAX_INT, description="Reviews per step")
    validation_split: Finite = Field(
        0.2, gt=0, lt=1, description="Share of the training reviews held out for validation"
    )
    max_features: int = Field(
        5000, ge=4, le=MAX_INT, description="Number of ids: padding, start, unknown and the most frequent words"
    )
    maxlen: int = Field(400, ge=1, le=MAX_INT, description="Number of last words kept of each review")
    embedding_dims: int = Field(50, ge=1, le=MAX_INT, description="Size of a word's vector")
    filters: int = Field(250, ge=1, le=MAX_INT, description="Filters of the convolution")
    kernel_size: int = Field(3, ge=1, le=MAX_INT, description="Words in a filter's window, at most maxlen")
    hidden_dims: int = Field(250, ge=1, le=MAX_INT, description="Units of the hidden layer")
    learning_rate: Finite = Field(0.001, ge=1e-30, le=1e30, description="Adam's step size")
    fused: Switch = Field(True, description="Whether to train with fused layers on a CPU: the same network, faster; "
        "used where embedding_dims * kernel_size is 64 or more")  # fmt: skip
    log_texts: Switch = Field(True, description="Whether texts of the data may be logged with runs and models")

    omitted_from_run_name = ("model_name", "log_texts")
    last_in_run_name = ("data",)

    def short_values(self) -> dict[str, str]:
        """Format the values for a run's name: of a path, its last part."""
        return self.as_strings() | {"data": PurePath(self.data).name}

    @model_validator(mode="after")
    def _kernel_fits(self) -> Self:
        if self.kernel_size > self.maxlen:
            raise ValueError(refusal("kernel_size", self.kernel_size, f"at most maxlen, which is {self.maxlen}"))
        return self


class EvaluateParameters(verb_parameters.EvaluateParameters):
    """Evaluate a registered model on data that it was not trained on."""

    data: Text = Field("auto", description="The reviews to score; auto: the test part of the model's data",
        json_schema_extra={"allowed": DATA_TO_SCORE})  # fmt: skip
    log_texts: Switch = Field(
        True, description="Whether mistakes may be logged with their texts, if the training allowed it"
    )


class PromoteParameters(verb_parameters.PromoteParameters):
    """Make a version the champion if its log loss on the same test reviews is shown not worse than the champion's."""

    data: Text = Field("auto", description="The reviews to compare on; auto: the test part of the version's data",
        json_schema_extra={"allowed": DATA_TO_SCORE})  # fmt: skip
    log_texts: Switch = Field(
        True, description="Whether an evaluation made for this promotion may log mistakes with their texts"
    )
