"""A made-up experiment that adds two numbers without a model, and goes wrong where a row or a version says so."""

import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from tracked.console.train_parameters import TrainParameters
from tracked.experiment import Experiment, Inputs, Metric, Request, Terms
from tracked.models import one_thread

COLUMNS = ("left", "right")
EXAMPLE = [[1, 2], [2.5, -0.5]]
SECRET = "what nobody but its sender may read"
COMMANDS = ("die", "die at first", "hang", "wait", "raise", "raise system exit", "nan", "short")  # values of left


class Adder(Experiment):
    """Adds pairs of numbers. A version's metadata say what is wrong with it.

    Args:
        folder: where its scorers leave traces, and wait for ``go``.
    """

    name = "adder"
    Parameters = TrainParameters
    metrics = (Metric("loss", "min"),)
    terms = Terms(row="pair")
    request_name: ClassVar[str] = "pairs"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        one_thread.load_model = str  # in the process that it was sent to: there is no model

    def find_inputs(self, request: Request) -> Inputs:
        """Read the columns of the version."""
        return Inputs(request.metadata.get("columns", COLUMNS))

    def open_scorer(self, model: Any, request: Request) -> Any:
        """Add, as the version does it."""
        metadata = dict(request.metadata)
        leave(self.folder / "opened", metadata.get("number", ""))
        if times := metadata.get("dies while loading"):
            die_at_most(self.folder / "loads", times)
        if metadata.get("hangs while loading"):
            time.sleep(600)
        if text := metadata.get("raises while loading"):
            raise ValueError(text)
        if metadata.get("lacks predict"):
            return object.__new__(type("Lacking", (), {"find_bad": None, "columns": {}}))
        return (ExplainingScorer if metadata.get("explains", True) else AddingScorer)(self.folder, metadata)


class AddingScorer:
    """Adds; a value that is neither a number nor one of ``COMMANDS`` is bad."""

    columns: ClassVar[Mapping[str, str]] = {"sum": "float64", "sign": "str"}
    notes: ClassVar[Mapping[str, str]] = {"sign": "of the sum"}

    def __init__(self, folder: Path, metadata: Mapping[str, Any]) -> None:
        self.folder, self.metadata = folder, metadata

    def find_bad(self, table: pd.DataFrame) -> dict[Any, str]:
        """Find what is no number."""
        if (table["left"] == "raise while looking").any():
            raise ValueError(SECRET)
        bad = {}
        for label, *row in table[list(COLUMNS)].itertuples():
            for column, value in zip(COLUMNS, row, strict=True):
                if not is_number(value) and value not in COMMANDS:
                    bad[label] = f"{column} is no number"
        return bad

    def predict(self, table: pd.DataFrame) -> np.ndarray:
        """Add, or do what a row says instead."""
        given = [str(value) for value in table["left"]]
        leave(self.folder / "batches", len(given))
        acts: dict[str, Callable[[], object]] = {
            "die": lambda: os.kill(os.getpid(), signal.SIGKILL),
            "die at first": lambda: die_at_most(self.folder / "deaths", 1),
            "hang": lambda: hang(self.folder),
            "wait": lambda: wait(self.folder),
        }
        for command in given:
            acts.get(command, int)()
        for command, error in {"raise": ValueError, "raise system exit": SystemExit}.items():
            if command in given:
                raise error(f"{SECRET}: {table.to_dict('records')}")
        pairs = [[float(value) if is_number(value) else 0.0 for value in row] for row in table[list(COLUMNS)].values]
        output = np.array(pairs).sum(axis=1, keepdims=True) + self.metadata.get("added", 0)
        output[[command == "nan" for command in given]] = np.nan
        if self.metadata.get("answers depend on neighbours"):
            output += len(given) * 1e-3
        if self.metadata.get("answers nan"):
            output[:] = np.nan
        return output[1:] if "short" in given or self.metadata.get("answers one less") else output

    def describe(self, output: np.ndarray) -> pd.DataFrame:
        """Name sums."""
        return pd.DataFrame({"sum": output[:, 0], "sign": np.where(output[:, 0] < 0, "minus", "plus")})


class ExplainingScorer(AddingScorer):
    """Explains, too."""

    def explain(self, table: pd.DataFrame) -> dict[str, Any]:
        """Explain with the left number."""
        left = float(table["left"].iloc[0])
        return {"pieces": [], "parts": [{"name": "left", "effect": left, "note": ""}], "note": "an effect is a number"}


def is_number(value: Any) -> bool:
    """True for a number or a text of one."""
    try:
        return not isinstance(value, bool) and value is not None and np.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def leave(file: Path, line: object) -> None:
    """Leave a line."""
    with file.open("a") as opened:
        opened.write(f"{line}\n")


def count(file: Path) -> int:
    """Count the lines that were left."""
    return len(file.read_text().splitlines()) if file.exists() else 0


def die_at_most(file: Path, times: int) -> None:
    """End this process, unless that many have ended here."""
    if count(file) < times:
        leave(file, os.getpid())
        os.kill(os.getpid(), signal.SIGKILL)


def hang(folder: Path) -> None:
    """Never answer."""
    leave(folder / "hanging", os.getpid())
    time.sleep(600)


def wait(folder: Path) -> None:
    """Wait until the test says ``go``."""
    leave(folder / "in hand", os.getpid())
    while not (folder / "go").exists():
        time.sleep(0.005)
