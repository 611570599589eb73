"""Measure an epoch of short texts of many classes, where fixed costs rule, beside plain Keras at the same maxlen.

python bench/short.py [rounds] [epochs]

Both train on the same ids, at maxlen 400 and at the longest text; the processes alternate, since a machine's speed
drifts. The first two epochs are left out: TensorFlow still compiles in them.
"""

import sys
from pathlib import Path
from statistics import median

import numpy as np

import epochs

CLASSES, TEXTS, WORDS, VOCABULARY = 77, 10_000, 12, 5000
LONGEST = WORDS + 1  # with the start id
LEFT_OUT = 1  # epochs after the first, which epochs.Epochs has apart
DATA = f"{TEXTS:,} made-up texts of {WORDS} words and {CLASSES} classes: four fifths of four fifths of them to train"


def make_ids(seed: int = 0) -> dict[str, np.ndarray]:
    """Make ids int32 [n, LONGEST] and labels of the training and the validation part.

    A text has two of its class's ten own words; the others are common ones, by Zipf's law.
    """
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(TEXTS) % CLASSES).astype(np.int32)
    frequency = 1 / np.arange(1, VOCABULARY - 2)
    x = rng.choice(np.arange(3, VOCABULARY), (TEXTS, LONGEST), p=frequency / frequency.sum()).astype(np.int32)
    x[:, 0] = 1
    for _ in range(2):
        x[np.arange(TEXTS), rng.integers(1, LONGEST, TEXTS)] = 3000 + 10 * y + rng.integers(0, 10, TEXTS)
    test, validation = TEXTS // 5, TEXTS // 5 + (TEXTS - TEXTS // 5) // 5
    return {
        "x": x[validation:], "y": y[validation:],
        "x_validation": x[test:validation], "y_validation": y[test:validation],
    }  # fmt: skip


def write_ids(maxlen: int) -> Path:
    """Write the ids, padded in front to ``maxlen``, in the form of :func:`ids.load`."""
    arrays = make_ids()
    for name in ("x", "x_validation"):
        arrays[name] = np.pad(arrays[name], ((0, 0), (maxlen - LONGEST, 0)))
    path = epochs.OUT / f"short-{maxlen}.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **arrays)
    return path


def commands(file: str, maxlen: int, count: int) -> dict[str, list[str]]:
    """The command of each peer."""
    return {
        "this project": [str(epochs.HERE / "ours.py"), file, f"--maxlen={maxlen}", f"--epochs={count}"],
        "plain Keras": [str(epochs.HERE / "keras_peer.py"), file, str(count), "7", "none"],
    }


def main(rounds: int = 2, count: int = 8) -> None:
    """Measure, print and write bench/out/short.md."""
    rows = []
    for maxlen in (400, LONGEST):
        file = str(write_ids(maxlen))
        seconds: dict[str, list[float]] = {}
        for number in range(rounds):
            for name, command in commands(file, maxlen, count).items():
                measured = epochs.run(command)
                seconds.setdefault(name, []).extend(measured.seconds[LEFT_OUT:])
                values = ", ".join(f"{value:.3f}" for value in measured.seconds)
                losses = ", ".join(f"{value:.3f}" for value in measured.val_loss)
                print(f"maxlen {maxlen}  round {number + 1}  {name}: {values} s; val_loss {losses}", flush=True)
        plain = seconds["plain Keras"]
        rows += [
            [f"maxlen {maxlen}, {name}", median(own), min(own), median(own) / median(plain), min(own) / min(plain)]
            for name, own in seconds.items()
        ]
    head = ["a whole epoch", "median, s", "minimum, s", "share of plain Keras's, medians", "minima"]
    note = f"{DATA}; epochs {LEFT_OUT + 2} to {count} of {rounds} alternating processes each, without MLflow."
    epochs.write("short.md", f"{epochs.table(head, rows)}\n\n{note}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
