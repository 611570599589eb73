"""What is known of an output: a journal while the prediction is unfinished, ``manifest.json`` once it is complete.

A line is added to the journal for each part, so that a part among 10,000 costs no more than the first. A line that a
kill has cut is dropped: its part is made again.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tracked.predict.tasks import Part, Training, add_observations
from tracked.training.files import flush, write_safely

FORMAT = 1
MANIFEST, JOURNAL = "manifest.json", "journal.jsonl"


@dataclass
class State:
    """What is known of a prediction.

    Args:
        facts: what it depends on (:mod:`tracked.predict.facts`); empty for a new one.
        run_id: of its MLflow run; empty if it has none yet.
        parts: the noted ones, by number.
        training: what was observed of the training part; None: not yet.
        is_complete: whether nothing is missing but, perhaps, the run's end.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    run_id: str = ""
    parts: dict[int, Part] = field(default_factory=dict)
    training: Training | None = None
    is_complete: bool = False

    @property
    def rows(self) -> int:
        """The rows of the input in the noted parts."""
        return sum(part.rows for part in self.parts.values())

    @property
    def answered(self) -> int:
        """The rows with an answer."""
        return sum(part.answered for part in self.parts.values())

    @property
    def rejected(self) -> int:
        """The rows without an answer."""
        return sum(part.rejected for part in self.parts.values())

    @property
    def reasons(self) -> dict[str, int]:
        """The rejected rows by the reason, the most frequent first."""
        total: dict[str, int] = {}
        for part in self.ordered:
            total = add_observations(total, part.reasons)
        return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))

    @property
    def ordered(self) -> Sequence[Part]:
        """The parts by number."""
        return [part for _, part in sorted(self.parts.items())]

    @property
    def observed(self) -> dict[str, Any]:
        """What was observed of all rows."""
        total: dict[str, Any] = {}
        for part in self.ordered:
            total = add_observations(total, part.observed)
        return total

    def as_manifest(self) -> dict[str, Any]:
        """Make the content of ``manifest.json``: the same for the same answers, but the run's id."""
        return {
            "format": FORMAT,
            **self.facts,
            "rows": self.rows,
            "answered": self.answered,
            "rejected": self.rejected,
            "reasons": self.reasons,
            "parts": [asdict(part) for part in self.ordered],
            "training": asdict(self.training) if self.training else None,
            "run_id": self.run_id,
        }


class Journal:
    """The journal of an unfinished prediction."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, state: State) -> None:
        """Begin it with what is known, in place of a former one.

        Raises:
            OSError: if it cannot be written.
        """
        lines: list[dict[str, Any]] = [{"format": FORMAT, "facts": state.facts}]
        lines += [{"run_id": state.run_id}] if state.run_id else []
        lines += [{"part": asdict(part)} for part in state.ordered]
        lines += [{"training": asdict(state.training)}] if state.training else []
        write_safely(self.path, lambda to: to.write_text("".join(f"{json.dumps(line)}\n" for line in lines)))

    def note(self, **event: Any) -> None:
        """Add a line and flush it to the disk.

        Raises:
            OSError: if it cannot be written.
        """
        with self.path.open("ab", buffering=0) as file:
            content = memoryview(f"{json.dumps(event)}\n".encode())
            while content:
                content = content[file.write(content) or 0 :]
            flush(file.fileno())

    def read(self) -> State:
        """Read what is known, up to a line that is cut; that line is removed.

        Raises:
            ValueError: if it is of another format.
            OSError: if it cannot be read.
        """
        state, good = State(), 0
        with self.path.open("rb") as file:
            for line in file:
                try:
                    event = json.loads(line) if line.endswith(b"\n") else None
                except ValueError:
                    event = None
                if event is None:
                    break
                _take(state, event)
                good += len(line)
        if good < self.path.stat().st_size:
            os.truncate(self.path, good)
        return state


def _take(state: State, event: Mapping[str, Any]) -> None:
    if "facts" in event:
        if event["format"] != FORMAT:
            raise ValueError(f"its format is {event['format']}")
        state.facts = event["facts"]
    elif "run_id" in event:
        state.run_id = event["run_id"]
    elif "part" in event:
        part = Part(**event["part"])
        state.parts[part.number] = part
    elif "training" in event:
        state.training = Training(**event["training"])


def write_manifest(output: Path, state: State) -> None:
    """Write ``manifest.json``: from here on, the prediction is complete.

    Raises:
        OSError: if it cannot be written.
    """
    write_safely(output / MANIFEST, lambda to: to.write_text(format_manifest(state)))


def format_manifest(state: State) -> str:
    """Format ``manifest.json``."""
    return json.dumps(state.as_manifest(), indent=1) + "\n"


def read_manifest(output: Path) -> State | None:
    """Read the state of a complete prediction; None if there is no manifest.

    Raises:
        ValueError: if it is of another format.
        OSError: if it cannot be read.
    """
    try:
        content = json.loads((output / MANIFEST).read_text())
    except FileNotFoundError:
        return None
    try:
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']}")
        parts = {one["number"]: Part(**one) for one in content["parts"]}
        training = Training(**content["training"]) if content["training"] else None
        facts = {name: content[name] for name in ("model", "code", "parameters", "input")}
        return State(facts, content["run_id"], parts, training, is_complete=True)
    except (KeyError, TypeError) as error:
        raise ValueError(f"it has no {error}") from None
