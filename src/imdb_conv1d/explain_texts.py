"""Find the texts to explain: a given one, or the mistakes of an evaluation."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from imdb_conv1d.labels import Classes
from imdb_conv1d.parameters import ExplainParameters
from tracked.console.errors import UserError
from tracked.console.lines import format_count
from tracked.experiment import Experiment
from tracked.models.loader import DownloadedModel
from tracked.runs import evaluations, worst_rows
from tracked.runs.registry import StoredModel
from tracked.runs.schema import DATA_DIGEST, DATA_SOURCE


@dataclass(frozen=True)
class LabelledText:
    """A text with a heading; ``label`` is empty where the true one is unknown."""

    heading: str
    text: str
    label: str = ""


@dataclass(frozen=True)
class Texts:
    """Texts to explain; ``evaluation`` is the run id of the evaluation whose mistakes they are, else empty."""

    title: str
    rows: tuple[LabelledText, ...]
    evaluation: str = ""


def find_texts(
    owner: Experiment,
    stored: StoredModel,
    model: DownloadedModel,
    classes: Classes,
    parameters: ExplainParameters,
    folder: Path,
) -> Texts:
    """Find the given text, or the mistakes with the largest loss.

    Raises:
        UserError: if there is no such evaluation, or it has no mistakes, or their texts are private.
    """
    if parameters.text != "auto":
        return Texts("A given text", (LabelledText("The text", parameters.text),))
    if parameters.run == "auto":
        run = evaluations.find_for_model(owner, stored)
        if run is None:
            raise UserError(f"run: {stored.title} has no evaluation; evaluate it, or give a text")
    else:
        run = worst_rows.find_evaluation(owner, stored, parameters.run)
    name, worst = f"evaluation {run.info.run_id}", worst_rows.read_worst(run, folder)
    if worst is None:
        raise UserError(f"run: {name} holds no table of mistakes; evaluate the model again, or give a text")
    if worst.empty:
        raise UserError(f"run: {name} has no mistakes; give another evaluation, or a text")
    is_private = model.metadata is not None and model.metadata.private
    if "text" not in worst or is_private or evaluations.are_private(owner, run.data.tags.get(DATA_DIGEST, "")):
        raise UserError(f"run: {name} gives no texts, as log_texts is false for it or for its data; give a text")
    chosen = worst.head(parameters.count)
    rows = tuple(
        LabelledText(f"Mistake {number}", str(row["text"]), _name_label(row, classes))
        for number, (_, row) in enumerate(chosen.iterrows(), start=1)
    )
    what = format_count(len(rows), "mistake") if len(rows) == len(worst) else f"{len(rows):,} of the worst mistakes"
    return Texts(f"{what} of {name} on {run.data.tags.get(DATA_SOURCE, 'its data')}", rows, run.info.run_id)


def _name_label(row: pd.Series, classes: Classes) -> str:
    """Name the true label of a mistake: its class, or the name of its code."""
    if "class" in row:
        return str(row["class"])
    label = row.get("label", "")
    return classes.names[label] if isinstance(label, int) and 0 <= label < len(classes) else str(label)
