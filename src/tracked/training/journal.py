"""A training's history as a file that only grows: one line of JSON an epoch, on the disk before anybody is told."""

import csv
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tracked.analysis.early_stopping import Rule, follow
from tracked.console.errors import RunFailed
from tracked.experiment import Experiment, list_epoch_metrics
from tracked.training.files import EARLY_STOPPING, HISTORY, flush

# Beside the metrics that an experiment declares.
LEARNING_RATE, EPOCH_SECONDS = "learning_rate", "epoch_seconds"
WAIT, BEST = "early_stopping/wait", "early_stopping/best"
OWN_METRICS = (LEARNING_RATE, EPOCH_SECONDS, WAIT, BEST)


def epoch_metrics(experiment: Experiment) -> list[str]:
    """Name all metrics of an epoch."""
    return [*list_epoch_metrics(experiment.metrics), *OWN_METRICS]


class HistoryError(RunFailed):
    """What is trained and what its run has are two histories; going on as this run cannot make them one."""

    def __init__(self, what: str) -> None:
        advice = "start a new training, without --resume or --run-id"
        super().__init__(f"{what}; the run's epochs and its checkpoint stay; {advice}")


@dataclass(frozen=True)
class Entry:
    """One epoch, counted from 1: when it ended, in milliseconds UTC, and all its metrics (:func:`epoch_metrics`)."""

    epoch: int
    time: int
    values: dict[str, float]

    @property
    def moment(self) -> str:
        """The time in ISO 8601, exact to the millisecond."""
        return (datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=self.time)).isoformat(timespec="milliseconds")


def missing_metrics(entry: Entry, known: Mapping[int, Entry]) -> dict[str, float]:
    """The metrics of an epoch that are not known yet, of all that is known by epoch."""
    has = known[entry.epoch].values if entry.epoch in known else {}
    return {name: value for name, value in entry.values.items() if name not in has}


class Journal:
    """Entries in a file. :attr:`mark` names exactly what has been written so far, and so verifies it later.

    Args:
        path: of the file. It is emptied, unless :meth:`restore` is called before the first :meth:`append`.
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
        """Go back to a mark, and return the entries up to it. What stands behind it is overwritten.

        Raises:
            ValueError: if the file is not what the mark says, or holds no entries; OSError if it cannot be read.
        """
        content = self.path.read_bytes()[: mark["bytes"]] if mark["bytes"] else b""
        found = hashlib.sha256(content)
        if len(content) != mark["bytes"] or found.hexdigest() != mark["sha256"]:
            raise ValueError(f"{self.path.name} is damaged")
        self._bytes, self._hash = len(content), found
        return _entries(content)

    def append(self, entry: Entry) -> None:
        """Write an entry, down to the disk.

        Raises:
            OSError: if it cannot be written, or the file is no longer there. What was written in part does not count.
        """
        if self._descriptor < 0:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            os.ftruncate(self._descriptor, self._bytes)
        ours, there = os.fstat(self._descriptor), self.path.stat()
        if (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino):
            raise OSError(f"{self.path} has been replaced by somebody else")
        line = (json.dumps(asdict(entry)) + "\n").encode()
        done = 0
        while done < len(line):
            done += os.pwrite(self._descriptor, line[done:], self._bytes + done)
        flush(self._descriptor)
        self._bytes += len(line)
        self._hash.update(line)

    def entries(self) -> list[Entry]:
        """All entries so far."""
        return _entries(self.path.read_bytes()[: self._bytes]) if self._bytes else []

    def close(self) -> None:
        """Close the file; another append opens it again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def read(path: Path) -> list[Entry]:
    """The whole entries of a journal of which no mark is known; none if there is no journal.

    Raises:
        OSError: if it cannot be read.
    """
    found: list[Entry] = []
    lines = path.read_bytes().splitlines() if path.exists() else []
    for line in lines:
        try:
            entry = _entry(line)
        except ValueError:
            break  # half a line
        if entry.epoch != len(found) + 1:
            break
        found.append(entry)
    return found


def _entries(content: bytes) -> list[Entry]:
    return [_entry(line) for line in content.splitlines()]


def _entry(line: bytes) -> Entry:
    """The entry that a line is.

    Raises:
        ValueError: if it is none.
    """
    found = json.loads(line)
    if not isinstance(found, dict) or set(found) != {"epoch", "time", "values"}:
        raise ValueError("a line of the journal is no entry")
    entry = Entry(**found)
    numbers = entry.values.values() if isinstance(entry.values, dict) else [None]
    if not (type(entry.epoch) is type(entry.time) is int and all(type(number) in (int, float) for number in numbers)):
        raise ValueError("an entry of the journal is not one of numbers")
    return entry


def write_tables(entries: list[Entry], rule: Rule, monitor: str, folder: Path) -> list[Path]:
    """Two tables for people and for pandas: history.csv, and early_stopping.csv with what the rule made of each epoch.

    Without an epoch, there is no history.csv.
    """
    states = follow(rule, (entry.values[monitor] for entry in entries))
    stops = [
        (entry.epoch, repr(entry.values[monitor]), repr(state.best), state.wait, state.event, entry.moment)
        for entry, state in zip(entries, states, strict=True)
    ]
    written = [_write(folder / EARLY_STOPPING, ("epoch", "value", "best", "wait", "event", "time"), stops)]
    if entries:
        history = [(entry.epoch, *map(repr, entry.values.values())) for entry in entries]
        written.append(_write(folder / HISTORY, ("epoch", *entries[0].values), history))
    return written


def _write(path: Path, head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])
    return path
