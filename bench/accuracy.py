"""Whether anybody is fast by learning less: the best val_loss of each peer, by seed.

make bench-accuracy
python bench/accuracy.py
"""

from statistics import mean, stdev

import epochs
import ids
import peers

EPOCHS = 4  # the best epoch is the second or third
SEEDS = {"this project": range(7, 12), "this project, fused=false": range(7, 12)}  # others: three
NOTE = f"Of {EPOCHS} epochs each. Plain Keras shuffles each epoch anew here; with a seed, its fit repeats one order."


def commands(file: str, seed: int) -> dict[str, list[str]]:
    """The command of each peer that learns in a way of its own; the tracked ones train as plain Keras does."""
    found = peers.commands(file, EPOCHS, seed)
    found["plain Keras"].append("anew")
    return {name: command for name, command in found.items() if not name.startswith("plain Keras, ")}


def main() -> None:
    """Measure, print and write bench/out/accuracy.md."""
    file = str(ids.prepare())
    best: dict[str, dict[int, float]] = {}
    for seed in range(7, 12):
        for name, command in commands(file, seed).items():
            if seed not in SEEDS.get(name, range(7, 10)):
                continue
            found = epochs.run(command).val_loss
            best.setdefault(name, {})[seed] = min(found)
            print(f"seed {seed}  {name}: {', '.join(f'{loss:.4f}' for loss in found)}", flush=True)
    seeds = range(7, 12)
    rows = [
        [name, *(found.get(seed, "") for seed in seeds), mean(found.values()), stdev(found.values())]
        for name, found in best.items()
    ]
    head = ["best val_loss", *(f"seed {seed}" for seed in seeds), "mean", "standard deviation"]
    epochs.write("accuracy.md", f"{epochs.table(head, rows, digits=4)}\n\n{NOTE}")


if __name__ == "__main__":
    main()
