"""What an experiment is: the questions that a training, an evaluation and a promotion ask it.

An experiment is one object that every verb takes. It subclasses :class:`Experiment` and answers ``load``, ``build`` and
``package`` to be trained, and ``load_part``, ``predict`` and ``score`` to be evaluated; everything below these has a
default. ``examples/diabetes`` is one in a hundred lines. Nothing here imports MLflow, Keras, pandas or NumPy, so that a
mistake in a parameter is told before they are loaded.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from tracked.console.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure

PARTS = ("train", "validation", "test")
SEEN_PARTS = ("train", "validation")  # by a training: the validation part chooses the checkpoint
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")  # of an experiment: a part of folders, settings and URIs
TRAIN_METHODS = ("load", "build", "package")
EVALUATE_METHODS = ("load_part", "predict", "score")


@dataclass(frozen=True)
class Metric:
    """A metric that an epoch reports, as ``name`` of the training part and ``val_NAME`` of the validation part."""

    name: str
    better: Literal["min", "max"]


@dataclass(frozen=True)
class Terms:
    """What people call the rows and their loss, and what the loss means in a promotion.

    ``max_loss`` is what a single row counts for at most there, in ``unit``: without a bound no number of rows proves
    anything. ``margin`` is by how much a version may be worse and still count as not worse, unless the command says so.
    ``correct`` names the share of rows that are right; empty where a prediction is neither right nor wrong.
    """

    row: str = "example"
    loss: str = "loss"
    unit: str = "units"
    max_loss: float = 1.0
    margin: float = 0.01
    correct: str = ""

    def __post_init__(self) -> None:
        if self.row == "row":  # whose plural other columns of a comparison have
            raise ValueError("row is 'row'; another word is needed, such as 'example'")
        if not 0 < self.max_loss < math.inf:
            raise ValueError(f"most is {self.max_loss:g}; a finite number above 0 is needed")

    @property
    def rows(self) -> str:
        """More than one of them."""
        return f"{self.row}s"

    @property
    def a_row(self) -> str:
        """One of them, with its article."""
        return f"{'an' if self.row[:1] in ('a', 'e', 'i', 'o') else 'a'} {self.row}"

    @property
    def loss_key(self) -> str:
        """The loss in names of metrics and tags."""
        return self.loss.replace(" ", "_")

    @property
    def correct_key(self) -> str:
        """The share of rows that are right in names of columns."""
        return self.correct.replace(" ", "_")

    @property
    def digits(self) -> int:
        """Digits after the point with which differences in the loss are told: to some 100,000ths of ``max_loss``."""
        return max(0, 4 - math.floor(math.log10(self.max_loss)))


class Data(Protocol):
    """Data that can be found again."""

    @property
    def source(self) -> str:
        """What finds the data again: a name or a path."""

    @property
    def digest(self) -> str:
        """A SHA-256, in hexadecimal digits, over the rows: what the test part has, and what is in them."""

    @property
    def columns(self) -> Mapping[str, str]:
        """The columns' names and MLflow's types of them: string, long, double, boolean, float, integer or binary."""


class Dataset(Data, Protocol):
    """What a training learns from."""

    @property
    def counts(self) -> Mapping[str, int]:
        """The number of rows of each of ``PARTS``."""

    @property
    def summary(self) -> str:
        """One line for people."""

    def rows(self, parameters: Any) -> "pd.DataFrame":
        """Make the table that a training leaves of its rows, without inputs.

        It has what ``predict`` needs to tell which rows a model was trained and chosen on (:class:`TrainedOn`).
        """


class Trainee(Protocol):
    """What the trainer drives: a network with the data that it learns from."""

    @property
    def tags(self) -> Mapping[str, str]:
        """What is set at the run."""

    @property
    def note(self) -> str:
        """A line for people, or empty."""

    @property
    def learning_rate(self) -> float:
        """The optimizer's, after the last step."""

    @property
    def weights(self) -> int:
        """The number of numbers that are learned."""

    def fit(self, callbacks: Sequence[Any], initial_epoch: int, epochs: int) -> None:
        """Train from the epoch after ``initial_epoch`` on, and call Keras callbacks as ``keras.Model.fit`` does.

        Of these calls are needed: ``set_model``, with an object whose ``stop_training`` ends the fit after the epoch;
        ``on_train_begin``; ``on_train_batch_end``; and ``on_epoch_end``, with the metrics that the experiment declares.
        """

    def state(self) -> "list[np.ndarray]":
        """Give all that the epochs to come depend on, beside the random states of Python and NumPy."""

    def restore(self, state: "Sequence[np.ndarray]") -> None:
        """Put a state back.

        Raises:
            ValueError: if it is another network's; nothing is changed then.
        """

    def save(self, path: Path) -> None:
        """Write the checkpoint: a zip archive, as Keras's .keras files are, at exactly this path."""


@dataclass(frozen=True)
class Package:
    """What is registered of a checkpoint.

    Args:
        model: what ``mlflow.tensorflow.log_model`` takes: a ``keras.Model`` or a ``tf.Module``.
        inputs: dtype and shape of what it takes; ``outputs`` of what it gives.
        example: an input of that form, of which no row is anybody's data.
        loss: of the model loaded back, an ``mlflow.pyfunc.PyFuncModel``, over the validation part; a ValueError says
            what else is wrong with it. It must be the one that the checkpoint's epoch has reported.
        checked: what was scored for that, as in "the 3,985 validation rows".
    """

    model: Any
    inputs: tuple[Any, tuple[int, ...]]
    outputs: tuple[Any, tuple[int, ...]]
    example: "np.ndarray"
    loss: Callable[[Any], float]
    checked: str = "the validation part"


class Part(Data, Protocol):
    """Rows that can be predicted: the test part of some data, or all of them. ``digest`` is the whole data's."""

    @property
    def rows_digest(self) -> str:
        """Names the rows, in whatever order: two evaluations with the same one can be compared row by row."""

    @property
    def count(self) -> int:
        """The number of rows of this part."""

    @property
    def total(self) -> int:
        """The number of rows of the whole data."""


@dataclass(frozen=True)
class TrainedOn:
    """What is known of a model's training: the table of its rows, its data's digest, its parameters as texts.

    ``rows`` is None where the training has left no such table.
    """

    rows: "pd.DataFrame | None" = None
    digest: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)


class Experiment(Protocol):
    """An experiment. Its own class subclasses this one.

    Attributes:
        name: of the experiment and of its registered model; settings, folders, locks and titles follow from it.
        Parameters: a subclass of ``tracked.console.train_parameters.TrainParameters`` with the experiment's own.
        EvaluateParameters: likewise a subclass of the one in ``tracked.console.verb_parameters``, where the experiment
            adds to it; and ``PromoteParameters``.
        metrics: all that an epoch reports; the first is the loss.
        terms: what people call the rows and their loss.
        headline: the scores that stand at a version and in a comparison, of those that ``score`` gives. The first is
            the mean of the rows' loss.
        file_patterns: patterns of the names of files that ``build`` leaves in a training's folder.
        owns_untagged_runs: whether runs that name no experiment are this one's. They were made before experiments had
            names, so it is True for one experiment of a store at most; it is never copied into a fork.
        inputs_switch: the parameter, a ``Switch`` of train, evaluate and promote, that says whether inputs may be
            stored with runs; where it is empty, they may.
        legacy_seen_metric: a metric by which evaluations of before say how many rows, at least, a model had seen.
        advice: what may help when a loss is no longer a number, formatted with the parameters.
    """

    name: str
    Parameters: type[Any]
    EvaluateParameters: type[Any] | None = None
    PromoteParameters: type[Any] | None = None
    metrics: Sequence[Metric]
    terms: Terms = Terms()
    headline: Sequence[str] = ("loss",)
    file_patterns: ClassVar[Sequence[str]] = ()
    owns_untagged_runs: bool = False
    inputs_switch: str = ""
    legacy_seen_metric: str = ""
    advice: str = ""

    def load(self, parameters: Any, source: str) -> Dataset:
        """Read the data. TensorFlow and Keras are not loaded yet; what loads them belongs into ``build``.

        Args:
            source: the ``source`` of the dataset that a resumed training had; empty for a new training.

        Raises:
            UserError: if they cannot be had, or cannot be trained on.
        """
        raise NotImplementedError

    def build(self, parameters: Any, dataset: Any, folder: Path, resumed_tags: Mapping[str, str]) -> Trainee:
        """Make the network and its batches; everything random must follow from ``parameters.seed``.

        Args:
            folder: the training's own, where files may be left that ``package`` needs.
            resumed_tags: the tags of the run that is resumed; empty for a new training.
        """
        raise NotImplementedError

    def package(self, parameters: Any, dataset: Any, folder: Path, checkpoint: Path) -> Package:
        """Make what is registered out of the best checkpoint."""
        raise NotImplementedError

    def load_part(self, source: str, whole: bool) -> Part:
        """Find the rows that an evaluation predicts: a test part.

        Args:
            source: what ``dataset.source`` was, or what the user gave as data.
            whole: whether data without a test part of their own are all meant.

        Raises:
            UserError: if they cannot be had, or cannot be scored.
        """
        raise NotImplementedError

    def predict(self, model: Any, part: Any, trained_on: TrainedOn) -> "Iterator[tuple[pd.DataFrame, pd.DataFrame]]":
        """Predict the rows of a part, in pieces.

        Args:
            model: an ``mlflow.pyfunc.PyFuncModel``.

        Yields:
            two tables of the same rows. The predictions have ``id``, which no other row of the part has; ``loss``;
            ``correct``, if a row can be right; ``key``, if rows with the same one tell no more than one of them;
            ``seen``, whether the model was trained or chosen on it, if that is known; and columns of the experiment's
            own. The other table has the inputs, for people to look at; it is stored for the worst rows alone, if at
            all.

        Raises:
            RunFailed: if the data are no longer what the part was made of, or the model answers what is none.
        """
        raise NotImplementedError

    def score(self, predictions: "pd.DataFrame") -> dict[str, float]:
        """Give the scores of predictions, among them ``headline``.

        Raises:
            ValueError: if these rows cannot be scored.
        """
        raise NotImplementedError

    def draw(self, predictions: "pd.DataFrame", mark: str) -> "dict[str, Figure]":
        """Draw an evaluation's pictures, by their files' names; ``mark`` is said of the rows in each title."""
        return {}

    def summarize(self, scores: Mapping[str, float]) -> str:
        """Say an evaluation's scores in a few words."""
        return ", ".join(f"test_{name} {scores[name]:.4f}" for name in self.headline)

    def show_worst(self, inputs: "pd.DataFrame", with_inputs: bool) -> "pd.DataFrame":
        """Choose what people see of the worst rows; nothing that may not be stored, unless ``with_inputs``."""
        return inputs if with_inputs else inputs.iloc[:, :0]

    def explain_mismatch(self, inputs: Sequence[Any]) -> str:
        """Say why a model of somebody else's cannot be evaluated, by the inputs of its signature; else empty."""
        return ""

    def upgrade_predictions(self, predictions: "pd.DataFrame", version: str) -> "pd.DataFrame":
        """Turn predictions that an earlier version of the project has stored into what ``predict`` yields now."""
        raise ValueError(f"predictions in format {version} are none of this experiment's")


def owns_untagged(experiment: Experiment) -> bool:
    """Whether runs that name no experiment are this one's; they are not those of a class that is derived from it."""
    return bool(vars(type(experiment)).get("owns_untagged_runs", False))


def list_epoch_metrics(metrics: Sequence[Metric]) -> list[str]:
    """Name all that an epoch reports of these metrics."""
    names = [metric.name for metric in metrics]
    return [*names, *(f"val_{name}" for name in names)]


def require(experiment: Experiment, parts: Sequence[str] = ()) -> None:
    """Make sure that an experiment answers what a verb asks, and that its name can be part of folders and settings.

    Raises:
        UserError: naming the first part that it lacks, or its name.
    """
    name = getattr(experiment, "name", "") or type(experiment).__name__
    for attribute in ("name", "Parameters", "metrics"):
        if not getattr(experiment, attribute, None):
            raise UserError(f"experiment {name!r} has no {attribute}; allowed: one with name, Parameters and metrics")
    if not NAME.fullmatch(name):
        raise UserError(f"experiment: {name!r} is not allowed; allowed: small letters, digits and single hyphens")
    if "patience" not in getattr(experiment.Parameters, "model_fields", ()):
        raise UserError(f"experiment {name!r}: its Parameters are no TrainParameters; allowed: a subclass of them")
    if not all(isinstance(metric, Metric) for metric in experiment.metrics):
        raise UserError(f"experiment {name!r}: its metrics are {experiment.metrics!r}; allowed: some of class Metric")
    classes = experiment.Parameters, experiment.EvaluateParameters, experiment.PromoteParameters
    switch = experiment.inputs_switch
    if switch and not all(switch in getattr(one, "model_fields", ()) for one in classes):
        told = f"experiment {name!r}: inputs_switch is {switch!r}"
        raise UserError(f"{told}; allowed: a parameter of Parameters, EvaluateParameters and PromoteParameters")
    for part in parts:
        own = getattr(type(experiment), part, None)
        if own is None or own is getattr(Experiment, part):
            code = getattr(Experiment, part).__code__
            told = ", ".join(code.co_varnames[1 : code.co_argcount])
            raise UserError(
                f"experiment {name!r} has no {part}({told}); allowed: one that has all of {', '.join(parts)}"
            )
