"""The version that is served: found under its alias, downloaded, checked for code before anything loads it."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracked.console.errors import UserError
from tracked.experiment import Experiment, Request
from tracked.models import loader
from tracked.runs.registry import StoredModel
from tracked.serve.frames import Setting
from tracked.serve.payloads import parse_invocations
from tracked.serve.refusals import Refusal

EXAMPLE = "serving_input_example.json"  # of MLflow: the example as a request to /invocations
MADE_BY_DOWNLOAD = "registered_model_meta"


@dataclass(frozen=True)
class Version:
    """A version on the disk.

    Args:
        digest: SHA-256 of the model's files.
        setting: what its scorers are started with.
    """

    stored: StoredModel
    digest: str
    folder: Path
    setting: Setting

    @property
    def name(self) -> str:
        """The name in answers: that of the registered model and its version, else the URI."""
        return f"{self.stored.name}/{self.stored.version}" if self.stored.version else self.stored.uri


def fetch(owner: Experiment, stored: StoredModel, parameters: Any, folder: Path) -> Version:
    """Download a version, and refuse what may run code.

    Args:
        parameters: of the endpoint.
        folder: to be made.

    Raises:
        UserError: if it cannot be served.
    """
    model = loader.download(owner, stored, folder)
    metadata = model.metadata.own if model.metadata else {}
    inputs = owner.find_inputs(Request("", True, parameters, metadata, online=True))
    columns = tuple(inputs.columns)
    given = parameters.model_dump()
    setting = Setting(owner, str(model.path), given, metadata, columns, _read_example(model.path, columns, stored))
    return Version(stored, _digest(model.path), folder, setting)


def _read_example(path: Path, columns: tuple[str, ...], stored: StoredModel) -> list[list[Any]]:
    """Read the example that is stored with a model; empty for a model without one.

    A model of texts takes those of several columns joined, and so is its example: it stands in the first column.
    """
    try:
        content = (path / EXAMPLE).read_bytes()
    except OSError:
        return []
    faults = list[Refusal]()
    for some in (columns, columns[:1]):
        try:
            rows = parse_invocations(content, "application/json", some).rows
        except Refusal as error:
            faults.append(error)
        else:
            return [[*row, *[None] * (len(columns) - len(some))] for row in rows]
    raise UserError(f"model: the example of {stored.title} cannot be read: {faults[0].message}")


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        if file.is_file() and file.name != MADE_BY_DOWNLOAD:
            with file.open("rb") as content:
                digest.update(
                    f"{file.relative_to(path)}\0{hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode()
                )
    return digest.hexdigest()
