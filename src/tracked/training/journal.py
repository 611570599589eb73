"""A training's history in an append-only file: one line of JSON an epoch, on the disk before MLflow has it."""

import csv
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tracked.analysis.early_stopping import Rule, follow
from tracked.console.errors import RunFailed
from tracked.experiment import Experiment, list_epoch_metrics
from tracked.training.files import EARLY_STOPPING, HISTORY, flush

# Logged beside the metrics that an experiment declares.
LEARNING_RATE, EPOCH_SECONDS = "learning_rate", "epoch_seconds"
WAIT, BEST = "early_stopping/wait", "early_stopping/best"
NEXT_RATE = "next_learning_rate"  # a column of early_stopping.csv
OWN_METRICS = (LEARNING_RATE, EPOCH_SECONDS, WAIT, BEST)


def list_logged_metrics(experiment: Experiment) -> list[str]:
    """List all metrics of an epoch that are logged: the experiment's and the trainer's own."""
    return [*list_epoch_metrics(experiment.metrics), *OWN_METRICS]


class HistoryError(RunFailed):
    """The training's history differs from its run's: the run cannot be resumed into one history."""

    def __init__(self, difference: str) -> None:
        advice = "start a new training without --resume or --run-id"
        super().__init__(f"{difference}; the run keeps its epochs and its checkpoint; {advice}")


@dataclass(frozen=True)
class Entry:
    """One epoch, counted from 1: its end in milliseconds UTC, and all its metrics (:func:`list_logged_metrics`)."""

    epoch: int
    time: int
    values: dict[str, float]

    @property
    def moment(self) -> str:
        """The time in ISO 8601, exact to the millisecond."""
        return (datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=self.time)).isoformat(timespec="milliseconds")


def missing_metrics(entry: Entry, known: Mapping[int, Entry]) -> dict[str, float]:
    """The metrics of an epoch that ``known``, the logged epochs, lacks."""
    logged = known[entry.epoch].values if entry.epoch in known else {}
    return {name: value for name, value in entry.values.items() if name not in logged}


class Journal:
    """Entries in a file; :attr:`mark` identifies and later verifies what was written so far.

    Args:
        path: the file. The first :meth:`append` empties it, unless :meth:`restore` was called before.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1
        self._bytes = 0
        self._hash = hashlib.sha256()

    @property
    def mark(self) -> dict[str, Any]:
        """Length and SHA-256 of the file."""
        return {"bytes": self._bytes, "sha256": self._hash.hexdigest()}

    def restore(self, mark: dict[str, Any]) -> list[Entry]:
        """Go back to a mark and return the entries up to it; the next append overwrites what follows.

        Raises:
            ValueError: if the file does not match the mark, or a line is not an entry.
            OSError: if the file cannot be read.
        """
        content = self.path.read_bytes()[: mark["bytes"]] if mark["bytes"] else b""
        digest = hashlib.sha256(content)
        if len(content) != mark["bytes"] or digest.hexdigest() != mark["sha256"]:
            raise ValueError(f"{self.path.name} is damaged")
        self._bytes, self._hash = len(content), digest
        return _entries(content)

    def append(self, entry: Entry) -> None:
        """Append an entry and flush it to the disk.

        Raises:
            OSError: if it cannot be written, or the file was removed or replaced; a partial line does not count.
        """
        if self._descriptor < 0:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            os.ftruncate(self._descriptor, self._bytes)
        own, current = os.fstat(self._descriptor), self.path.stat()
        if (own.st_dev, own.st_ino) != (current.st_dev, current.st_ino):
            raise OSError(f"{self.path} was replaced by another process")
        line = (json.dumps(asdict(entry)) + "\n").encode()
        written = 0
        while written < len(line):
            written += os.pwrite(self._descriptor, line[written:], self._bytes + written)
        flush(self._descriptor)
        self._bytes += len(line)
        self._hash.update(line)

    def entries(self) -> list[Entry]:
        """Read all entries so far."""
        return _entries(self.path.read_bytes()[: self._bytes]) if self._bytes else []

    def close(self) -> None:
        """Close the file; the next append opens it again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def read(path: Path) -> list[Entry]:
    """Read the complete entries of a journal without a mark; empty if the file does not exist.

    Raises:
        OSError: if the file cannot be read.
    """
    entries: list[Entry] = []
    lines = path.read_bytes().splitlines() if path.exists() else []
    for line in lines:
        try:
            entry = _entry(line)
        except ValueError:
            break  # a partial line
        if entry.epoch != len(entries) + 1:
            break
        entries.append(entry)
    return entries


def _entries(content: bytes) -> list[Entry]:
    return [_entry(line) for line in content.splitlines()]


def _entry(line: bytes) -> Entry:
    """Parse a line.

    Raises:
        ValueError: if the line is not an entry.
    """
    fields = json.loads(line)
    if not isinstance(fields, dict) or set(fields) != {"epoch", "time", "values"}:
        raise ValueError("a journal line is not an entry")
    entry = Entry(**fields)
    numbers = entry.values.values() if isinstance(entry.values, dict) else [None]
    if not (type(entry.epoch) is type(entry.time) is int and all(type(number) in (int, float) for number in numbers)):
        raise ValueError("a journal entry has a value that is not a number")
    return entry


def write_tables(
    entries: list[Entry], rule: Rule, monitor: str, folder: Path, next_rates: Sequence[float] = ()
) -> list[Path]:
    """Write history.csv, if there is an epoch, and early_stopping.csv, the rule's state after each epoch.

    Args:
        next_rates: the learning rate that follows each epoch, where a rule cuts it; else empty.

    Returns:
        the paths.
    """
    states = follow(rule, (entry.values[monitor] for entry in entries))
    stops = [
        (entry.epoch, repr(entry.values[monitor]), repr(state.best), state.wait, state.event, entry.moment)
        for entry, state in zip(entries, states, strict=True)
    ]
    more: list[tuple[str, ...]] = [(repr(rate),) for rate in next_rates] or [()] * len(stops)
    head = ("epoch", "value", "best", "wait", "event", "time", *([NEXT_RATE] if next_rates else []))
    rows = [(*stop, *rate) for stop, rate in zip(stops, more, strict=True)]
    paths = [_write(folder / EARLY_STOPPING, head, rows)]
    if entries:
        history = [(entry.epoch, *map(repr, entry.values.values())) for entry in entries]
        paths.append(_write(folder / HISTORY, ("epoch", *entries[0].values), history))
    return paths


def _write(path: Path, head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])
    return path
