"""Train from ids with this project and without MLflow, to measure what an epoch's time depends on.

python bench/ours.py bench/out/ids.npz --epochs 3 [--times 2] [a parameter of src/train.py]
"""

import argparse
import os
import resource
import sys
import tempfile
from pathlib import Path

import epochs
import ids

sys.path.insert(0, str(epochs.SRC))

from imdb_conv1d.parameters import TrainParameters
from tracked.console.signals import Signals
from tracked.training import reproducibility


def main() -> None:
    """Train, and print the peak memory."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--times", type=int, default=1)
    known, rest = parser.parse_known_args()
    parameters = TrainParameters.parse(rest)
    parts = ids.load(known.file, parameters.maxlen, known.times)
    reproducibility.make_repeatable(parameters.seed, 1)

    from imdb_conv1d import networks
    from imdb_conv1d.experiment import EXPERIMENT
    from tracked.training.trainer import Trainer

    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(EXPERIMENT, parameters, Path(folder), lambda *epoch: None, Signals())
        network = networks.build(parameters, classes=int(parts[0][1].max()) + 1)
        trainer.restore(networks.NetworkTrainee(network, parameters, *map(ids.encode, parts)))
        trainer.fit()
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB, process {os.getpid()}")


if __name__ == "__main__":
    main()
