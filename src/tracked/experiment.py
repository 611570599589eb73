"""The protocols of an experiment: what training, evaluation and promotion need from it.

An experiment is one object that every verb takes. It subclasses :class:`Experiment` and implements ``load``, ``build``
and ``package`` for training, and ``load_part``, ``predict`` and ``score`` for evaluation; the other methods have
defaults. ``examples/diabetes`` is an experiment of some 120 lines. This module imports neither MLflow, Keras,
pandas nor NumPy, so that parameters are checked before these are loaded.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

from tracked.console.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure

PARTS = ("train", "validation", "test")
SEEN_PARTS = ("train", "validation")  # the validation part chooses the checkpoint
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")  # of an experiment: it becomes part of folders, settings and URIs
BASELINE_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")  # it becomes part of metrics and files
TRAIN_METHODS = ("load", "build", "package")
EVALUATE_METHODS = ("load_part", "predict", "score")
PREDICT_METHODS = ("find_inputs", "open_scorer")

# What was seen of rows and answers: a JSON object of objects whose leaves are numbers. Those of several tables are
# added up leaf by leaf; whole numbers add up to the same whatever their order is.
Observations: TypeAlias = Mapping[str, Any]

FORMER_ATTRIBUTES = {"files": "file_patterns", "former_seen": "legacy_seen_metric", "find_fault": "explain_mismatch"}


@dataclass(frozen=True)
class Metric:
    """A metric of an epoch: reported as ``name`` for the training part and ``val_NAME`` for the validation part."""

    name: str
    better: Literal["min", "max"]


@dataclass(frozen=True)
class Terms:
    """The experiment's words for rows and loss, and the limits of the loss in a promotion.

    ``max_loss`` caps a row's loss in a promotion, in ``unit``: without a cap no number of rows proves anything.
    ``margin`` is the default of promote's parameter: the largest increase in loss that counts as not worse. ``correct``
    names the share of correct rows; empty where a prediction is neither right nor wrong.
    """

    row: str = "example"
    loss: str = "loss"
    unit: str = "units"
    max_loss: float = 1.0
    margin: float = 0.01
    correct: str = ""

    def __post_init__(self) -> None:
        if self.row == "row":  # "rows" is already a column of comparisons
            raise ValueError("row: 'row' is not allowed; allowed: another word, such as 'example'")
        if not 0 < self.max_loss < math.inf:
            raise ValueError(f"max_loss: {self.max_loss:g} is not allowed; allowed: a finite number above 0")

    @property
    def rows(self) -> str:
        """The plural of ``row``."""
        return f"{self.row}s"

    @property
    def a_row(self) -> str:
        """``row`` with its article."""
        return f"{'an' if self.row[:1] in ('a', 'e', 'i', 'o') else 'a'} {self.row}"

    @property
    def loss_key(self) -> str:
        """``loss`` in names of metrics and tags."""
        return self.loss.replace(" ", "_")

    @property
    def correct_key(self) -> str:
        """``correct`` in names of columns."""
        return self.correct.replace(" ", "_")

    @property
    def digits(self) -> int:
        """Decimal places for differences in the loss: to about 1/100,000 of ``max_loss``."""
        return max(0, 4 - math.floor(math.log10(self.max_loss)))


class Data(Protocol):
    """Data with a source to read them from and a digest to identify them."""

    @property
    def source(self) -> str:
        """A name or a path from which the data can be read again."""

    @property
    def digest(self) -> str:
        """A SHA-256 in hexadecimal over all rows, their contents and their parts."""

    @property
    def columns(self) -> Mapping[str, str]:
        """The columns' names and their MLflow types: string, long, double, boolean, float, integer or binary."""


class Dataset(Data, Protocol):
    """The data of a training."""

    @property
    def counts(self) -> Mapping[str, int]:
        """The number of rows of each of ``PARTS``."""

    @property
    def summary(self) -> str:
        """One line that describes the parts and their sizes."""

    def rows(self, parameters: Any) -> "pd.DataFrame":
        """Make the table of rows to log with the training, without inputs. It is called after ``build``.

        From it, ``predict`` finds the rows that a model has seen (:class:`TrainedOn`).
        """


class Trainee(Protocol):
    """What the trainer drives: a network with its training and validation data.

    Three members are optional, for experiments whose ``Parameters`` are ``RateParameters``. What needs a missing one is
    refused before the first epoch:

    - ``set_learning_rate(rate)`` sets the rate of the steps to come; ``schedule=plateau`` needs it.
    - ``has_schedule`` is true if the optimizer has a schedule by steps, as ``make_rate`` gives it; ``exponential``,
      ``cosine`` and ``warmup_steps`` need it.
    - ``sweep(rates)`` takes a step at each rate (:class:`SweepingTrainee`); ``find_rate`` and ``learning_rate=auto``
      need it.
    """

    @property
    def tags(self) -> Mapping[str, str]:
        """Tags to set on the run."""

    @property
    def note(self) -> str:
        """A line to print before training, or empty."""

    @property
    def learning_rate(self) -> float:
        """The learning rate of the last step."""

    @property
    def weights(self) -> int:
        """The number of weights."""

    def fit(self, callbacks: Sequence[Any], initial_epoch: int, epochs: int) -> None:
        """Train from the epoch after ``initial_epoch`` on, and call Keras callbacks as ``keras.Model.fit`` does.

        Required calls: ``set_model`` with an object whose ``stop_training`` ends the fit after the epoch;
        ``on_train_begin``; ``on_train_batch_end``; ``on_epoch_end`` with the experiment's metrics.
        With ``set_params``, ``on_epoch_begin``, ``on_test_begin``, ``on_test_batch_end`` and ``on_test_end``, the
        progress of a long epoch is shown.
        """

    def state(self) -> "list[np.ndarray]":
        """Return all state that later epochs depend on, except the random states of Python and NumPy."""

    def restore(self, state: "Sequence[np.ndarray]") -> None:
        """Restore a state.

        Raises:
            ValueError: if the state is of another network; nothing is changed then.
        """

    def save(self, path: Path) -> None:
        """Write the checkpoint to exactly this path, as a zip archive (such as a .keras file)."""


@runtime_checkable
class SweepingTrainee(Protocol):
    """What a trainee can do beside :class:`Trainee`, for ``find_rate`` and ``learning_rate=auto``."""

    def sweep(self, rates: Sequence[float]) -> Iterator[float]:
        """Train for one step at each learning rate, from epoch 1's first batch on; yield each batch's loss before it.

        The caller may end it early. The trainee is not trained afterwards.
        """


@dataclass(frozen=True)
class Package:
    """A checkpoint packaged for registration.

    Args:
        model: for ``mlflow.tensorflow.save_model``: a ``keras.Model`` or a ``tf.Module``.
        inputs: dtype and shape of the model's input; ``outputs`` likewise.
        example: an input example without real data.
        loss: computes the validation loss of the model as loaded back, an ``mlflow.pyfunc.PyFuncModel``. The result
            must equal the loss that the checkpoint's epoch reported. Raises a ValueError for any other fault.
        checked: the rows that ``loss`` scores, for messages: "the 3,985 validation rows".
        output_name: what the output is, for the model's signature; empty: it has no name there.
        metadata: the experiment's own facts to store with the model, such as its labels: plain JSON values. They come
            back in :class:`Request` and :class:`TrainedOn`, and as ``model.metadata.metadata`` of the loaded model.
    """

    model: Any
    inputs: tuple[Any, tuple[int, ...]]
    outputs: tuple[Any, tuple[int, ...]]
    example: "np.ndarray"
    loss: Callable[[Any], float]
    checked: str = "the validation part"
    metadata: Mapping[str, Any] = field(default_factory=dict)
    output_name: str = ""


@dataclass(frozen=True)
class Request:
    """The rows that a verb asks an experiment to predict.

    Args:
        source: a dataset's ``source``, or the user's ``data``.
        whole: take all rows of data without a test part of their own.
        parameters: the verb's own parameters, an instance of its class.
        metadata: what ``package`` stored with the model (:class:`Package`); empty for models of earlier versions.
        online: rows come few at a time, and a client waits for each answer: be quick with few rows. The last bits of an
            answer may depend on the other rows, up to 1e-4. ``source`` is empty then.
    """

    source: str
    whole: bool = False
    parameters: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    online: bool = False


class Part(Data, Protocol):
    """Rows to predict: the test part of some data, or all of them. ``digest`` is that of the whole data."""

    @property
    def rows_digest(self) -> str:
        """A digest of the rows, in any order: evaluations with equal digests can be compared row by row."""

    @property
    def count(self) -> int:
        """The number of rows of this part."""

    @property
    def total(self) -> int:
        """The number of rows of the whole data."""


@dataclass(frozen=True)
class TrainedOn:
    """What a model was trained on: the logged table of rows, the data's digest, the parameters as strings.

    ``rows`` is None if the training has logged no table. ``source`` finds the training's data again, and ``metadata``
    is what ``package`` stored with the model; both are empty if unknown.
    """

    rows: "pd.DataFrame | None" = None
    digest: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Inputs:
    """What ``predict`` reads of a user's table.

    Args:
        columns: names of the columns that an answer depends on, as the table spells them.
        encoding: of CSV and JSON Lines files.
        parameter: of ``predict``, that names other columns; empty if none does.
    """

    columns: Sequence[str]
    encoding: str = "utf-8"
    parameter: str = ""


class Scorer(Protocol):
    """A loaded model that answers a user's rows; one a process, for any number of tables.

    A table has the columns of :class:`Inputs`, all of dtype object, with Python's values as the file has them: of CSV,
    texts; of JSON Lines and Parquet, texts, numbers and others, None where one is missing. Its index labels the rows,
    without a meaning.
    """

    @property
    def columns(self) -> Mapping[str, str]:
        """The answer's columns and their pandas types, such as {"label": "str", "probability": "float32"}."""

    def find_bad(self, table: "pd.DataFrame") -> Mapping[Any, str]:
        """Find the rows that cannot be answered: the reason by the row's label. A reason has no input in it."""

    def answer(self, table: "pd.DataFrame") -> "pd.DataFrame":
        """Answer rows, none of them bad: a table with the same index and ``columns``.

        An answer's bits must not depend on the other rows of the table, nor on their number: use batches of one shape.
        Of an online request (:class:`Request`), they may.
        """

    def observe(self, table: "pd.DataFrame", answers: "pd.DataFrame") -> Observations:
        """Observe what may drift, such as lengths of inputs and shares of answers; {} for nothing."""


class OnlineScorer(Scorer, Protocol):
    """What an endpoint needs beside :class:`Scorer`: the model's own output, and the answers that it means.

    ``answer(table)`` equals ``describe(predict(table))`` with the table's index. A table has values of JSON or texts of
    CSV, as :class:`Scorer` has them.

    Two members are optional. ``notes`` says in a few words what columns of an answer mean, by name. ``explain(table)``
    explains the answer to a table of one row. It returns JSON values, or None if this model cannot be explained:
    ``pieces``, the input cut into pieces, each with ``text``, ``effect`` (a number, or None of what lies between),
    ``is_read`` and ``is_known``; ``parts``, the largest reasons first, each with ``name``, ``effect`` and ``note``; and
    ``note``, a sentence that says what an effect is.
    """

    def predict(self, table: "pd.DataFrame") -> "np.ndarray":
        """Compute the model's own output for rows, none of them bad, as its ``pyfunc`` gives it: [n, ...]."""

    def describe(self, output: "np.ndarray") -> "pd.DataFrame":
        """Describe such output: the answers with ``columns``, a row for each row, indexed from 0."""


class Experiment(Protocol):
    """An experiment; subclass it.

    Attributes:
        name: of the experiment and its registered model; settings, folders, locks and titles derive from it.
        Parameters: a subclass of ``tracked.console.train_parameters.TrainParameters`` with the experiment's own
            parameters.
        EvaluateParameters: a subclass of the class in ``tracked.console.verb_parameters``, where the experiment adds
            parameters; ``PromoteParameters``, ``PredictParameters`` and ``ServeParameters`` likewise.
        own_verbs: verbs of this experiment alone, each with the module whose ``main(experiment, argv, signals)`` runs
            it. The parameters of a verb ``look`` are the attribute ``LookParameters``, a subclass of
            ``tracked.console.parameters.Parameters``.
        metrics: the metrics of an epoch; the first is the loss.
        terms: the experiment's words for rows and loss.
        request_name: what the rows of a plain request to the endpoint are called: {"rows": [...]}.
        headline: names of the scores shown at a version and in a comparison. The first is the mean of the rows' loss.
        file_patterns: name patterns of files that ``build`` writes to the run folder.
        data_parameters: names of the parameters that ``load`` depends on. Trainings with equal values of these that
            follow one another in a process, as those of a search do, get the same dataset, read once: ``build`` may
            keep in it what it has derived, and must not change what it was loaded with. Empty: each one loads its own.
        owns_untagged_runs: whether runs without the experiment's tag belong to this experiment. Versions before
            experiments had names logged such runs, so at most one experiment of a store sets it; never copy it into a
            fork.
        baselines: what ``predict_baselines`` predicts with, by name: what each is called in a sentence, such as
            {"linear": "the linear model"}. Empty: evaluations are compared with nothing.
        inputs_switch: the ``Switch`` parameter of train, evaluate and promote that decides whether inputs may be
            logged; empty: they may.
        legacy_seen_metric: a metric in which evaluations of earlier versions logged a lower bound of the rows seen.
        space: the parameters that a search varies by default, and their bounds, such as
            "learning_rate=1e-4..1e-2/log units=32..256/32"; ``tracked.console.space`` has the syntax. Empty: a search
            must be given one.
        advice: printed when the loss becomes NaN or infinite, formatted with the parameters.
        operation_threads: threads of one TensorFlow operation in a training; 0: as many as cores, TensorFlow's choice.
            With 1, operations that do not depend on each other run side by side instead, which is faster where they are
            many and small, and the bits of a result do not depend on the number of cores.
        end_modules: names of the modules that ``package`` imports, which a thread beside the first epoch imports ahead.
    """

    name: str
    Parameters: type[Any]
    EvaluateParameters: type[Any] | None = None
    PromoteParameters: type[Any] | None = None
    PredictParameters: type[Any] | None = None
    ServeParameters: type[Any] | None = None
    own_verbs: ClassVar[Mapping[str, str]] = {}
    metrics: Sequence[Metric]
    terms: Terms = Terms()
    request_name: ClassVar[str] = "rows"
    headline: Sequence[str] = ("loss",)
    file_patterns: ClassVar[Sequence[str]] = ()
    data_parameters: ClassVar[Sequence[str]] = ()
    baselines: ClassVar[Mapping[str, str]] = {}
    owns_untagged_runs: bool = False
    inputs_switch: str = ""
    legacy_seen_metric: str = ""
    space: ClassVar[str] = ""
    advice: str = ""
    operation_threads: ClassVar[int] = 0
    end_modules: ClassVar[Sequence[str]] = ()

    def load(self, parameters: Any, source: str) -> Dataset:
        """Read the data, without TensorFlow and Keras, which only ``build`` may import.

        Args:
            source: the ``source`` of the resumed training's dataset; empty for a new training.

        Raises:
            UserError: if the data cannot be read, or cannot be trained on.
        """
        raise NotImplementedError

    def check_data(self, parameters: Any, dataset: Any) -> None:
        """Check a dataset, just read or one of ``data_parameters``, against parameters that ``load`` does not read.

        Raises:
            UserError: if the data cannot be trained on with these.
        """
        return

    def build(self, parameters: Any, dataset: Any, folder: Path, resumed_tags: Mapping[str, str]) -> Trainee:
        """Build the network and its batches; all randomness must derive from ``parameters.seed``.

        Args:
            folder: the run folder, for files that ``package`` needs.
            resumed_tags: the tags of the resumed run; empty for a new training.
        """
        raise NotImplementedError

    def package(self, parameters: Any, dataset: Any, folder: Path, checkpoint: Path) -> Package:
        """Package the best checkpoint for registration."""
        raise NotImplementedError

    def load_part(self, request: Request) -> Part:
        """Find the rows that an evaluation predicts: a test part.

        Raises:
            UserError: if the data cannot be read, or cannot be scored.
        """
        raise NotImplementedError

    def predict(self, model: Any, part: Any, trained_on: TrainedOn) -> "Iterator[tuple[pd.DataFrame, pd.DataFrame]]":
        """Predict the rows of a part, in pieces.

        Args:
            model: an ``mlflow.pyfunc.PyFuncModel``; in the command ``evaluate`` one of a second process, to which
                ``predict`` sends its input, pickled. Any other public attribute loads the model in this process, too.

        Yields:
            two tables of the same rows. The predictions have ``id``, unique in the part; ``loss``; ``correct``, if a
            row can be right; ``key``, if rows with equal keys count as one; ``seen``, whether the model was trained or
            chosen on the row, None if unknown; and the experiment's own columns. The other table has the inputs in
            readable form; only the worst rows of it are logged, if any.

        Raises:
            RunFailed: if the data have changed since ``load_part``, or the model's output is invalid.
        """
        raise NotImplementedError

    def score(self, predictions: "pd.DataFrame") -> dict[str, float]:
        """Compute the scores of predictions, the ``headline`` among them.

        Raises:
            ValueError: if the rows cannot be scored.
        """
        raise NotImplementedError

    def predict_baselines(self, part: Any, trained_on: TrainedOn) -> "Mapping[str, pd.DataFrame]":
        """Predict the rows of a part with each of ``baselines``, fitted on the training part alone.

        The training's data are read again from ``trained_on.source``.

        Returns:
            a table by the baseline's name, with a row for each row of the part in any order: ``id``, ``loss`` and
            ``correct`` as in ``predict``, and the columns that ``score`` needs, except ``key`` and ``seen``. The tables
            are kept, and later evaluations of the same rows take them.

        Raises:
            UserError: if the training's data cannot be read, or have changed; the evaluation goes on without baselines.
        """
        raise NotImplementedError

    def find_inputs(self, request: Request) -> Inputs:
        """Find what is read of a user's table, before the model is loaded.

        Args:
            request: ``source`` is the user's ``data``, ``parameters`` are those of ``predict``. Of an endpoint, which
                is ``online``, they are those of ``serve``.

        Raises:
            UserError: if the model's metadata or the parameters name none.
        """
        raise UserError(f"experiment {self.name!r} lacks find_inputs")

    def open_scorer(self, model: Any, request: Request) -> Scorer:
        """Make what answers a user's rows; called in each process that does.

        For ``serve``, whose requests are ``online``, an :class:`OnlineScorer`.

        Args:
            model: an ``mlflow.pyfunc.PyFuncModel``.
            request: as in ``find_inputs``.

        Raises:
            UserError: if the model cannot answer rows.
        """
        raise UserError(f"experiment {self.name!r} lacks open_scorer")

    def observe_training(self, scorer: Scorer, trained_on: TrainedOn) -> Observations | None:
        """Observe the training part as ``scorer.observe`` observes a user's rows; None if it is not known.

        Raises:
            UserError: if the training's data cannot be read, or have changed; the prediction goes on without drift.
        """
        return None

    def describe_recipe(self, trained_on: TrainedOn) -> str:
        """Describe what the baselines depend on beside the training's data and the rows: code and parameters.

        Kept predictions are taken only where the description is the same.
        """
        return json.dumps(dict(trained_on.parameters), sort_keys=True)

    def draw(self, predictions: "pd.DataFrame", mark: str) -> "dict[str, Figure]":
        """Draw an evaluation's figures, by file name; each title has ``mark`` after the number of rows."""
        return {}

    def tabulate(self, predictions: "pd.DataFrame", inputs: "pd.DataFrame") -> "dict[str, pd.DataFrame]":
        """Make an evaluation's tables, by the name of a CSV file, such as scores of each class.

        Args:
            inputs: what ``show_worst`` returns of the worst rows, indexed by the rows' positions in ``predictions``.
        """
        return {}

    def summarize(self, scores: Mapping[str, float]) -> str:
        """Summarize an evaluation's scores in a few words."""
        return ", ".join(f"test_{name} {scores[name]:.4f}" for name in self.headline)

    def show_worst(self, inputs: "pd.DataFrame", with_inputs: bool) -> "pd.DataFrame":
        """Choose the columns to log for the worst rows; no inputs unless ``with_inputs``."""
        return inputs if with_inputs else inputs.iloc[:, :0]

    def explain_mismatch(self, inputs: Sequence[Any]) -> str:
        """Explain why a model with these signature inputs cannot be evaluated; empty if it can."""
        return ""

    def explain_incomparable(self, metadata: Mapping[str, Any], others: Mapping[str, Any]) -> str:
        """Explain why two models cannot be compared, by what ``package`` stored with each; empty if they can."""
        return ""

    def upgrade_predictions(self, predictions: "pd.DataFrame", version: str) -> "pd.DataFrame":
        """Convert predictions logged by an earlier version of the project to the present format."""
        raise ValueError(f"format {version} of predictions is unknown to this experiment")


def owns_untagged(experiment: Experiment) -> bool:
    """Check whether runs without the experiment's tag belong to this experiment; a subclass does not inherit them."""
    return bool(vars(type(experiment)).get("owns_untagged_runs", False))


def list_epoch_metrics(metrics: Sequence[Metric]) -> list[str]:
    """List the names under which an epoch reports these metrics."""
    names = [metric.name for metric in metrics]
    return [*names, *(f"val_{name}" for name in names)]


def require(experiment: Experiment, methods: Sequence[str] = ()) -> None:
    """Check that an experiment has a valid name, the required attributes and the methods that a verb needs.

    Args:
        methods: names of the methods.

    Raises:
        UserError: for the first of them that is missing or invalid.
    """
    name = getattr(experiment, "name", "") or type(experiment).__name__
    for attribute in ("name", "Parameters", "metrics"):
        if not getattr(experiment, attribute, None):
            raise UserError(f"experiment {name!r} lacks {attribute}; it needs name, Parameters and metrics")
    for former, current in FORMER_ATTRIBUTES.items():
        if hasattr(experiment, former):
            raise UserError(f"experiment {name!r}: {former} is now called {current}; rename it")
    if not NAME.fullmatch(name):
        raise UserError(f"experiment: {name!r} is not allowed; allowed: lowercase letters, digits and single hyphens")
    if "patience" not in getattr(experiment.Parameters, "model_fields", ()):
        raise UserError(f"experiment {name!r}: Parameters is not a subclass of TrainParameters; make it one")
    if not all(isinstance(metric, Metric) for metric in experiment.metrics):
        raise UserError(f"experiment {name!r}: metrics is {experiment.metrics!r}; allowed: a sequence of Metric")
    modules, threads = experiment.end_modules, experiment.operation_threads
    if isinstance(modules, str):
        raise UserError(f"experiment {name!r}: end_modules is {modules!r}; allowed: a list or tuple of modules' names")
    if not isinstance(threads, int) or threads < 0:
        raise UserError(f"experiment {name!r}: operation_threads is {threads!r}; allowed: a whole number of 0 or more")
    if "load_part" in methods and experiment.baselines:
        if wrong := [one for one in experiment.baselines if not BASELINE_NAME.fullmatch(one)]:
            raise UserError(
                f"experiment {name!r}: the baseline {wrong[0]!r} is not allowed; allowed: lowercase letters, digits "
                "and single underscores"
            )
        methods = [*methods, "predict_baselines"]
    if unknown := [one for one in experiment.data_parameters if one not in experiment.Parameters.model_fields]:
        raise UserError(f"experiment {name!r}: data_parameters names {unknown[0]!r}; allowed: names of its Parameters")
    named = ["Parameters", "EvaluateParameters", "PromoteParameters"]
    if "open_scorer" in methods:
        named.append("PredictParameters")
    switch = experiment.inputs_switch
    if switch and not all(switch in getattr(getattr(experiment, one), "model_fields", ()) for one in named):
        raise UserError(
            f"experiment {name!r}: inputs_switch is {switch!r}; "
            f"allowed: a parameter of {', '.join(named[:-1])} and {named[-1]}"
        )
    for method in methods:
        own = getattr(type(experiment), method, None)
        if own is None or own is getattr(Experiment, method):
            code = getattr(Experiment, method).__code__
            arguments = ", ".join(code.co_varnames[1 : code.co_argcount])
            raise UserError(f"experiment {name!r} lacks {method}({arguments}); this verb needs {', '.join(methods)}")
        if method == "load_part" and {"source", "whole"} <= set(own.__code__.co_varnames[: own.__code__.co_argcount]):
            raise UserError(
                f"experiment {name!r}: load_part(source, whole) is now load_part(request); read request.source and "
                "request.whole"
            )
