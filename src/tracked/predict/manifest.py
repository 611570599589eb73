"""``manifest.json``: what a complete prediction consists of."""

import json
from dataclasses import asdict
from pathlib import Path

from tracked.predict.state import State
from tracked.predict.tasks import Part, Training
from tracked.training.files import write_safely

FORMAT = 1
MANIFEST = "manifest.json"


def write_manifest(output: Path, state: State) -> None:
    """Write ``manifest.json``: from here on, the prediction is complete.

    Raises:
        OSError: if it cannot be written.
    """
    write_safely(output / MANIFEST, lambda to: to.write_text(format_manifest(state)))


def format_manifest(state: State) -> str:
    """Format ``manifest.json``: the same for the same answers, but the run's id and the environments."""
    content = {
        "format": FORMAT,
        **state.facts,
        "environments": state.environments,
        "rows": state.rows,
        "answered": state.answered,
        "rejected": state.rejected,
        "reasons": state.reasons,
        "parts": [asdict(part) for part in state.ordered],
        "training": asdict(state.training) if state.training else None,
        "run_id": state.run_id,
    }
    return json.dumps(content, indent=1) + "\n"


def is_manifest(path: Path) -> bool:
    """Check that a file is the manifest of a prediction, of any format."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and {"format", "model", "input", "parts"} <= set(content)


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
        return State(facts, content["environments"], content["run_id"], parts, training, is_complete=True)
    except (KeyError, TypeError) as error:
        raise ValueError(f"it has no {error}") from None
