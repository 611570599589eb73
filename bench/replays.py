"""Measure the time of a replay of many trainings, by their number, their epochs and the rules.

make bench
python bench/replays.py

The store is SQLite, filled by MLflow's client. Measured are whole processes of ``src/replay.py``, from start to exit,
and in this process the parts: reading the histories, the rules, the pooling. All cases alternate.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

import epochs

sys.path[:0] = [str(epochs.SRC), str(epochs.HERE.parent / "tests")]

ROUNDS = 2
DELTAS = (0.0, 0.0001, 0.001, 0.01, 0.1)


@dataclass(frozen=True)
class Case:
    """Runs of equal length, and a grid of patiences 1 to ``patiences`` by five values of min_delta."""

    runs: int
    epochs: int
    patiences: int
    seconds: dict[str, list[float]] = field(default_factory=dict, compare=False)

    @property
    def experiment(self) -> str:
        """The MLflow experiment; cases that differ only in the rules share their histories."""
        return f"{self.runs} runs of {self.epochs} epochs"


CASES = [
    Case(250, 1000, 20),
    Case(1000, 1000, 20),
    Case(1000, 250, 20),
    Case(1000, 1000, 5),
    Case(1000, 1000, 80),
]


def fill(case: Case) -> None:
    """Record simulated trainings: a loss that falls to a minimum and rises, with noise."""
    import mlflow

    from helpers.recording import record

    draw = np.random.default_rng(7)
    experiment_id = mlflow.create_experiment(case.experiment)
    steps = np.arange(1, case.epochs + 1)
    start = time.perf_counter()
    for number in range(case.runs):
        lowest = draw.integers(2, case.epochs // 2)
        values = 0.3 + 0.3 * np.log(steps / lowest) ** 2 / 10 + draw.normal(0, 0.002, case.epochs)
        rule = {"monitor": "val_loss", "mode": "min", "patience": 100, "min_delta": 0.0001, "seed": number}
        record(values.tolist(), rule, {"verb": "train"}, experiment=experiment_id, name=f"seed={number}")
    print(f"{case.experiment} recorded in {time.perf_counter() - start:.0f} s", flush=True)


def measure(case: Case) -> None:
    """Measure a case once, the whole process and its parts, and add the seconds to it."""
    from imdb_conv1d.experiment import EXPERIMENT
    from tracked.analysis import recommendation, rule_replay
    from tracked.runs import metric_history, queries

    marks = [time.perf_counter()]
    flags = [f"--patience=1-{case.patiences}", f"--min_delta={','.join(map(str, DELTAS))}"]
    command = [epochs.PYTHON, str(epochs.SRC / "replay.py"), f"--experiment={case.experiment}", *flags]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    marks.append(time.perf_counter())
    trainings = queries.find_trainings(EXPERIMENT, case.experiment)
    histories = metric_history.read_all(trainings.runs, "auto", "auto", lambda line: None, all_of_them=True)
    marks.append(time.perf_counter())
    table = rule_replay.replay(histories, range(1, case.patiences + 1), DELTAS)
    marks.append(time.perf_counter())
    recommendation.pool_rules(table)
    recommendation.recommend(table, 0.001)
    marks.append(time.perf_counter())
    for part, seconds in zip(("whole", "read", "rules", "pool"), np.diff(marks), strict=True):
        case.seconds.setdefault(part, []).append(float(seconds))
    print(f"{case.experiment}, {case.patiences} × {len(DELTAS)} rules: {np.diff(marks).round(2).tolist()}", flush=True)


def main() -> None:
    """Measure, print and write bench/out/replays.md."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        os.environ |= {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "MLFLOW_DISABLE_TELEMETRY": "true"}
        os.chdir(Path(folder))
        for case in {case.experiment: case for case in CASES}.values():
            fill(case)
        for _ in range(ROUNDS):
            for case in CASES:
                measure(case)
        os.chdir(epochs.HERE)
    rows = [
        [f"{case.runs:,} runs, {case.epochs:,} epochs, {case.patiences} × {len(DELTAS)} rules"]
        + [of(case.seconds["whole"]) for of in (median, min)]
        + [median(case.seconds[part]) for part in ("read", "rules", "pool")]
        for case in CASES
    ]
    head = [
        "a replay",
        "whole process: median, s",
        "minimum, s",
        "reading, s",
        "the rules, s",
        "pooling, s",
    ]
    epochs.write("replays.md", f"{epochs.table(head, rows)}\n\n{ROUNDS} alternating processes each; parts are medians.")


if __name__ == "__main__":
    main()
