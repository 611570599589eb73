"""All that is said to an MLflow run.

Runs go where MLflow's own rules put them: neither the tracking URI nor the experiment is set here. What is said of a
run never stops the work: it is queued, delivered by threads and tried again; what is missing at the end fails the run.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

import mlflow
import pandas as pd
from matplotlib.figure import Figure
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelInput, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils import name_utils
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_LOGGED_ARTIFACTS, MLFLOW_RUN_NOTE

from imdb_conv1d.console import Interrupted, RunFailed, Signals, UserError, warn
from imdb_conv1d.data import Reviews
from imdb_conv1d.delivery import Delivery, one_line
from imdb_conv1d.stores import brief_calls, refuses

VERB = "verb"
PATIENCE = 60.0  # seconds without a success, after the work, before what is undelivered counts as missing
PATIENCE_AFTER_SIGNAL = 15.0  # whoever ends a process kills it if it takes much longer
Status = Literal["FINISHED", "FAILED", "KILLED"]


class Run:
    """A run that is being written. Its methods queue what they are told and return at once; :meth:`settle` waits.

    ``folder`` is a place for files on their way; it stays on the disk when they did not arrive. What goes to the
    tracking store does not wait for what goes to the artifact store, which may be another server, or full.
    """

    def __init__(self, run_id: str) -> None:
        self.id = run_id
        self.client = mlflow.MlflowClient()
        self.folder = Path(tempfile.mkdtemp(prefix="imdb-conv1d-"))
        self.missing: list[str] = []
        self.stop_reason = ""  # why the work of this run ended by itself, once that is known
        self._open()

    def _open(self) -> None:
        self._records, self._files = Delivery(refuses), Delivery(refuses)

    def epoch(self, step: int, time: int, values: Mapping[str, float]) -> None:
        """An epoch's metrics, with the time in milliseconds at which it ended. Repeating them adds no second point."""
        points = [Metric(name, value, time, step) for name, value in values.items()]
        self._records.add(f"the metrics of epoch {step}", partial(self.client.log_batch, self.id, metrics=points))

    def metrics(self, values: Mapping[str, float], time: int, step: int, model_id: str | None = None) -> None:
        """Metrics with one value; with ``model_id`` they are also shown at that model."""
        points = [Metric(name, value, time, step, model_id=model_id) for name, value in values.items()]
        self._records.add(f"the metrics {', '.join(values)}", partial(self.client.log_batch, self.id, metrics=points))

    def tags(self, values: Mapping[str, object]) -> None:
        """Tags of the run."""
        tags = [RunTag(name, str(value)) for name, value in values.items()]
        self._records.add(f"the tags {', '.join(values)}", partial(self.client.log_batch, self.id, tags=tags))

    def version(self, name: str, version: str, tags: Mapping[str, object]) -> None:
        """Tags of a model version."""
        for key, value in tags.items():
            what = f"the tag {key} of {name} version {version}"
            self._records.add(what, partial(self.client.set_model_version_tag, name, version, key, str(value)))

    def describe(self, markdown: str) -> None:
        """The description that the UI shows with the run."""
        self.tags({MLFLOW_RUN_NOTE: markdown})

    def data(self, name: str, digest: str, context: str, rows: Mapping[str, int]) -> None:
        """The data as an input of the run. MLflow keeps 36 characters of a digest; the tag has all of them."""
        is_path = Path(name).is_absolute()
        columns = [{"type": "string", "name": "text"}, {"type": "long", "name": "label"}]
        dataset = Dataset(
            name=Path(name).name[-500:],
            digest=digest[:32],
            source_type="local" if is_path else "code",
            source=json.dumps({"uri" if is_path else "name": name}),
            schema=json.dumps({"mlflow_colspec": columns}),
            profile=json.dumps(dict(rows)),
        )
        inputs = [DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, context)])]
        self._records.add("the dataset", partial(self.client.log_inputs, self.id, datasets=inputs))
        self.tags({"data_source": name, "data_digest": digest})

    def training_data(self, reviews: Reviews) -> None:
        """What a training learns from, and how its rows were divided."""
        self.data(reviews.source.name, reviews.digest, "training", reviews.counts())
        self.tags({"data_rows": reviews.summary()})
        path = self.folder / "rows.parquet"  # without texts: later runs learn from it what was trained on
        reviews.table[["hash", "label", "split"]].to_parquet(path, index=False)
        self.file(path, "data")

    def environment(self, versions: Mapping[str, str], machine: Mapping[str, str]) -> None:
        """Package versions and what equal bits depend on: as a file, and as two tags to read."""
        for name, facts in (("versions", versions), ("machine", machine)):
            self.tags({name: ", ".join(f"{key} {value}" for key, value in facts.items())})
        self.json({"versions": dict(versions), "machine": dict(machine)}, "environment.json")

    def model(self, model_id: str) -> None:
        """A logged model as an input of the run."""
        models = [LoggedModelInput(model_id)]
        self._records.add("the model's link", partial(self.client.log_inputs, self.id, models=models))

    def file(self, path: Path, folder: str | None = None) -> None:
        """A file in ``self.folder`` as an artifact."""
        self._files.add(path.name, partial(self.client.log_artifact, self.id, str(path), folder))

    def json(self, value: object, name: str) -> None:
        """A dictionary or list as an artifact."""
        (self.folder / name).write_text(json.dumps(value, indent=2))
        self.file(self.folder / name)

    def figure(self, figure: Figure, name: str) -> None:
        """A picture as an artifact."""
        figure.savefig(self.folder / name, dpi=100)
        self.file(self.folder / name)

    def table(self, table: pd.DataFrame, name: str) -> None:
        """A table as an artifact that the UI shows as one: what MlflowClient.log_table writes, which appends."""
        table.to_json(self.folder / name, orient="split", index=False)
        self.file(self.folder / name)
        self.tags({MLFLOW_LOGGED_ARTIFACTS: json.dumps([{"path": name, "type": "table"}])})

    def settle(self, patience: float = PATIENCE) -> None:
        """Wait until all that was said is stored; more can be said afterwards.

        Raises:
            RunFailed: naming what could not be stored.
        """
        closing, missing = (self._records, self._files), []
        self._open()
        for delivery in closing:
            missing += delivery.close(patience)
        self.missing += missing
        if missing:
            raise RunFailed(f"MLflow could not be told everything; missing in run {self.id}: {'; '.join(missing)}")

    def clear(self) -> None:
        """Remove ``folder``, unless something did not arrive."""
        self._records.close(0)
        self._files.close(0)
        if self.missing:
            warn(f"files that did not arrive are kept in {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def run(verb: str, name: str, parameters: Mapping[str, str], signals: Signals) -> Iterator[Run]:
    """A run around a verb's work: new, or the one that ``mlflow run`` has made for it.

    Left without an error it is FINISHED, with Ctrl-C or SIGTERM KILLED, else FAILED; the tag ``stop_reason`` says why,
    and lasts where ``mlflow run`` writes over the status. Parameters that are already recorded stay as they are.

    Raises:
        UserError: if MLflow's settings name an experiment or a run that cannot be used; no run is made.
        RunFailed: if something that was said could not be stored.
    """
    with signals.held():
        record = _start(verb, name, parameters)
    status: Status = "FAILED"
    try:
        signals.check()
        yield record
        with signals.held():
            record.settle()
            status = "FINISHED"
    except BaseException as error:
        with signals.held():
            interrupted = isinstance(error, Interrupted)
            status = "KILLED" if interrupted else "FAILED"
            if interrupted:
                record.tags({"stop_reason": "interrupted"})
            else:
                record.tags({"error": one_line(error), "stop_reason": record.stop_reason or "error"})
            try:
                record.settle(PATIENCE_AFTER_SIGNAL)
            except RunFailed as lost:
                warn(f"error: {lost}")
        raise
    finally:
        with signals.held():
            record.clear()
            try:
                with brief_calls():
                    mlflow.end_run(status)
            except Exception as error:
                warn(f"error: MLflow could not be told that run {record.id} has ended as {status} ({one_line(error)})")
                if status == "FINISHED":
                    raise RunFailed(f"run {record.id} is complete, but still shown as RUNNING") from error


def _start(verb: str, name: str, parameters: Mapping[str, str]) -> Run:
    made_for_us = "MLFLOW_RUN_ID" in os.environ
    try:
        active = mlflow.start_run(run_name=None if made_for_us else name, tags={VERB: verb})
        record = Run(active.info.run_id)
        if made_for_us and _is_made_up(active.info.run_name or ""):
            record.client.update_run(record.id, name=name)
        absent = [Param(key, value) for key, value in parameters.items() if key not in active.data.params]
        record.client.log_batch(record.id, params=absent)
    except MlflowException as error:
        raise UserError(
            f"MLFLOW_EXPERIMENT_NAME, MLFLOW_EXPERIMENT_ID or MLFLOW_RUN_ID: no run can begin ({one_line(error)}); "
            "allowed: an experiment or a run that exists and is not deleted"
        ) from None
    return record


def _is_made_up(name: str) -> bool:
    """Whether MLflow made the name up, such as gifted-crow-512; a name that a user chose is kept."""
    predicate, _, rest = name.partition("-")
    noun, _, number = rest.partition("-")
    words = predicate in name_utils._GENERATOR_PREDICATES and noun in name_utils._GENERATOR_NOUNS
    return words and number.isdigit()
