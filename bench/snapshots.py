"""Measure the time of a snapshot: epochs with and without one, in one training at the article's size.

make bench
python bench/snapshots.py

Every other epoch omits its journal line and its snapshot only. Both are written and flushed after the epoch's end, so
their time counts in the next epoch.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import epochs
import ids

sys.path.insert(0, str(epochs.SRC))

from imdb_conv1d.parameters import TrainParameters
from tracked.console.signals import Signals
from tracked.training import reproducibility

PAIRS = 10


def main() -> None:
    """Measure, print and write bench/out/snapshots.md."""
    file = str(ids.prepare())
    reproducibility.make_repeatable(7, 1)

    from imdb_conv1d import networks
    from imdb_conv1d.experiment import EXPERIMENT
    from tracked.training.trainer import Trainer

    calls: dict[str, list[float]] = {"journal": [], "snapshot": []}
    seconds: dict[int, float] = {}

    def log_epoch(step: int, milliseconds: int, values: dict[str, float]) -> None:
        seconds[step] = values["epoch_seconds"]

    def every_other(name: str, function: Callable[..., None], epoch: Callable[..., int]) -> Callable[..., None]:
        def timed(*arguments: object) -> None:
            if epoch(*arguments) % 2:
                start = time.perf_counter()
                function(*arguments)
                calls[name].append(time.perf_counter() - start)

        return timed

    parameters = TrainParameters(epochs=2 * PAIRS + 2, patience=10**6)
    with tempfile.TemporaryDirectory(dir=epochs.OUT) as folder:  # on a disk; /tmp may be memory
        trainer = Trainer(EXPERIMENT, parameters, Path(folder), log_epoch, Signals())
        parts = map(ids.encode, ids.load(file))
        trainer.restore(networks.NetworkTrainee(networks.build(parameters), parameters, *parts))
        trainer.journal.append = every_other("journal", trainer.journal.append, lambda entry: entry.epoch)
        trainer.recorder.write_snapshot = every_other("snapshot", trainer.recorder.write_snapshot, lambda epoch: epoch)
        trainer.fit()
        size = max(path.stat().st_size for path in Path(folder).glob("epoch-*.npz")) / 1e6
    after = {step: seconds[step + 1] for step in sorted(seconds)[1:-1]}  # without the first, which warms up
    with_snapshot = [value for step, value in after.items() if step % 2]
    without = [value for step, value in after.items() if not step % 2]
    differences = [a / b - 1 for a, b in zip(with_snapshot, without, strict=False)]
    epoch = median(without)
    rows = [
        [
            name,
            1000 * median(spent),
            1000 * min(spent),
            f"{median(spent) / epoch:.2%}",
            f"{min(spent) / epoch:.2%}",
        ]
        for name, spent in [*calls.items(), ("both", [sum(pair) for pair in zip(*calls.values(), strict=True)])]
    ]
    note = (
        f"{len(with_snapshot)} epochs that pay for a snapshot of {size:.1f} MB, {median(with_snapshot):.2f} s "
        f"(median), beside {len(without)} that do not, {epoch:.2f} s; "
        f"median of the differences {median(differences):+.1%}."
    )
    head = ["written and flushed", "median, ms", "minimum, ms", "of an epoch, median", "minimum"]
    epochs.write("snapshots.md", f"{epochs.table(head, rows)}\n\n{note}")


if __name__ == "__main__":
    main()
