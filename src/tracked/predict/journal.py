"""The journal of an unfinished prediction.

A line is added for each part, so that a part among 10,000 costs no more than the first. A line that a kill has cut is
dropped: its part is made again.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tracked.predict.state import State
from tracked.predict.tasks import Part, Training
from tracked.training.files import flush, write_safely

FORMAT = 1
JOURNAL = "journal.jsonl"


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
        lines += [{"environment": one} for one in state.environments]
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
    elif "environment" in event:
        state.environments.append(event["environment"])
    elif "run_id" in event:
        state.run_id = event["run_id"]
    elif "part" in event:
        part = Part(**event["part"])
        state.parts[part.number] = part
    elif "training" in event:
        state.training = Training(**event["training"])
