"""Run concurrent trainings on one store, in separate processes, and print their exit statuses as JSON.

python tests/helpers/at_once.py URI FOLDER imdb-conv1d 8 -- [flags of src/train.py]
python tests/helpers/at_once.py URI FOLDER diabetes 8 -- [flags of examples/diabetes/diabetes.py train]
"""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers import forked
from helpers.subjects import SUBJECTS


def main() -> int:
    """Fork the trainings from a process with all imports done, so that they start together."""
    uri, folder, experiment, number = sys.argv[1:5]
    flags = sys.argv[6:]
    forked.import_all()
    os.environ["MLFLOW_TRACKING_URI"] = uri
    children = {}
    for index in range(int(number)):
        child = os.fork()
        if child == 0:
            words = [*flags, f"--model_name=side-by-side-{index}"]
            forked.become_training(SUBJECTS[experiment], words, Path(folder), Path(folder) / f"{index}.log")
        children[child] = index
    statuses = {children[child]: os.waitstatus_to_exitcode(status) for child, status in map(wait, children)}
    print(json.dumps(statuses))
    return int(any(statuses.values()))


def wait(child: int) -> tuple[int, int]:
    return os.waitpid(child, 0)


if __name__ == "__main__":
    sys.exit(main())
