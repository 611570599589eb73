"""Look at the input and the output of a prediction before its run begins."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracked.console.errors import UserError
from tracked.console.lines import format_count, say
from tracked.console.progress import track
from tracked.experiment import Experiment, Inputs, Request
from tracked.models.loader import DownloadedModel
from tracked.predict import facts, former_answers, output
from tracked.predict.state import State
from tracked.runs.registry import StoredModel
from tracked.tables.files import Fingerprint, TableFile, read_fingerprint
from tracked.tables.reader import TableReader
from tracked.tables.rows import MissingColumnError


@dataclass(frozen=True)
class Opened:
    """A prediction that can begin, or go on.

    Args:
        request: what the experiment is asked with.
        fingerprints: of the reader's files.
        has_ids: whether a column of the input names its rows.
        version: what the answers call the model.
    """

    request: Request
    inputs: Inputs
    reader: TableReader
    fingerprints: Sequence[Fingerprint]
    has_ids: bool
    version: str
    state: State


def open_prediction(
    owner: Experiment,
    parameters: Any,
    stored: StoredModel,
    model: DownloadedModel,
    folder: Path,
    files: Sequence[TableFile],
    end_run: Callable[[str], None],
) -> Opened:
    """Open the input, and read what the former attempts have done.

    Args:
        folder: of the answers, held by this process.
        end_run: called with the id of the run of a prediction whose place is taken, before its files go.

    Raises:
        UserError: if the input cannot be used, or the answers depend on something else than before.
        RunFailed: if the output cannot be read or written.
    """
    metadata = model.metadata.own if model.metadata else {}
    request = Request(parameters.data, True, parameters, metadata)
    inputs = owner.find_inputs(request)
    has_ids = parameters.id_column != "auto"
    columns = [*inputs.columns, *([parameters.id_column] if has_ids else [])]
    try:
        reader = TableReader(files, columns, inputs.encoding)
    except MissingColumnError as error:
        parameter = "id_column" if has_ids and error.column == parameters.id_column else inputs.parameter
        raise UserError(f"{error}; {parameter} names another" if parameter else str(error)) from None
    fingerprints = _read_fingerprints(files)
    version = stored.version or stored.uri
    now = facts.describe(owner, stored.title, version, model.path, parameters, files, fingerprints)
    try:
        state = former_answers.open_state(folder, now, facts.describe_environment(), parameters.fresh, end_run)
    except OSError as error:
        raise output.explain_lost(folder, error) from error
    size = f"{format_count(len(files), 'file')} of {sum(one.size for one in fingerprints):,} bytes"
    say(f"data: {parameters.data}, {size}, digest {state.facts['input']['digest'][:12]}")
    return Opened(request, inputs, reader, fingerprints, has_ids, version, state)


def _read_fingerprints(files: Sequence[TableFile]) -> list[Fingerprint]:
    total = sum(file.path.stat().st_size for file in files)
    with track("digesting the input", total, "bytes", summary=False) as progress:
        return [read_fingerprint(file, progress.advance) for file in files]
