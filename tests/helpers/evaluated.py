"""Read the runs of trainings and evaluations, and all that an evaluation has logged."""

import hashlib
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Run


def runs(verb: str) -> list[Run]:
    """The verb's runs, the newest first, with their inputs."""
    found = mlflow.search_runs(filter_string=f"tags.verb = '{verb}'", output_format="list")
    return [mlflow.get_run(run.info.run_id) for run in found]


def contents(run: Run) -> dict[str, Any]:
    """All that an evaluation has logged, without times and the process."""
    place = Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="."))
    files = {str(path.relative_to(place)): path for path in place.rglob("*") if path.is_file()}
    return {
        "params": dict(run.data.params) | {"model": ""},
        "metrics": {name: value for name, value in run.data.metrics.items() if name != "test_seconds"},
        "tags": {name: value for name, value in run.data.tags.items() if name != "launch"},
        "files": {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()},
        "models": [one.model_id for one in run.inputs.model_inputs],
        "data": [one.to_dictionary() for one in run.inputs.dataset_inputs],
        "place": (run.info.experiment_id, run.info.run_name, run.info.status),
    }
