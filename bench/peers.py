"""Measure the seconds of a whole epoch, with training, validation, checkpoint and tracking, beside other tools.

make bench
python bench/peers.py

The processes alternate, since a machine's speed drifts; medians and minima are of all rounds.
"""

import importlib.util
from statistics import median

import matplotlib.pyplot as plt

import epochs
import ids

ROUNDS, EPOCHS = 2, 4
DATA = "15,939 reviews to train, 3,985 to validate, the article's parameters"


def commands(file: str, count: int, seed: int) -> dict[str, list[str]]:
    """The command of each peer; PyTorch's if it is installed."""
    keras = [str(epochs.HERE / "keras_peer.py"), file, str(count), str(seed)]
    ours = [str(epochs.SRC / "train.py"), "--data=reviews", f"--epochs={count}", f"--seed={seed}"]
    peers = {
        "this project": ours,
        "this project, fused=false": [*ours, "--fused=false"],
        "plain Keras": [*keras, "none"],
        "plain Keras, MLflow's autolog": [*keras, "autolog"],
        "plain Keras, MLflow's callback": [*keras, "callback"],
    }
    if importlib.util.find_spec("torch"):
        peers["PyTorch"] = [str(epochs.HERE / "torch_peer.py"), file, str(count), str(seed)]
    else:
        print("PyTorch is not installed and left out: .venv/bin/python -m pip install torch==2.13.0")
    return peers


def main() -> None:
    """Measure, print and write bench/out/peers.md and peers.png."""
    file = str(ids.prepare())
    seconds: dict[str, list[float]] = {}
    first: dict[str, list[float]] = {}
    for number in range(ROUNDS):
        for name, command in commands(file, EPOCHS, 7).items():
            measured = epochs.run(command)
            seconds.setdefault(name, []).extend(measured.seconds)
            first.setdefault(name, []).append(measured.first)
            values = ", ".join(f"{value:.2f}" for value in measured.seconds)
            print(f"round {number + 1}  {name}: {values} s", flush=True)
    plain = seconds["plain Keras"]
    rows = [
        [name, median(own), min(own), median(plain) / median(own), min(plain) / min(own), median(first[name])]
        for name, own in seconds.items()
    ]
    head = [
        "a whole epoch",
        "median, s",
        "minimum, s",
        "times as fast, medians",
        "minima",
        "start to end of epoch 1, s",
    ]
    note = f"{DATA}; epochs 2 to {EPOCHS} of {ROUNDS} alternating processes each."
    epochs.write("peers.md", f"{epochs.table(head, rows)}\n\n{note}")
    draw(seconds)


def draw(seconds: dict[str, list[float]]) -> None:
    """Draw each epoch as a point, the median as a bar."""
    figure, axes = plt.subplots(figsize=(8, 0.6 * len(seconds) + 1.2), layout="constrained")
    for y, (name, values) in enumerate(seconds.items()):
        is_own = name.startswith("this")
        axes.barh(y, median(values), color="tab:blue" if is_own else "lightgray", zorder=1)
        axes.scatter(values, [y] * len(values), s=14, color="black", zorder=2)
        axes.annotate(f"  {median(values):.1f} s", (0, y), va="center", color="white" if is_own else "black")
    axes.set_yticks(range(len(seconds)), seconds)
    axes.invert_yaxis()
    axes.set_xlim(0, max(map(max, seconds.values())) * 1.05)
    axes.set_xlabel("seconds of a whole epoch: bars are medians, points the epochs")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(epochs.OUT / "peers.png", dpi=110)


if __name__ == "__main__":
    main()
