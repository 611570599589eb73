"""Measure how an epoch's time grows with the reviews, their length, the batch size and the cores.

make bench
python bench/growth.py
"""

import os
from statistics import median

import epochs
import ids

EPOCHS = 3
CASES = {
    "reviews": {"× 1": [], "× 2": ["--times=2"], "× 4": ["--times=4"]},
    "maxlen": {str(size): [f"--maxlen={size}"] for size in (100, 200, 400, 800)},
    "batch_size": {str(size): [f"--batch_size={size}"] for size in (32, 128, 512)},
    "cores": {"1": [], "2": []},
}


def main() -> None:
    """Measure, print and write bench/out/growth.md."""
    file, rows = str(ids.prepare()), []
    for dimension, cases in CASES.items():
        base = None
        for value, flags in cases.items():
            cores = int(value) if dimension == "cores" else None
            if cores and (not hasattr(os, "sched_getaffinity") or cores > len(os.sched_getaffinity(0))):
                continue
            command = [str(epochs.HERE / "ours.py"), file, f"--epochs={EPOCHS}", *flags]
            seconds = epochs.run(command, cores=cores).seconds
            base = base or median(seconds)
            rows.append([f"{dimension} {value}", median(seconds), min(seconds), median(seconds) / base])
            print(f"{dimension} {value}: {', '.join(f'{second:.2f}' for second in seconds)} s", flush=True)
    head = ["this project, without tracking", "median, s", "minimum, s", "times the first"]
    epochs.write("growth.md", f"{epochs.table(head, rows)}\n\nEpochs 2 to {EPOCHS} of one process each.")


if __name__ == "__main__":
    main()
