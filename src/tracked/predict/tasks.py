"""What a prediction hands to its workers and gets back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from tracked.experiment import Observations, TrainedOn
from tracked.training.holder import Holder
from tracked.workers import tasks

if TYPE_CHECKING:
    import pandas as pd

PART = "part-{number:05d}"  # the name of a part's file, without its ending


@dataclass(frozen=True)
class Setting:
    """What all workers of a prediction are made with. Plain values, so that it can be sent.

    Args:
        folder: held by the prediction's process; all workers see it.
        holder: that process, as the lock of the folder names it.
        output: the folder of the answers.
        model: the model's folder; ``model_version``: what the answers call it.
        source: the user's ``data``; ``given``: the parameters; ``metadata``: what is stored with the model.
        shows_inputs: whether rejected rows are written with what stands in them.
        environment: variables of the environment; ``working_folder``: of the processes.
    """

    folder: str
    holder: Holder | None
    output: str
    model: str
    model_version: str
    source: str
    given: Mapping[str, Any]
    metadata: Mapping[str, Any]
    shows_inputs: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    working_folder: str = ""


@dataclass(frozen=True)
class FileRows:
    """Rows of a file in a part: the number over the whole input of the first one, and of the file's first row."""

    first: int
    file: str
    file_first: int


@dataclass(frozen=True)
class RejectedRow:
    """A row without an answer.

    Args:
        row: its number over the whole input; ``file_row``: in its file; both from 0 on.
        id: what names it in the answers; empty if it could not be read.
        content: what stands there.
    """

    row: int
    id: str
    file: str
    file_row: int
    reason: str
    content: str = ""


@dataclass(frozen=True)
class PartTask:
    """Rows that follow one another, to be answered into one file.

    Args:
        number: of the part, from 0 on.
        rows: how many the input has for the part, bad ones too.
        digest: of all that was read for the part.
        table: the inputs of the rows that could be read, indexed by the rows' numbers over the whole input.
        ids: of these rows; ``id_type``: their pandas type.
        files: those of the rows.
        rejected: the rows that could not be read.
    """

    number: int
    rows: int
    digest: str
    table: "pd.DataFrame"
    ids: Sequence[Any]
    id_type: str
    files: Sequence[FileRows]
    rejected: Sequence[RejectedRow]

    @property
    def name(self) -> str:
        """For messages."""
        return PART.format(number=self.number)


@dataclass(frozen=True)
class TrainingTask:
    """The training part of the model, to be observed as rows are."""

    trained_on: TrainedOn
    name: str = "the training part"


@dataclass(frozen=True)
class Part:
    """A part whose answers are on the disk, as the manifest notes it.

    Args:
        file: relative to the output; ``sha256``: of its content.
        rows: of the input; ``answered``: those with an answer; ``rejected``: the others.
        rejected_sha256: of the file of rejected rows; empty without one.
        input_digest: of what was read.
        reasons: the number of rejected rows by the reason.
        observed: what the experiment observed.
    """

    number: int
    file: str
    sha256: str
    rows: int
    answered: int
    rejected: int
    rejected_sha256: str
    input_digest: str
    reasons: Mapping[str, int]
    observed: Observations


@dataclass(frozen=True)
class Training:
    """What was observed of the training part; None and a line with the reason where it is not known."""

    observed: Observations | None
    problem: str = ""


@dataclass(frozen=True)
class Failed:
    """A task that no worker can carry out: the error, on one line."""

    error: str


Task: TypeAlias = PartTask | TrainingTask
Outcome: TypeAlias = Part | Training | Failed
Event: TypeAlias = tasks.Event[Task, Outcome]
Workers: TypeAlias = tasks.Workers[Task, Outcome]
