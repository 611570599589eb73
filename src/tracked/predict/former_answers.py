"""What an output has already: read and checked, or removed to begin anew."""

import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from tracked.console.errors import UserError
from tracked.console.lines import one_line, warn
from tracked.predict import facts, part_files
from tracked.predict.journal import JOURNAL, Journal
from tracked.predict.manifest import MANIFEST, read_manifest
from tracked.predict.output import WORK
from tracked.predict.state import State
from tracked.predict.tasks import Part
from tracked.training.files import PARTIAL, sha256_of

NAMES = rf"(part-\d{{5,}}\.(parquet|csv)|{re.escape(MANIFEST)})"
PARTIAL_FILE = re.compile(rf"{PARTIAL}-([0-9a-f]{{32}}-)?{NAMES}")
OWN = re.compile(rf"{NAMES}|{PARTIAL_FILE.pattern}")


def open_state(
    output: Path, now: Mapping[str, Any], environment: dict[str, str], fresh: bool, end_run: Callable[[str], None]
) -> State:
    """Begin a prediction, or read what the former attempts have done and check it.

    Args:
        now: what the answers depend on; ``environment``: what their last bits depend on.
        fresh: whether to begin anew.
        end_run: called with the id of the run of a prediction whose place is taken, before its files go.

    Raises:
        UserError: if it depends on something else than before.
        OSError: if the output cannot be read or written.
    """
    work, journal = output / WORK, Journal(output / WORK / JOURNAL)
    try:
        state = _read(output)
    except (OSError, ValueError) as error:
        if not fresh and isinstance(error, ValueError):
            raise UserError(
                f"output: {output} cannot be resumed ({one_line(error)}); give another, or fresh=true"
            ) from None
        if not fresh:
            raise
        state = State()
    if fresh or not state.facts or (not state.parts and facts.find_changes(state.facts, now)):
        if state.run_id:
            end_run(state.run_id)
        # What says that parts are complete goes first: a kill in between leaves parts that no one counts on.
        (output / MANIFEST).unlink(missing_ok=True)
        journal.path.unlink(missing_ok=True)
        _remove(output, OWN)
        state = State(now, [environment])
        journal.begin(state)
        return state
    facts.require_same(output, state.facts, now)
    remove_partial(output)
    lost = [part for part in state.ordered if not _is_whole(output, part)]
    for part in lost:
        warn(f"{part.file} is missing or was changed, and is made again")
        del state.parts[part.number]
    if lost or not state.is_complete:
        state = replace(state, is_complete=False)
        changes = facts.compare_environments(state.environments[-1], environment)
        if changes:
            warn(f"{'; '.join(changes)}: equal bits are not promised")
            state.environments.append(environment)
        if lost or changes or not (work / JOURNAL).exists():
            journal.begin(state)
        (output / MANIFEST).unlink(missing_ok=True)
    return state


def remove_partial(output: Path) -> None:
    """Remove the partial files of workers that have died."""
    _remove(output, PARTIAL_FILE)


def _read(output: Path) -> State:
    journal = Journal(output / WORK / JOURNAL)
    return read_manifest(output) or (journal.read() if journal.path.exists() else State())


def _is_whole(output: Path, part: Part) -> bool:
    """Check that a part's files are as they were noted."""
    try:
        whole = sha256_of(output / part.file) == part.sha256
        lost = part_files.find_rejected(output, part.number)
        return whole and (not part.rejected_sha256 or sha256_of(lost) == part.rejected_sha256)
    except OSError:
        return False


def _remove(output: Path, own: re.Pattern[str]) -> None:
    """Remove files of a former prediction, by their names, and nothing else."""
    for entry in list(os.scandir(output)):
        if own.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
            os.unlink(entry.path)
    folder = output / part_files.REJECTED
    if folder.is_dir() and not folder.is_symlink():
        for path in folder.iterdir():
            if own.fullmatch(path.name):
                path.unlink()
        with suppress(OSError):
            folder.rmdir()
