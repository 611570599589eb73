"""Kill a search in the middle of a trial and start it again, and count what its store then says.

python bench/search_kills.py

Beside this project's search (of the second experiment) stands Optuna with MLflow's storage for it, resumed with
``load_if_exists``. Both run on SQLite, one trial at a time; every process is killed at once by SIGKILL.
"""

import json
import os
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import epochs

TRIALS, KILLS = 12, 3
WAIT = 0.5  # seconds after a trial's beginning
DIABETES = epochs.HERE.parent / "examples" / "diabetes" / "diabetes.py"
OURS = [str(DIABETES), "search", f"--trials={TRIALS}", "--epochs=40", "--patience=40", "--confirm=0", "--keep=0"]


def run(
    command: list[str], again: list[str], folder: Path, uri: str, count_begun: Callable[[], int], kills: int
) -> None:
    """Run a command, kill it and all processes below it so often in a trial of its own, and let the last end."""
    environment = os.environ | {"MLFLOW_TRACKING_URI": uri, "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment |= {"DIABETES_SNAPSHOTS": str(folder / "snapshots"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    for attempt in range(kills + 1):
        before = count_begun()
        with (folder / "output.txt").open("a") as output:
            arguments = [epochs.PYTHON, *(again if attempt else command)]
            process = subprocess.Popen(arguments, cwd=folder, env=environment, stdout=output, stderr=output)
            if attempt == kills:
                if process.wait():
                    raise RuntimeError(f"exit {process.returncode}: {(folder / 'output.txt').read_text()[-2000:]}")
                return
            while count_begun() < before + 3:  # two trials end, the third is killed
                if process.poll() is not None:
                    raise RuntimeError(f"it has ended: {(folder / 'output.txt').read_text()[-2000:]}")
                time.sleep(0.05)
            time.sleep(WAIT)
            workers = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True)
            for pid in [process.pid, *map(int, workers.stdout.split())]:
                subprocess.run(["kill", "-9", str(pid)], check=False, capture_output=True)
            process.wait()


def measure_ours(folder: Path, kills: int) -> dict[str, int]:
    """Count of this project's search: the points of its trials, and their runs."""
    import mlflow

    uri = f"sqlite:///{folder}/mlflow.db"
    client = mlflow.MlflowClient(uri)

    def children() -> list[mlflow.entities.Run]:
        found = client.search_experiments()
        runs = client.search_runs([one.experiment_id for one in found])
        return [one for one in runs if "trial" in one.data.tags]

    begun = lambda: sum("val_loss" in one.data.metrics for one in children())  # noqa: E731
    run(OURS, [str(DIABETES), "search", "--resume=latest"], folder, uri, begun, kills)
    points = Counter(one.data.tags["trial"] for one in children())
    finished = Counter(one.data.tags["trial"] for one in children() if one.info.status == "FINISHED")
    epochs_of = [client.get_metric_history(one.info.run_id, "val_loss") for one in children()]
    return {
        "finished": sum(finished.values()),
        "lost": len(points - finished),
        "doubled": sum(count - 1 for count in points.values()),
        "RUNNING": sum(one.info.status == "RUNNING" for one in children()),
        "epochs twice": sum(len(steps) - len({point.step for point in steps}) for steps in epochs_of),
    }


def measure_optuna(folder: Path, kills: int) -> dict[str, int]:
    """Count of Optuna's study: the points that its objective was given, and its runs."""
    import mlflow

    uri, journal = f"sqlite:///{folder}/mlflow.db", folder / "journal.jsonl"
    client = mlflow.MlflowClient(uri)
    journal.touch()

    def read(what: str) -> list[str]:
        lines = [json.loads(line) for line in journal.read_text().splitlines()]
        return [json.dumps(values) for kind, _, values in lines if kind == what]

    command = [str(epochs.HERE / "optuna_peer.py"), "trials", str(journal), str(TRIALS)]
    run(command, command, folder, uri, lambda: len(read("begin")), kills)
    begun, ended = Counter(read("begin")), Counter(read("end"))
    (experiment,) = [one for one in client.search_experiments() if one.name == "peer"]
    trials = [
        one for one in client.search_runs([experiment.experiment_id]) if "optuna.study_direction" not in one.data.tags
    ]
    numbers = Counter(one.data.tags.get("numbers", "none") for one in trials)
    return {
        "finished": sum(one.info.status == "FINISHED" for one in trials),
        "lost": len(begun - ended),
        "doubled": sum(count - 1 for count in ended.values()),
        "RUNNING": sum(one.info.status == "RUNNING" for one in trials),
        "numbers": sum(count - 1 for count in numbers.values()),
        "without parent": sum("mlflow.parentRunId" not in one.data.tags for one in trials),
    }


def main() -> None:
    """Measure, print and write bench/out/search_kills.md."""
    rows = []
    for name, measure in (("this search", measure_ours), ("Optuna, MLflow's storage", measure_optuna)):
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            counts = measure(Path(folder), KILLS)
            print(name, counts, flush=True)
        rows.append([name, *(counts[what] for what in ("finished", "lost", "doubled", "RUNNING"))])
    head = [f"{TRIALS} trials, {KILLS} kills", "finished", "lost", "doubled", "RUNNING for ever"]
    epochs.write("search_kills.md", epochs.table(head, rows))


if __name__ == "__main__":
    main()
