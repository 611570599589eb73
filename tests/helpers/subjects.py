"""The experiments on which the kill harness and the tests of concurrent trainings run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tracked.experiment import Experiment

# Reviews of 20 words, layers of 8 units.
SMALL = [
    "--maxlen=20", "--max_features=50", "--filters=8", "--hidden_dims=8", "--learning_rate=0.01",
]  # fmt: skip
NARROW, WIDE = "--embedding_dims=8", "--embedding_dims=22"  # too narrow and wide enough for fused layers


@dataclass(frozen=True)
class Subject:
    """An experiment with the trainings to kill.

    Args:
        experiment: returns the experiment object of this process.
        words: the command of ``train``: the script's name, and the verb where one script has all verbs.
        flags: flags of every training.
        scenarios: flags of each kind of training, by name.
        prepare: writes a training's data to a folder.
        inputs: makes inputs of a registered model, whose predictions are compared bit by bit.
        phases: what the experiment does beside ``load``, ``build`` and ``package``: a phase's name, the module and the
            function.
    """

    experiment: Callable[[], Experiment]
    words: Sequence[str]
    flags: Sequence[str]
    scenarios: Mapping[str, Sequence[str]]
    prepare: Callable[[Path], None]
    inputs: Callable[[], Any]
    phases: Sequence[tuple[str, str, str]] = ()


def _imdb_conv1d() -> Experiment:
    from imdb_conv1d.experiment import EXPERIMENT

    return EXPERIMENT


@cache
def _diabetes() -> Experiment:
    from diabetes import Diabetes

    return Diabetes()


def _write_noisy_reviews(folder: Path) -> None:
    """Tiny reviews with a quarter of the labels wrong, so that trainings have a best epoch and stop."""
    from helpers.reviews import make_noisy_reviews

    make_noisy_reviews(200).to_csv(folder / "reviews.csv", index=False)


def _texts() -> Any:
    import numpy as np

    return np.array(["a warm and funny film", "a boring story about two friends", ""], dtype=object)


def _patients() -> Any:
    import numpy as np

    return np.linspace(-0.1, 0.1, 30, dtype=np.float32).reshape(3, 10)


SUBJECTS = {
    "imdb-conv1d": Subject(
        _imdb_conv1d,
        ["train.py"],
        ["--data=reviews.csv"],
        {
            "stopped by the rule": [*SMALL, WIDE, "--batch_size=8", "--patience=3", "--epochs=60"],
            "two calls an epoch, all epochs": [*SMALL, WIDE, "--batch_size=4", "--seed=8", "--epochs=6"],
            "plain layers, accuracy": [
                *SMALL, NARROW, "--batch_size=8", "--monitor=val_accuracy", "--mode=max", "--patience=4", "--epochs=40",
            ],
            "plain layers, all epochs": [*SMALL, WIDE, "--batch_size=16", "--fused=false", "--seed=9", "--epochs=5"],
            "gated, two members": [
                *SMALL, "--network=gated", "--members=2", "--ngrams=2", "--embedding_dims=4", "--hidden_dims=4",
                "--word_dropout=0.2", "--batch_size=16", "--patience=3", "--epochs=6",
            ],
        },
        _write_noisy_reviews,
        _texts,
        [
            ("encodes text", "imdb_conv1d.ids", "encode_parts"), ("fits n-grams", "imdb_conv1d.ngram_fit", "fit"),
            ("writes n-grams", "imdb_conv1d.ngram_model", "keep_file"),
            ("numbers n-grams", "imdb_conv1d.ngram_values", "number_in_file"),
        ],
    ),
    "diabetes": Subject(
        _diabetes,
        ["diabetes.py", "train"],
        [],
        {
            "stopped by the rule": ["--learning_rate=0.1", "--patience=3", "--epochs=60"],
            "all epochs": ["--seed=8", "--epochs=6"],
            "R2, the more the better": [
                "--monitor=val_r2", "--mode=max", "--learning_rate=0.1", "--patience=4", "--epochs=40", "--seed=2",
            ],  # whose best epoch is not the one with the least val_loss
            "larger batches, the last one smaller": ["--batch_size=100", "--seed=9", "--epochs=5"],
        },
        lambda folder: None,  # its data come with scikit-learn
        _patients,
    ),
}  # fmt: skip
