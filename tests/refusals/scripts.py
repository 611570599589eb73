"""The scripts that the commands of the tables name: those of both experiments, and of others with a fault."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diabetes import Diabetes
from imdb_conv1d.experiment import EXPERIMENT
from tracked.console.parameters import Parameters
from tracked.console.train_parameters import TrainParameters
from tracked.experiment import Experiment

FAULTY: Mapping[str, Mapping[str, Any]] = {  # what an experiment has that is not diabetes
    "nameless": {"name": ""}, "capital": {"name": "Capital"}, "former": {"files": ()}, "unsure": {"metrics": ("loss",)},
    "plain": {"Parameters": Parameters}, "text": {"end_modules": "one"}, "threads": {"operation_threads": -1},
    "baselines": {"baselines": {"The Mean": "the mean"}}, "data": {"data_parameters": ("source",)},
    "switch": {"inputs_switch": "log_rows"}, "builder": {"build": Experiment.build}, "space": {"space": "units=1..2"},
    "scorer": {"open_scorer": Experiment.open_scorer}, "rateless": {"Parameters": TrainParameters, "space": ""},
    "numbered": {"own_verbs": {"step2": "own"}}, "verbless": {"own_verbs": {"show": "imdb_conv1d.verbs.explain"}},
    "reserved": {"own_verbs": {"train": "own"}}, "reader": {"load_part": lambda self, source, whole: None},
}  # fmt: skip


@functools.cache
def find(script: str) -> tuple[Experiment, str]:
    """Find the experiment of a script, and its verb if it has one only."""
    name = Path(script).stem
    if name in FAULTY:
        return type(name.capitalize(), (Diabetes,), dict(FAULTY[name]))(), ""
    return (Diabetes(), "") if name == "diabetes" else (EXPERIMENT, name)


def fill(text: str, names: Mapping[str, str]) -> str:
    """Put ids in the place of names in angle brackets, as far as they are known."""
    for name, value in names.items():
        text = text.replace(f"<{name}>", value)
    return text
