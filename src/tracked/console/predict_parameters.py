"""The parameters of a prediction: those of every experiment, and the experiment's own."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from tracked.console.executors import AUTO, Address, Executor, check_workers
from tracked.console.parameters import MAX_INT, Parameters, Switch, Text
from tracked.console.train_parameters import specialize
from tracked.console.verb_parameters import AnyModel
from tracked.experiment import Experiment

TABLES = (
    "the path of a .csv, .tsv, .jsonl, .ndjson or .parquet file, packed (.gz) or not, of a folder of these, or a "
    "pattern such as tables/*.csv"
)
FOLDER = "a folder that is new, is empty or holds a prediction"


class PredictParameters(Parameters):
    """Answer the {rows} of tables of any size with a registered model, each exactly once; or resume."""

    model: AnyModel = Field("models:/model@candidate", description="The model that answers")
    data: Text = Field(AUTO, description="The {rows} to answer; must be given",
        json_schema_extra={"allowed": TABLES})  # fmt: skip
    output: Text = Field(AUTO, description="Folder of the answers; must be given. The same command resumes a killed "
        "prediction", json_schema_extra={"allowed": FOLDER})  # fmt: skip
    id_column: Text = Field(AUTO, description="Column that names a {row} in the answers; auto: the {row}'s number, "
        "from 0 on over the whole input", json_schema_extra={"allowed": "auto or a column's name"})  # fmt: skip
    format: Literal["parquet", "csv"] = Field("parquet", description="Format of the answers")
    part_rows: int = Field(10_000, ge=1, le=1_000_000, description="The {rows} of the input for each file of answers")
    workers: int = Field(1, ge=1, le=1024, description="Processes that answer at the same time, a thread each")
    executor: Executor = Field("processes", description="Where {rows} are answered")
    address: Address = AUTO
    max_rejected: int = Field(
        1000, ge=0, le=MAX_INT, description="Bad {rows} that may be left out of the answers; more end the prediction"
    )
    fresh: Switch = Field(False, description="Whether to remove a former prediction from the folder first")

    @model_validator(mode="after")
    def _paths_are_given(self) -> Self:
        for name, allowed in (("data", TABLES), ("output", FOLDER)):
            if getattr(self, name) == AUTO:
                raise ValueError(f"{name}: it must be given; allowed: {allowed}")
        return self

    @model_validator(mode="after")
    def _workers_have_cores(self) -> Self:
        check_workers(self.workers, self.executor, self.address)
        return self


def make_predict_parameters(experiment: Experiment) -> type[Any]:
    """Make the parameters of a prediction with an experiment's defaults and terms."""
    return specialize(experiment.PredictParameters or PredictParameters, experiment, {})
