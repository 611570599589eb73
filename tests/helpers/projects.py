"""The folders with an MLproject, and the parameters of their entry points."""

from dataclasses import dataclass
from pathlib import Path

from mlflow.projects._project_spec import EntryPoint, load_project

from diabetes import Diabetes
from helpers import ROOT
from imdb_conv1d.experiment import EXPERIMENT
from tracked.console import (
    find_rate_parameters,
    predict_parameters,
    search_parameters,
    serve_parameters,
    train_parameters,
    verb_parameters,
)
from tracked.console.parameters import Parameters
from tracked.console.tidy_parameters import TidyParameters
from tracked.console.verb_parameters import CompareParameters, ReplayParameters, UnfinishedParameters
from tracked.experiment import Experiment

# Of every experiment.
VERBS = {entry: "train" if entry == "main" else entry for entry in (
    "main", "find_rate", "search", "unfinished", "evaluate", "predict", "serve", "replay", "compare", "promote",
    "rollback", "tidy")}  # fmt: skip


@dataclass(frozen=True)
class Project:
    """A folder with an MLproject, its experiment, and the start of its commands for a verb."""

    folder: Path
    experiment: Experiment
    script: str

    def parameters(self, entry: str) -> type[Parameters]:
        fixed = {"unfinished": UnfinishedParameters, "replay": ReplayParameters, "compare": CompareParameters}
        if entry == "tidy":
            return TidyParameters
        if entry == "main":
            return train_parameters.make_train_command(self.experiment)
        if entry == "find_rate":
            return find_rate_parameters.make_find_rate_parameters(self.experiment)
        if entry == "predict":
            return predict_parameters.make_predict_parameters(self.experiment)
        if entry == "serve":
            return serve_parameters.make_serve_parameters(self.experiment)
        if entry == "search":
            return search_parameters.make_search_parameters(self.experiment)
        return fixed.get(entry) or verb_parameters.make_verb_parameters(entry, self.experiment)

    def declared(self, entry: str) -> list[str]:
        """The names that MLproject declares: a resume is the script's alone."""
        return [name for name in self.parameters(entry).model_fields if name != "resume"]

    @property
    def verbs(self) -> dict[str, str]:
        """The verb of each entry point, the experiment's own last."""
        return VERBS | {verb: verb for verb in self.experiment.own_verbs}

    def entry_point(self, entry: str) -> EntryPoint:
        return load_project(str(self.folder)).get_entry_point(entry)


IMDB = Project(ROOT, EXPERIMENT, "python src/{}.py")


DIABETES = Project(ROOT / "examples" / "diabetes", Diabetes(), "python diabetes.py {}")
