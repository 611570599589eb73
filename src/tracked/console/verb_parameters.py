"""The only definition of each verb's parameters: name, type, default, range and help.

The command line, the checks and docs/parameters.md follow from these classes; a test compares MLproject with them.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from tracked.console.errors import UserError
from tracked.console.parameters import (
    Finite,
    Parameters,
    Switch,
    Text,
    make_list_check,
    parse_number,
    parse_numbers,
    parse_whole_numbers,
    refusal,
)
from tracked.console.train_parameters import EVALUATE, MODEL_NAME, ModelName, specialize
from tracked.experiment import EVALUATE_METHODS, Experiment, require

ExperimentName = Annotated[Text, Field(description="The MLflow experiment; auto: the one in MLflow's settings",
    json_schema_extra={"allowed": "auto or an experiment's name"})]  # fmt: skip


AnyModel = Annotated[str, StringConstraints(pattern=r"^(models|runs):/+[^/].*$"), Field(json_schema_extra={
    "allowed": "models:/NAME@ALIAS, models:/NAME/VERSION, models:/MODEL_ID or runs:/RUN_ID/NAME"})]  # fmt: skip


class UnfinishedParameters(Parameters):
    """List unfinished trainings, and close those that will not be resumed."""

    experiment: ExperimentName = "auto"
    close: Text = Field("no", description="Which trainings to close for good: all dead ones, or one run",
        json_schema_extra={"allowed": "no, dead or a run's id"})  # fmt: skip


class EvaluateParameters(Parameters):
    """Evaluate a registered model on data that it was not trained on."""

    model: AnyModel = Field("models:/model@candidate", description="The model to evaluate")
    data: Text = Field("auto", description="The {rows} to score; auto: the test part of the model's data",
        json_schema_extra={"allowed": "auto"})  # fmt: skip
    baseline: Switch = Field(True, description="Whether to score the experiment's baselines on the same {rows}")


PRUNING_RULES = ("median", "asha")  # as in tracked.analysis.pruning, which this floor cannot import


def _check_rules(text: str) -> str:
    """Accept none, or distinct rules for giving up."""
    names = [name.strip() for name in text.split(",")]
    if text != "none" and (not set(names) <= set(PRUNING_RULES) or len(set(names)) < len(names)):
        raise ValueError("none, median, asha or both")
    return text


class ReplayParameters(Parameters):
    """Replay other early-stopping rules on recorded trainings."""

    run: Text = Field("auto", description="The training to replay; auto: the newest, or all if experiment is given",
        json_schema_extra={"allowed": "auto, all or a run's id"})  # fmt: skip
    experiment: ExperimentName = "auto"
    monitor: Text = Field("auto", description="The metric that the rule watches; auto: the run's own, else val_loss",
        json_schema_extra={"allowed": "auto or the name of a metric that has one value an epoch"})  # fmt: skip
    mode: Literal["auto", "min", "max"] = Field(
        "auto",
        description="Whether lower or higher is better; auto: the run's own mode, else Keras's rule for the name",
    )
    patience: Annotated[str, AfterValidator(make_list_check(parse_whole_numbers))] = Field(
        "auto", description="Patiences to try; auto: 1 to the run's own", json_schema_extra={
            "allowed": "auto, or whole numbers from 0 such as 1,2,5 or 1-30, 10000 at most"})  # fmt: skip
    min_delta: Annotated[str, AfterValidator(make_list_check(parse_number))] = Field(
        "auto", description="Values of min_delta to try; auto: 0 and the run's own", json_schema_extra={
            "allowed": "auto, or finite numbers from 0 such as 0,0.001, 10000 at most"})  # fmt: skip
    tolerance: Finite = Field(
        0.001,
        ge=0,
        description="Largest loss by a shorter wait, in the metric's unit, at which a training still counts as served",
    )

    rules: Annotated[str, AfterValidator(_check_rules)] = Field(
        "none", description="Rules for giving up trials early, to replay on all trainings of an experiment",
        json_schema_extra={"allowed": "none, median, asha or median,asha"})  # fmt: skip

    @property
    def pruning_rules(self) -> list[Any]:
        """The rules for giving up to replay; empty for none."""
        return [] if self.rules == "none" else [name.strip() for name in self.rules.split(",")]

    @property
    def patiences(self) -> list[int]:
        """The patiences to try; empty for auto."""
        return [] if self.patience == "auto" else parse_numbers(self.patience, parse_whole_numbers)

    @property
    def min_deltas(self) -> list[float]:
        """The values of min_delta to try; empty for auto."""
        return [] if self.min_delta == "auto" else parse_numbers(self.min_delta, parse_number)


class CompareParameters(Parameters):
    """Compare the trainings of an experiment."""

    experiment: ExperimentName = "auto"
    runs: Text = Field("all", description="The trainings to compare", json_schema_extra={
        "allowed": "all, or runs' ids separated by commas"})  # fmt: skip
    monitor: Text = Field("auto", description="The metric to compare by; auto: the monitor of most runs",
        json_schema_extra={"allowed": "auto or the name of a metric that has one value an epoch"})  # fmt: skip
    mode: Literal["auto", "min", "max"] = Field(
        "auto",
        description="Whether lower or higher is better; auto: the runs' own mode, else Keras's rule for the name",
    )


class PromoteParameters(Parameters):
    """Make a version the champion if its {loss} on the same test {rows} is shown not worse than the champion's."""

    model: Annotated[str, StringConstraints(pattern=rf"^models:/+{MODEL_NAME}[@/][^/]+$")] = Field(
        "models:/model@candidate", description="The version to promote", json_schema_extra={
            "allowed": "models:/NAME@ALIAS or models:/NAME/VERSION"})  # fmt: skip
    data: Text = Field("auto", description="The {rows} to compare on; auto: the test part of the version's data",
        json_schema_extra={"allowed": "auto"})  # fmt: skip
    margin: Finite = Field(
        0.02, ge=0, description="Largest increase of the {loss}, in {unit} a {row}, that counts as not worse"
    )
    confidence: Finite = Field(
        0.95, ge=0.5, le=0.99, description="Confidence that the {loss} is not worse by more than margin"
    )


class RollbackParameters(Parameters):
    """Restore the former champion."""

    model_name: ModelName = "model"


def make_verb_parameters(verb: str, experiment: Experiment) -> type[Any]:
    """Make the parameters of evaluate, promote, rollback or an own verb with an experiment's defaults and terms.

    Raises:
        UserError: if the experiment's own verb has no parameters.
    """
    classes: dict[str, type[Parameters]] = {
        "evaluate": EvaluateParameters,
        "promote": PromoteParameters,
        "rollback": RollbackParameters,
    }
    name = f"{verb.capitalize()}Parameters"
    own = getattr(experiment, name, None) or classes.get(verb)
    if own is None:
        raise UserError(
            f"experiment {experiment.name!r} lacks {name}; its verb {verb!r} needs a subclass of Parameters"
        )
    return specialize(own, experiment, {})


def require_evaluable(experiment: Experiment) -> None:
    """Require that the versions of an experiment's trainings can be evaluated.

    Raises:
        UserError: if not, for the parameter ``evaluate`` of ``train``.
    """
    try:
        require(experiment, EVALUATE_METHODS)
        make_verb_parameters("evaluate", experiment)
    except UserError as error:
        raise refusal(EVALUATE, "true", f"false, since {error}") from None
