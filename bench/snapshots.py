"""What a snapshot costs: epochs that are kept beside epochs that are not, in one training at the article's size.

make bench
python bench/snapshots.py

Every other epoch leaves out its journal line and its snapshot, and nothing else. They are written when the epoch has
ended, so it is the next one that pays. Each of them is flushed to the disk.
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
    reproducibility.make_repeatable(7)

    from imdb_conv1d import networks
    from imdb_conv1d.experiment import EXPERIMENT
    from tracked.training.trainer import Trainer

    calls: dict[str, list[float]] = {"journal": [], "snapshot": []}
    seconds: dict[int, float] = {}

    def deliver(step: int, milliseconds: int, values: dict[str, float]) -> None:
        seconds[step] = values["epoch_seconds"]

    def every_other(name: str, function: Callable[..., None], epoch: Callable[..., int]) -> Callable[..., None]:
        def timed(*arguments: object) -> None:
            if epoch(*arguments) % 2:
                begun = time.perf_counter()
                function(*arguments)
                calls[name].append(time.perf_counter() - begun)

        return timed

    parameters = TrainParameters(epochs=2 * PAIRS + 2, patience=10**6)
    with tempfile.TemporaryDirectory(dir=epochs.OUT) as folder:  # on a disk, where /tmp may be memory
        trainer = Trainer(EXPERIMENT, parameters, Path(folder), deliver, Signals())
        trainer.restore(networks.NetworkTrainee(networks.build(parameters), parameters, *ids.load(file)))
        trainer.journal.append = every_other("journal", trainer.journal.append, lambda entry: entry.epoch)
        trainer.recorder.write_snapshot = every_other("snapshot", trainer.recorder.write_snapshot, lambda epoch: epoch)
        trainer.fit()
        size = max(path.stat().st_size for path in Path(folder).glob("epoch-*.npz")) / 1e6
    after = {step: seconds[step + 1] for step in sorted(seconds)[1:-1]}  # without the first, which prepares
    kept = [value for step, value in after.items() if step % 2]
    not_kept = [value for step, value in after.items() if not step % 2]
    differences = [one / other - 1 for one, other in zip(kept, not_kept, strict=False)]
    epoch = median(not_kept)
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
        f"{len(kept)} epochs that pay for a snapshot of {size:.1f} MB, {median(kept):.2f} s (median), beside "
        f"{len(not_kept)} that do not, {epoch:.2f} s; median of the differences {median(differences):+.1%}."
    )
    head = ["written and flushed", "median, ms", "minimum, ms", "of an epoch, median", "minimum"]
    epochs.write("snapshots.md", f"{epochs.table(head, rows)}\n\n{note}")


if __name__ == "__main__":
    main()
