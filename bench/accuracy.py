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


def main() -> None:
    """Measure, print and write bench/out/accuracy.md."""
    file = str(ids.prepare())
    best: dict[str, dict[int, float]] = {}
    for seed in range(7, 12):
        for name, command in peers.commands(file, EPOCHS, seed).items():
            tracked = name.startswith("plain Keras, ")  # the same training as plain Keras, tracked
            if tracked or seed not in SEEDS.get(name, range(7, 10)):
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
    epochs.write("accuracy.md", f"{epochs.table(head, rows, digits=4)}\n\nOf {EPOCHS} epochs each.")


if __name__ == "__main__":
    main()
