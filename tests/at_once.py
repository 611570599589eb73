"""Trainings side by side on one store, in processes of their own; prints their exit statuses as JSON.

python tests/at_once.py URI FOLDER DATA 8 -- [flags of src/train.py]
"""

import json
import os
import sys
from pathlib import Path

import faults


def main() -> int:
    """Fork them from a process that has imported everything, so that they start together."""
    uri, folder, data, number = sys.argv[1:5]
    flags = sys.argv[6:]
    faults.import_all()
    os.environ["MLFLOW_TRACKING_URI"] = uri
    children = {}
    for place in range(int(number)):
        child = os.fork()
        if child == 0:
            words = [*flags, f"--data={data}", f"--model_name=side-by-side-{place}"]
            faults.become_training(words, Path(folder), Path(folder) / f"{place}.log")
        children[child] = place
    statuses = {children[child]: os.waitstatus_to_exitcode(status) for child, status in map(wait, children)}
    print(json.dumps(statuses))
    return int(any(statuses.values()))


def wait(child: int) -> tuple[int, int]:
    return os.waitpid(child, 0)


if __name__ == "__main__":
    sys.exit(main())
