"""What a server and its scorers tell each other: frames of pickled objects, over a socket that only these two have."""

import asyncio
import pickle
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Literal, TypeAlias

from tracked.experiment import Experiment

Form = Literal["answers", "output", "explanation"]  # the experiment's plain form, the model's own output, its reasons
_LENGTH = struct.Struct("!Q")


@dataclass(frozen=True)
class Setting:
    """What a scorer is started with.

    Args:
        path: of the downloaded model, which was checked.
        given: the parameters of the endpoint, to be validated again.
        metadata: what ``package`` stored with the model.
        columns: of a row.
        example: rows that the model must answer before it is used; empty if it brings none.
    """

    experiment: Experiment
    path: str
    given: Mapping[str, Any]
    metadata: Mapping[str, Any]
    columns: tuple[str, ...]
    example: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Ready:
    """A scorer has loaded its model, and it has passed the check.

    Args:
        answer_columns: the columns of an answer and their types; ``answer_notes`` say what some of them mean.
        example_answers: to the model's example.
        can_explain: whether it can explain an answer.
    """

    answer_columns: Mapping[str, str]
    answer_notes: Mapping[str, str]
    example_answers: Sequence[Mapping[str, Any]]
    can_explain: bool


@dataclass(frozen=True)
class Unfit:
    """A model cannot be served, for a reason in one sentence."""

    reason: str


@dataclass(frozen=True)
class Batch:
    """Rows of one request or several, each with the form of its answers."""

    columns: tuple[str, ...]
    parts: Sequence[tuple[Form, Sequence[Sequence[Any]]]]


@dataclass(frozen=True)
class Bad:
    """A request's row cannot be answered: its number, from 0, and the reason, which has no input in it."""

    row: int
    reason: str


@dataclass(frozen=True)
class Failed:
    """A request cannot be answered though its rows are good: a fault of the model or of the code, and where it is."""

    reason: str


Answered: TypeAlias = Sequence[bytes] | Bad | Failed  # of one request: the answers of its rows as JSON


def encode(message: object) -> bytes:
    """Encode a message as a frame."""
    content = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(content)) + content


async def receive(reader: asyncio.StreamReader) -> Any:
    """Receive a message.

    Raises:
        EOFError: if the other side has ended.
    """
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    return pickle.loads(await reader.readexactly(length))


def receive_blocking(stream: IO[bytes]) -> Any:
    """Receive a message, in a scorer.

    Raises:
        EOFError: if the server has ended.
    """
    header = stream.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(header)
    content = stream.read(length)
    if len(content) < length:
        raise EOFError
    return pickle.loads(content)
