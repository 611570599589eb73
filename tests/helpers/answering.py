"""A made-up experiment that answers numbers without a model, and dies where a test wants it to."""

import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from tracked.analysis.observations import count_classes
from tracked.console.train_parameters import TrainParameters
from tracked.experiment import Experiment, Inputs, Metric, Request, TrainedOn
from tracked.predict import part_files, worker
from tracked.training import files

POINTS = (
    "scoring", "part half written", "part written", "part renamed", "rejected written", "before the note",
    "note half written", "noted", "manifest half written", "manifest renamed", "before the manifest", "training seen",
)  # fmt: skip
OF_WORKERS = POINTS[:5]


class Doubler(Experiment):
    """Doubles numbers.

    Args:
        folder: of the counters of points.
        point: where to die; ``times``: at which passing of it, over all processes.
    """

    name = "doubler"
    Parameters = TrainParameters
    metrics = (Metric("loss", "min"),)

    def __init__(self, folder: str = "", point: str = "", times: int = 1, seconds: float = 0.0) -> None:
        self.folder, self.point, self.times, self.seconds = folder, point, times, seconds

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        worker.load_model = lambda path: None  # in the process that it was sent to: there is no model

    def find_inputs(self, request: Request) -> Inputs:
        """Read one column."""
        return Inputs(["number"])

    def open_scorer(self, model: Any, request: Request) -> "DoublingScorer":
        """Double."""
        if self.point in OF_WORKERS:
            arm(self)
        return DoublingScorer(self)

    def observe_training(self, scorer: Any, trained_on: TrainedOn) -> Mapping[str, Any]:
        """Observe a made-up part."""
        self.pass_point("training seen")
        return {"parity": count_classes(np.arange(200) % 2, ["even", "odd"])}

    def pass_point(self, name: str, last: Callable[[], object] = lambda: None) -> None:
        """Die if this is the point's passing that was asked for; ``last`` is called before."""
        if name != self.point:
            return
        counter = Path(self.folder) / "passed"
        with counter.open("a") as file:
            file.write("x")
        if counter.stat().st_size == self.times:
            last()
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)


class DoublingScorer:
    """Doubles numbers; anything else is bad."""

    columns: ClassVar[Mapping[str, str]] = {"doubled": "float64", "parity": "str"}

    def __init__(self, owner: Doubler) -> None:
        self.owner = owner

    def find_bad(self, table: pd.DataFrame) -> Mapping[Any, str]:
        """Find what is no number."""
        numbers = pd.to_numeric(table["number"], errors="coerce")
        return dict.fromkeys(table.index[numbers.isna()], "no number")

    def answer(self, table: pd.DataFrame) -> pd.DataFrame:
        """Double."""
        time.sleep(self.owner.seconds)
        self.owner.pass_point("scoring")
        numbers = pd.to_numeric(table["number"])
        return pd.DataFrame(
            {"doubled": numbers * 2, "parity": ["odd" if one % 2 else "even" for one in numbers]}, index=table.index
        )

    def observe(self, table: pd.DataFrame, answers: pd.DataFrame) -> Mapping[str, Any]:
        """Count parities."""
        return {"parity": count_classes(answers["parity"] == "odd", ["even", "odd"])}


def arm(owner: Doubler) -> None:
    """Make this process die at the experiment's point."""
    from tracked.predict import journal, manifest

    write, write_table, replace = files.write_safely, part_files._write, Path.replace
    note, write_manifest = journal.Journal.note, manifest.write_manifest

    def half(path: Path, *arguments: Any) -> None:
        write_table(path, *arguments)
        owner.pass_point("part half written", lambda: os.truncate(path, path.stat().st_size // 2))
        owner.pass_point("part written")

    def renamed(path: Path, to: Any) -> Path:
        result = replace(path, to)
        if Path(to).name.startswith("part-") and Path(to).parent.name != "rejected":
            owner.pass_point("part renamed")
        if Path(to).parent.name == "rejected":
            owner.pass_point("rejected written")
        if Path(to).name == "manifest.json":
            owner.pass_point("manifest renamed")
        return result

    def write_half(path: Path) -> None:
        with path.open("ab") as file:
            file.write(b'{"part": {"number": 0, "fi')

    def noted(self: journal.Journal, **event: Any) -> None:
        if "part" in event:
            owner.pass_point("before the note")
            owner.pass_point("note half written", lambda: write_half(self.path))
        note(self, **event)
        if "part" in event:
            owner.pass_point("noted")

    def half_a_manifest(path: Path, how: Callable[[Path], object]) -> None:
        def broken(partial: Path) -> None:
            how(partial)
            if path.name == "manifest.json":
                half = partial.stat().st_size // 2
                owner.pass_point("manifest half written", lambda: os.truncate(partial, half))

        write(path, broken)

    part_files._write = half
    Path.replace = renamed
    journal.Journal.note = noted
    manifest.write_safely = half_a_manifest

    def before(output: Path, state: Any) -> None:
        owner.pass_point("before the manifest")
        write_manifest(output, state)

    from tracked.predict import tracked_prediction

    tracked_prediction.write_manifest = before
