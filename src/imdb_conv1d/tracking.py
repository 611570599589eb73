"""All that is said to an MLflow run.

Runs go where MLflow's own rules put them: neither the tracking URI nor the experiment is set here. Nothing that is said
stops the work: it is queued, delivered by a thread, tried again, and what is still missing at the end fails the run.
"""

import json
import os
import re
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
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_RUN_NOTE

from imdb_conv1d.console import Interrupted, RunFailed, UserError, warn
from imdb_conv1d.data import Reviews
from imdb_conv1d.delivery import Delivery, one_line

VERB = "verb"
ANSWER_SECONDS = 4  # for the first call to a server; a mistyped address is told within ten seconds
DELIVERY_SECONDS = 60.0  # for what is undelivered when the work has ended
Status = Literal["FINISHED", "FAILED", "KILLED"]
# MLflow's own made-up names, such as gifted-crow-512: a name that a user chose is kept.
MADE_UP_NAME = re.compile(r"[a-z]+-[a-z]+-\d{1,3}")


def require_store() -> None:
    """Make sure that the tracking store and the registry answer, before any work.

    Raises:
        UserError: if one does not.
    """
    # Delivery tries again by itself: a single call need not insist for minutes, as MLflow's default does.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    client = mlflow.MlflowClient()
    first = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": str(ANSWER_SECONDS)}
    usual = {name: os.environ[name] for name in first}
    os.environ.update(first)
    try:
        address, name = mlflow.get_tracking_uri(), "MLFLOW_TRACKING_URI"
        client.search_experiments(max_results=1)
        if mlflow.get_registry_uri() != address:
            address, name = mlflow.get_registry_uri(), "MLFLOW_REGISTRY_URI"
            client.search_registered_models(max_results=1)
    except Exception as error:  # whatever a store raises, it cannot be worked with
        raise UserError(
            f"{name}: {address!r} does not answer ({one_line(error)}); allowed: a store that does"
        ) from None
    finally:
        os.environ.update(usual)


class Run:
    """A run that is being written. Its methods queue what they are told and return at once; :meth:`settle` waits.

    ``folder`` is a place for files on their way; it stays on the disk when they did not arrive.
    """

    def __init__(self, run_id: str) -> None:
        self.id = run_id
        self.client = mlflow.MlflowClient()
        self.folder = Path(tempfile.mkdtemp(prefix="imdb-conv1d-"))
        self.delivery = Delivery(refused=_refused)
        self._complete = True

    def epoch(self, step: int, time: int, values: Mapping[str, float]) -> None:
        """An epoch's metrics, with the time in milliseconds at which it ended. Repeating them adds no second point."""
        points = [Metric(name, value, time, step) for name, value in values.items()]
        self.delivery.add(f"the metrics of epoch {step}", lambda: self.client.log_batch(self.id, metrics=points))

    def metrics(self, values: Mapping[str, float], time: int, step: int, model_id: str | None = None) -> None:
        """Metrics with one value; with ``model_id`` they are also shown at that model and its versions."""
        points = [Metric(name, value, time, step, model_id=model_id) for name, value in values.items()]
        self.delivery.add(f"the metrics {', '.join(values)}", lambda: self.client.log_batch(self.id, metrics=points))

    def tags(self, values: Mapping[str, object]) -> None:
        """Tags of the run."""
        tags = [RunTag(name, str(value)) for name, value in values.items()]
        self.delivery.add(f"the tags {', '.join(values)}", lambda: self.client.log_batch(self.id, tags=tags))

    def describe(self, markdown: str) -> None:
        """The description that the UI shows with the run."""
        self.tags({MLFLOW_RUN_NOTE: markdown})

    def file(self, path: Path, folder: str | None = None) -> None:
        """A file as an artifact. It must stay until :meth:`settle`."""
        self.delivery.add(path.name, lambda: self.client.log_artifact(self.id, str(path), folder))

    def json(self, value: object, name: str) -> None:
        """A dictionary or list as an artifact."""
        self.delivery.add(name, lambda: self.client.log_text(self.id, json.dumps(value, indent=2), name))

    def figure(self, figure: Figure, name: str) -> None:
        """A picture as an artifact."""
        self.delivery.add(name, lambda: self.client.log_figure(self.id, figure, name))

    def table(self, table: pd.DataFrame, name: str) -> None:
        """A table as an artifact that the UI shows as one."""
        self.delivery.add(name, lambda: self.client.log_table(self.id, table, name))

    def data(self, name: str, digest: str, context: str, rows: Mapping[str, int]) -> None:
        """The data as an input of the run. MLflow keeps 36 characters of a digest; the tag has all of them."""
        is_path = Path(name).is_absolute()
        dataset = Dataset(
            name=Path(name).name[-500:],
            digest=digest[:32],
            source_type="local" if is_path else "code",
            source=json.dumps({"uri" if is_path else "name": name}),
            schema=json.dumps(
                {"mlflow_colspec": [{"type": "string", "name": "text"}, {"type": "long", "name": "label"}]}
            ),
            profile=json.dumps(dict(rows)),
        )
        inputs = [DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, context)])]
        self.delivery.add("the dataset", lambda: self.client.log_inputs(self.id, datasets=inputs))
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
        self.delivery.add("the model's link", lambda: self.client.log_inputs(self.id, models=models))

    def version(self, name: str, version: str, tags: Mapping[str, object]) -> None:
        """Tags of a model version."""
        for key, value in tags.items():
            what = f"the tag {key} of {name} version {version}"
            self.delivery.add(what, partial(self.client.set_model_version_tag, name, version, key, str(value)))

    def settle(self) -> None:
        """Wait until all that was said is stored.

        Raises:
            RunFailed: naming what could not be stored in time.
        """
        missing = self.delivery.close(DELIVERY_SECONDS)
        self.delivery = Delivery(refused=_refused)
        if missing:
            self._complete = False
            raise RunFailed(f"MLflow could not be told everything; missing in run {self.id}: {'; '.join(missing)}")

    def clear(self) -> None:
        """Remove ``folder``, unless something did not arrive."""
        if self._complete:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            warn(f"what did not arrive is kept in {self.folder}")


@contextmanager
def run(verb: str, name: str, parameters: Mapping[str, str]) -> Iterator[Run]:
    """A run around a verb's work: new, or the one that ``mlflow run`` has made for it.

    Left without an error it is FINISHED, with Ctrl-C or SIGTERM KILLED, else FAILED; the tag ``stop_reason`` says why,
    and lasts where ``mlflow run`` writes over the status. Parameters that are already recorded stay as they are.
    """
    made_for_us = "MLFLOW_RUN_ID" in os.environ
    active = mlflow.start_run(run_name=None if made_for_us else name, tags={VERB: verb})
    record = Run(active.info.run_id)
    status: Status = "FAILED"
    try:
        if MADE_UP_NAME.fullmatch(active.info.run_name or ""):
            record.client.update_run(record.id, name=name)
        absent = [Param(key, value) for key, value in parameters.items() if key not in active.data.params]
        record.client.log_batch(record.id, params=absent)
        yield record
        record.settle()
        status = "FINISHED"
    except BaseException as error:
        interrupted = isinstance(error, Interrupted)
        status = "KILLED" if interrupted else "FAILED"
        reason = "interrupted" if interrupted else getattr(error, "reason", "error")
        record.tags({"stop_reason": reason, **({} if interrupted else {"error": one_line(error)})})
        try:
            record.settle()
        except RunFailed as lost:
            warn(f"error: {lost}")
        raise
    finally:
        record.clear()
        try:
            mlflow.end_run(status)
        except Exception as error:
            raise RunFailed(f"MLflow could not be told that run {record.id} has ended ({one_line(error)})") from error


def _refused(error: Exception) -> bool:
    """Whether the server has understood a call and will never take it."""
    if not isinstance(error, MlflowException):
        return False
    return 400 <= error.get_http_status_code() < 500 and error.get_http_status_code() not in (408, 429)
