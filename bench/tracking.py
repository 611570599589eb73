"""Measure the time of tracking: epochs with and without calls to MLflow, in one training.

make bench
python bench/tracking.py

Every other epoch omits only the calls to MLflow. An epoch's metrics are sent while the next epoch trains, so their time
counts there. Measured on a new run, and from epoch 10,001 on a run with 10,000 points of each metric; with SQLite, and
with an MLflow server on the same machine, whose own work counts.
"""

import gc
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import epochs
import ids

sys.path[:0] = [str(epochs.SRC), str(epochs.HERE.parent / "tests")]

from imdb_conv1d.parameters import TrainParameters
from tracked.console.signals import Signals
from tracked.training import reproducibility

PAIRS, POINTS = 6, 10_000
METRICS = (
    "loss",
    "accuracy",
    "val_loss",
    "val_accuracy",
    "learning_rate",
    "early_stopping/wait",
    "early_stopping/best",
)


def fill(run_id: str) -> None:
    """Log 10,000 points of each metric to a run."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    client, now = MlflowClient(), round(time.time() * 1000)
    for first in range(1, POINTS + 1, 100):
        steps = range(first, first + 100)
        points = [Metric(name, 1 / step, now + step, step) for name in (*METRICS, "epoch_seconds") for step in steps]
        client.log_batch(run_id, metrics=points)


def train(parts: tuple, after: int, name: str) -> list[object]:
    """Train pairs of epochs, the first of each while metrics are sent; returns a row of the table."""
    import mlflow

    from imdb_conv1d import networks
    from imdb_conv1d.experiment import EXPERIMENT
    from tracked.runs.writer import Run
    from tracked.training.trainer import Trainer

    calls: list[float] = []
    seconds: dict[int, float] = {}
    with mlflow.start_run() as active:
        if after:
            fill(active.info.run_id)
        run = Run(active.info.run_id, EXPERIMENT.name)
        log_batch = run.client.log_batch

        def timed(*arguments: object, **more: object) -> None:
            start = time.perf_counter()
            log_batch(*arguments, **more)
            calls.append(time.perf_counter() - start)

        run.client.log_batch = timed

        def log_epoch(step: int, milliseconds: int, values: dict[str, float]) -> None:
            seconds[step] = values["epoch_seconds"]
            if step % 2:
                run.log_epoch(step, milliseconds, values)

        parameters = TrainParameters(epochs=2 * PAIRS + 2, patience=10**6)
        trainee = networks.NetworkTrainee(networks.build(parameters), parameters, *map(ids.encode, parts))
        fit = trainee.fit
        trainee.fit = lambda callbacks, first, last: fit(callbacks, after + first, after + last)
        gc.collect()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        trainer = Trainer(EXPERIMENT, parameters, run.folder, log_epoch, Signals())
        trainer.restore(trainee)
        trainer.fit()
        run.flush()
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024
        run.close()
    steps = sorted(seconds)[1:]  # without the first, which warms up
    pairs = [(seconds[step], seconds[step + 1]) for step in steps[::2] if step + 1 in seconds]
    ratios = [with_calls / without - 1 for with_calls, without in pairs]
    return [
        f"{name}, from epoch {after + 1:,}",
        median(pair[0] for pair in pairs),
        median(pair[1] for pair in pairs),
        f"{median(ratios):+.1%}",
        len(calls) / (len(seconds) // 2),
        median(calls) * 1000,
        f"{median(calls) / median(seconds.values()):.2%}",
        f"{grown:.0f}",
    ]


def main() -> None:
    """Measure, print and write bench/out/tracking.md."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    file = str(ids.prepare())
    reproducibility.make_repeatable(7, 1)

    import mlflow

    from helpers.servers import mlflow_server

    rows = []
    with tempfile.TemporaryDirectory() as folder, mlflow_server(Path(folder)) as server:
        for name, uri in (("SQLite", f"sqlite:///{folder}/own.db"), ("server", server)):
            mlflow.set_tracking_uri(uri)
            mlflow.set_experiment("tracking")
            rows += [train(ids.load(file), after, name) for after in (0, POINTS)]
    head = ["", "epoch with calls, s", "without, s", "median of the differences", "calls an epoch", "ms a call"]
    head += ["a call's share of an epoch", "memory grown, MB"]
    note = f"{PAIRS} pairs of neighbouring epochs each, medians; calls to MLflow are made while the next epoch trains."
    epochs.write("tracking.md", f"{epochs.table(head, rows)}\n\n{note}")


if __name__ == "__main__":
    main()
