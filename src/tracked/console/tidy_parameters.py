"""The parameters of tidy."""

from pydantic import Field

from tracked.console.parameters import MAX_INT, Finite, Parameters, Switch, Text


class TidyParameters(Parameters):
    """List what is in nobody's way, and remove it if asked: snapshots, models, checkpoints, predictions."""

    experiment: Text = Field("auto", description="The MLflow experiment, or all of them; auto: the one in MLflow's "
        "settings", json_schema_extra={"allowed": "auto, all or an experiment's name"})  # fmt: skip
    keep: int = Field(
        10,
        ge=0,
        le=MAX_INT,
        description="Trainings without a version whose checkpoints stay: the best on the same data",
    )
    older_than: Finite = Field(0, ge=0, le=36500, description="Days since the end of what may go")
    leftovers: Switch = Field(
        False, description="Whether folders of artifacts may go whose run or model the store does not have; only if no "
        "other store writes there"
    )  # fmt: skip
    yes: Switch = Field(False, description="Whether to remove what may go; false lists it")
