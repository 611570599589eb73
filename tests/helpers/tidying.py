"""Made-up records of a store for tidy: trainings with little files in place of networks, and what refers to them."""

import json
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from diabetes import Diabetes
from tracked.console.train_parameters import make_train_parameters
from tracked.training.holder import Holder
from tracked.training.run_folder import ATTEMPTS, LOCK

NAME = "diabetes"
DIGEST = "d" * 64
SETTLED = {"stop_reason": "patience"}
CLOSED = {"closed": "true", "stop_reason": "killed"}


class MadeUp:
    """Make records in the store that MLflow's settings name, of little files.

    Args:
        root: of the run folders.
    """

    def __init__(self, root: Path, experiment_id: str = "0") -> None:
        self.client, self.root, self.experiment_id = MlflowClient(), root, experiment_id

    def run(
        self,
        verb: str,
        tags: Mapping[str, str] = {},
        params: Mapping[str, str] = {},
        metrics: Mapping[str, Sequence[float]] = {},
        files: Mapping[str, bytes] = {},
        status: str = "FINISHED",
        owner: str = NAME,
    ) -> str:
        """Make a run of a verb; returns its id."""
        launch = {"token": uuid.uuid4().hex} | asdict(Holder(2**31, "gone", "long ago"))
        all_tags = {"verb": verb, "experiment": owner, "launch": json.dumps(launch), "mlflow.runName": verb, **tags}
        run_id = str(self.client.create_run(self.experiment_id, tags=all_tags).info.run_id)
        points = [Metric(name, value, 1, step) for name, values in metrics.items() for step, value in enumerate(values)]
        self.client.log_batch(run_id, points, [Param(*one) for one in params.items()], [])
        with tempfile.TemporaryDirectory() as folder:
            for path, content in files.items():
                file = Path(folder) / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            if files:
                self.client.log_artifacts(run_id, folder)
        if status == "RUNNING":
            return run_id
        self.client.set_terminated(run_id, status)
        return run_id

    def training(
        self,
        value: float = 0.5,
        tags: Mapping[str, str] = SETTLED,
        status: str = "FINISHED",
        rows: bool = True,
        checkpoint: bool = True,
        owner: str = NAME,
    ) -> str:
        """Make a training with a best value; without the tags of one, it is no trial and has no version."""
        parameters = make_train_parameters(Diabetes()).parse([])
        files = {"history.csv": b"epoch\n1\n"}
        files |= {"checkpoint/best.keras": f"network of {value}".encode()} if checkpoint else {}
        files |= {"data/rows.parquet": b"rows"} if rows else {}
        metrics = {"val_loss": [value + 0.1, value], "early_stopping/best": [value + 0.1, value]}
        more = {"data_digest": DIGEST, **tags}
        return self.run("train", more, parameters.as_strings(), metrics, files, status, owner)

    def closed(self, value: float = 0.5, tags: Mapping[str, str] = {}, **more: bool) -> str:
        """Make a training that unfinished has closed."""
        return self.training(value, {**CLOSED, **tags}, "KILLED", **more)

    def search(
        self, values: Sequence[float], tags: Mapping[str, str] = {}, status: str = "KILLED"
    ) -> tuple[str, list[str]]:
        """Make a search, by default a closed one, with a trial for each value; returns the ids."""
        search = self.run("search", tags or {"closed": "true"}, status=status)
        trials = [
            self.training(value, {"stop_reason": "patience", "trial": str(number), "mlflow.parentRunId": search})
            for number, value in enumerate(values)
        ]
        return search, trials

    def model(self, run_id: str, own: bool = True, tags: Mapping[str, str] = {}) -> str:
        """Store a model at a run; returns its id."""
        of = {"stored_by_training": run_id} if own else {}
        model = self.client.create_logged_model(self.experiment_id, "model", run_id, tags={**of, **tags})
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "MLmodel").write_text(f"run_id: {run_id}")
            self.client.log_model_artifacts(model.model_id, folder)
        self.client.finalize_logged_model(model.model_id, "READY")
        return str(model.model_id)

    def version(self, run_id: str, source: str, name: str = NAME, tags: Mapping[str, str] = {}) -> str:
        """Register a version; returns its number."""
        if not self.client.search_registered_models(f"name = '{name}'"):
            self.client.create_registered_model(name)
        model_id = source.removeprefix("models:/") if source.startswith("models:/m-") else None
        made = self.client.create_model_version(name, source, run_id, dict(tags), model_id=model_id)
        return str(made.version)

    def registered(self, value: float = 0.5) -> tuple[str, str, str]:
        """Make a training with a version; returns the ids of run and model, and the number."""
        run_id = self.training(value)
        model_id = self.model(run_id)
        number = self.version(
            run_id, f"models:/{model_id}", tags={"best_epoch": "1", "data_digest": DIGEST, "experiment": NAME}
        )
        self.tag(run_id, registered_version=number)
        return run_id, model_id, number

    def evaluation(
        self,
        training: str,
        model_id: str,
        tags: Mapping[str, str] = {},
        rows: str = "r" * 64,
        data: str = "auto",
        key: str = "k" * 64,
    ) -> str:
        """Make an evaluation of a model."""
        known = {
            "training_run_id": training, "model_id": model_id, "rows_digest": rows, "data_digest": DIGEST,
            "loss_of_rows": "absolute error in points", "evaluation_format": "3", "baseline_key": key,
        }  # fmt: skip
        table = pd.DataFrame({"id": ["1", "2"], "loss": [1.0, 2.0], "key": ["1", "2"], "seen": [False, False]})
        files = {name: table.to_parquet() for name in ("predictions.parquet", "baselines/median.parquet")}
        files |= {"mistakes.json": b"[]", "baselines.csv": b"name"}
        return self.run("evaluate", {**known, **tags}, {"model": "x", "data": data, "baseline": "true"}, files=files)

    def folder(self, run_id: str, files: Mapping[str, bytes] = {}, tokens: Sequence[str] = ()) -> Path:
        """Make a run folder that the run's last attempt has signed."""
        folder = self.root / run_id
        folder.mkdir(parents=True)
        token = json.loads(self.client.get_run(run_id).data.tags["launch"])["token"]
        (folder / LOCK).touch()
        (folder / ATTEMPTS).write_text("\n".join([token, *tokens]))
        for name, content in {"journal.jsonl": b"{}", **files}.items():
            (folder / name).write_bytes(content)
        return folder

    def tag(self, run_id: str, **tags: str) -> None:
        """Set tags of a run."""
        self.client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])

    def files(self, run_id: str) -> set[str]:
        """List a run's artifacts."""
        from tracked.runs.artifact_files import list_sizes

        return set(list_sizes(self.client.get_run(run_id).info.artifact_uri))
