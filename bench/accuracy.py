"""Compare the best val_loss of each peer by seed: is a fast peer fast because it learns less?

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
    """The command of each peer, without the tracked variants of plain Keras, which train alike."""
    by_name = peers.commands(file, EPOCHS, seed)
    by_name["plain Keras"].append("anew")
    return {name: command for name, command in by_name.items() if not name.startswith("plain Keras, ")}


def main() -> None:
    """Measure, print and write bench/out/accuracy.md."""
    file = str(ids.prepare())
    best: dict[str, dict[int, float]] = {}
    for seed in range(7, 12):
        for name, command in commands(file, seed).items():
            if seed not in SEEDS.get(name, range(7, 10)):
                continue
            losses = epochs.run(command).val_loss
            best.setdefault(name, {})[seed] = min(losses)
            print(f"seed {seed}  {name}: {', '.join(f'{loss:.4f}' for loss in losses)}", flush=True)
    seeds = range(7, 12)
    rows = [
        [name, *(by_seed.get(seed, "") for seed in seeds), mean(by_seed.values()), stdev(by_seed.values())]
        for name, by_seed in best.items()
    ]
    head = ["best val_loss", *(f"seed {seed}" for seed in seeds), "mean", "standard deviation"]
    epochs.write("accuracy.md", f"{epochs.table(head, rows, digits=4)}\n\n{NOTE}")


if __name__ == "__main__":
    main()
