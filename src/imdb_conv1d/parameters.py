"""The experiment's own parameters, beside those of every training."""

import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from tracked.console import predict_parameters, train_parameters, verb_parameters
from tracked.console.parameters import MAX_INT, Finite, Parameters, Switch, Text, refusal
from tracked.console.rate_parameters import RateParameters

SOURCES = "auto, imdb, reviews, or the path of a .csv, .tsv, .jsonl or .parquet file or of a folder"
MAX_GATED = 200  # labels: each n-gram has a value for each one
DATA_TO_SCORE = f"{SOURCES}: its test part if it has one, else all of it"

# Of verbs that read data for a model.
TextColumn = Annotated[Text, Field(description="Column of the texts; auto: as in the model's training",
    json_schema_extra={"allowed": "auto, a column's name, or several separated by commas"})]  # fmt: skip
LabelColumn = Annotated[Text, Field(description="Column of the labels; auto: as in the model's training",
    json_schema_extra={"allowed": "auto or a column's name"})]  # fmt: skip
Encoding = Annotated[Text, Field(description="Encoding of the texts' file; auto: as in the model's training",
    json_schema_extra={"allowed": "auto, or a text encoding that Python knows"})]  # fmt: skip


def _check_text(text: str) -> str:
    """Accept a text that is not blank and that UTF-8 can write: arguments may hold any bytes."""
    if not text.strip():
        raise ValueError("a text")
    text.encode()  # raises a ValueError
    return text


class TrainParameters(RateParameters):
    """Train until the monitored metric no longer improves, and register the best checkpoint."""

    monitor: Literal["loss", "accuracy", "val_loss", "val_accuracy"] = Field(
        "val_loss", description="Metric that early stopping and the checkpoint watch"
    )
    model_name: train_parameters.ModelName = "imdb-conv1d"
    preset: Literal["article", "accurate"] = Field(
        "article", description="Values of other parameters: the article's, or more accurate and slower ones"
    )
    data: Text = Field("auto", description="Where the reviews come from", json_schema_extra={"allowed": SOURCES})
    text_column: Text = Field("text", description="Column of the texts; several are joined by a line break",
        json_schema_extra={"allowed": "a column's name, or several separated by commas"})  # fmt: skip
    label_column: Text = Field("label", description="Column of the labels",
        json_schema_extra={"allowed": "a column's name"})  # fmt: skip
    positive_label: Text = Field("auto", description="Of two labels, the one whose probability the model gives; auto: "
        "the last in sorted order", json_schema_extra={"allowed": "auto or one of two labels"})  # fmt: skip
    encoding: Text = Field("utf-8", description="Encoding of CSV, TSV and JSON Lines files and of a folder's texts",
        json_schema_extra={"allowed": "a text encoding that Python knows, such as utf-8 or cp1252"})  # fmt: skip
    tokens: Literal["words", "characters"] = Field(
        "words", description="What a text is split into: words, or characters for scripts without blanks"
    )
    batch_size: int = Field(32, ge=1, le=MAX_INT, description="Reviews per step")
    validation_split: Finite = Field(
        0.2, gt=0, lt=1, description="Share of the training reviews held out for validation"
    )
    test_split: Finite = Field(
        0.2, ge=0, lt=1, description="Share of the reviews held out for testing, where the data have no test part"
    )
    class_weight: Literal["none", "balanced"] = Field(
        "none",
        description="Weight of a row in the training loss: 1, or n / (classes * rows of its class); the metric loss is "
        "then the weighted mean, while accuracy, val_loss and val_accuracy are not weighted",
    )
    network: Literal["conv", "gated"] = Field(
        "conv",
        description="The article's convolution, or n-grams of a linear model, gated by the words around them; "
        f"gated takes {MAX_GATED} labels at most",
    )
    max_features: int = Field(
        5000, ge=4, le=MAX_INT, description="Number of ids: padding, start, unknown and the most frequent words"
    )
    maxlen: int = Field(400, ge=1, le=MAX_INT, description="Number of last words kept of each review")
    embedding_dims: int = Field(50, ge=1, le=MAX_INT, description="Size of a word's vector")
    filters: int = Field(250, ge=1, le=MAX_INT, description="Filters of the convolution")
    kernel_size: int = Field(3, ge=1, le=MAX_INT, description="Words in a filter's window, at most maxlen")
    hidden_dims: int = Field(250, ge=1, le=MAX_INT, description="Units of the hidden layer")
    ngrams: int = Field(3, ge=1, le=8, description="Words in the longest n-gram of network=gated")
    members: int = Field(1, ge=1, le=100, description="Networks that network=gated trains side by side, to average "
        "their logits")  # fmt: skip
    dropout: Finite = Field(0.2, ge=0, lt=1, description="Share of a word's vector and of the hidden units that is "
        "dropped in training")  # fmt: skip
    word_dropout: Finite = Field(0.0, ge=0, lt=1, description="Share of words that network=gated drops as a whole")
    fused: Switch = Field(True, description="Whether to train with fused layers on a CPU: the same network, faster; "
        "used where embedding_dims * kernel_size is 64 or more")  # fmt: skip
    log_texts: Switch = Field(True, description="Whether texts of the data may be logged with runs and models")

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "article": {},
        "accurate": {
            "epochs": 4,
            "learning_rate": 0.002,
            "schedule": "cosine",
            "decay_factor": 0.01,
            "decay_epochs": 4,
            "batch_size": 64,
            "network": "gated",
            "max_features": 30000,
            "maxlen": 1000,
            "embedding_dims": 64,
            "hidden_dims": 64,
            "dropout": 0.6,
            "word_dropout": 0.2,
        },
    }
    omitted_from_run_name = ("model_name", "log_texts")
    last_in_run_name = ("data",)
    # With other rows held out, or other labels, the trials' val_loss is not of the same task.
    fixed_in_search = (
        "data", "text_column", "label_column", "positive_label", "encoding", "validation_split", "test_split",
        "log_texts",
    )  # fmt: skip

    def short_values(self) -> dict[str, str]:
        """Format the values for a run's name: of a path, its last part."""
        return self.as_strings() | {"data": PurePath(self.data).name}

    @model_validator(mode="after")
    def _kernel_fits(self) -> Self:
        if self.kernel_size > self.maxlen:
            raise ValueError(refusal("kernel_size", self.kernel_size, f"at most maxlen, which is {self.maxlen}"))
        return self

    @model_validator(mode="after")
    def _ngrams_fit(self) -> Self:
        """The number of an n-gram, in the base of the number of ids, has 63 bits."""
        longest = int(62 / math.log2(self.max_features))
        if self.network == "gated" and self.ngrams > longest:
            raise ValueError(refusal("ngrams", self.ngrams, f"at most {longest} with max_features={self.max_features}"))
        return self


class EvaluateParameters(verb_parameters.EvaluateParameters):
    """Evaluate a registered model on data that it was not trained on."""

    data: Text = Field("auto", description="The reviews to score; auto: the test part of the model's data",
        json_schema_extra={"allowed": DATA_TO_SCORE})  # fmt: skip
    text_column: TextColumn = "auto"
    label_column: LabelColumn = "auto"
    encoding: Encoding = "auto"
    log_texts: Switch = Field(
        True, description="Whether mistakes may be logged with their texts, if the training allowed it"
    )


class PredictParameters(predict_parameters.PredictParameters):
    """Classify the texts of tables of any size with a registered model, each exactly once; or resume."""

    text_column: TextColumn = "auto"
    encoding: Encoding = "auto"
    log_texts: Switch = Field(False, description="Whether rejected rows may be stored with their texts")


class ExplainParameters(Parameters):
    """Explain predictions: windows of words, or n-grams, with the largest effect on the predicted class's logit."""

    model: verb_parameters.AnyModel = Field("models:/model@candidate", description="The model to explain")
    text: Annotated[str, AfterValidator(_check_text)] = Field("auto", description="A text to explain; auto: the "
        "mistakes of an evaluation", json_schema_extra={"allowed": "auto, or a text that is not blank"})  # fmt: skip
    run: Text = Field("auto", description="The evaluation whose mistakes to explain; auto: the newest of the model",
        json_schema_extra={"allowed": "auto or an evaluation's run id"})  # fmt: skip
    count: int = Field(5, ge=1, le=50, description="Mistakes to explain, those with the largest loss first")
    windows: int = Field(
        10,
        ge=1,
        le=1000,
        description="Windows in a text's table, those with the largest effect first; with network=gated, n-grams",
    )
    log_texts: Switch = Field(True, description="Whether texts may be logged with the explanation")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.text != "auto" and self.run != "auto":
            raise ValueError(refusal("run", self.run, "auto where a text is given"))
        return self


class PromoteParameters(verb_parameters.PromoteParameters):
    """Make a version the champion if its log loss on the same test reviews is shown not worse than the champion's."""

    data: Text = Field("auto", description="The reviews to compare on; auto: the test part of the version's data",
        json_schema_extra={"allowed": DATA_TO_SCORE})  # fmt: skip
    text_column: TextColumn = "auto"
    label_column: LabelColumn = "auto"
    encoding: Encoding = "auto"
    log_texts: Switch = Field(
        True, description="Whether an evaluation made for this promotion may log mistakes with their texts"
    )
