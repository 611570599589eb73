"""How an epoch's cost grows with the reviews, their length, the batch and the cores.

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
    for what, cases in CASES.items():
        base = None
        for value, flags in cases.items():
            cores = int(value) if what == "cores" else None
            if cores and (not hasattr(os, "sched_getaffinity") or cores > len(os.sched_getaffinity(0))):
                continue
            found = epochs.run([str(epochs.HERE / "ours.py"), file, f"--epochs={EPOCHS}", *flags], cores=cores)
            base = base or median(found.seconds)
            rows.append([f"{what} {value}", median(found.seconds), min(found.seconds), median(found.seconds) / base])
            print(f"{what} {value}: {', '.join(f'{second:.2f}' for second in found.seconds)} s", flush=True)
    head = ["this project, without tracking", "median, s", "minimum, s", "times the first"]
    epochs.write("growth.md", f"{epochs.table(head, rows)}\n\nEpochs 2 to {EPOCHS} of one process each.")


if __name__ == "__main__":
    main()
