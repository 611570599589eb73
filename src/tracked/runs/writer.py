"""Log to an MLflow run without blocking the work.

Calls are queued, made by threads and retried; what is missing at the end fails the run. MLflow's own rules choose the
tracking URI and the MLflow experiment.
"""

import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import pandas as pd
from mlflow.entities import Dataset as MlflowDataset
from mlflow.entities import DatasetInput, InputTag, LoggedModelInput, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_LOGGED_ARTIFACTS, MLFLOW_RUN_NOTE

from tracked.console.errors import StoreFailed
from tracked.console.lines import say, warn
from tracked.console.secrets import hide, hide_in_addresses
from tracked.experiment import Dataset
from tracked.runs.connection import suppress_missing
from tracked.runs.credentials import read_status
from tracked.runs.outbox import BOUND, Outbox
from tracked.runs.schema import DATA_DIGEST, DATA_FOLDER, DATA_ROWS, DATA_SOURCE, MACHINE, VERSIONS
from tracked.training.files import ENVIRONMENT, ROWS, write_safely

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PATIENCE = 120.0  # seconds without a success, after the work, before queued calls count as missing: a minute passes


def escape_markdown(text: str) -> str:
    """Escape a text for one line of Markdown, or a cell of a table, without secrets."""
    return re.sub(r"([\\`*\[\]<>|~&]|(?<!\w)_|_(?!\w))", r"\\\1", " ".join(hide(text).split()))


def read_environment(tags: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Read the values with these names that :meth:`Run.log_environment` has set in a run's tags."""
    # Versions have no blanks; values of the machine may have blanks and commas.
    begin = re.compile(rf", (?=(?:{'|'.join(map(re.escape, names))}) )")
    parts = [*tags.get(VERSIONS, "").split(", "), *begin.split(tags.get(MACHINE, ""))]
    values = dict(part.split(" ", 1) for part in parts if " " in part)
    return {name: value for name, value in values.items() if name in names}


class Run:
    """A run that is being logged. Its methods queue calls and return at once; :meth:`flush` waits.

    ``folder`` has the files until they are logged, and stays on the disk if they were not. The tracking store and the
    artifact store have a queue each: one of them may be another server, or full.

    Args:
        experiment: the experiment's name, the prefix of a temporary folder.
        folder: in place of a temporary folder.
    """

    def __init__(self, run_id: str, experiment: str, folder: Path | None = None) -> None:
        self.id = run_id
        self.client = mlflow.MlflowClient()
        self.folder = folder or Path(tempfile.mkdtemp(prefix=f"{experiment}-"))
        self.missing: list[str] = []
        self.milliseconds = 0  # the latest logged time: the run does not end before it
        self.stop_reason = ""  # why the work ended, once known
        self.unwritten: dict[str, None] = {}  # what a model, which this user may only read, did not get
        self._description = ""
        self._records, self._files = Outbox(), Outbox()

    def log_params(self, values: Mapping[str, str]) -> None:
        """Log parameters, each once per run."""
        params = [Param(name, value) for name, value in values.items()]
        self._records.add("the parameters", partial(self.client.log_batch, self.id, params=params))

    def set_name(self, name: str) -> None:
        """Set the run's name."""
        self._records.add("the name", partial(self.client.update_run, self.id, name=name))

    def log_epoch(self, step: int, milliseconds: int, values: Mapping[str, float]) -> None:
        """Log an epoch's metrics with its end's time (UTC); a repetition adds no second point."""
        self.milliseconds = milliseconds
        self._points(f"the metrics of epoch {step}", values, milliseconds, step, None)

    def log_metrics(
        self, values: Mapping[str, float], milliseconds: int, step: int, model_id: str | None = None
    ) -> None:
        """Log metrics with one value each, at ``model_id`` too, where one is given."""
        self._points(f"the metrics {', '.join(values)}", values, milliseconds, step, model_id)

    def _points(
        self, what: str, values: Mapping[str, float], milliseconds: int, step: int, model_id: str | None
    ) -> None:
        def log(of_model: str | None) -> None:
            points = [Metric(name, value, milliseconds, step, model_id=of_model) for name, value in values.items()]
            self.client.log_batch(self.id, metrics=points)

        if model_id is None:
            self._records.add(what, partial(log, None))
        else:
            self._add_at_model(what, "metrics", partial(log, model_id), partial(log, None))

    def _add_at_model(
        self, what: str, part: str, call: Callable[[], object], otherwise: Callable[[], object] = lambda: None
    ) -> None:
        """Queue a call that writes at a model or a version, which may be another's.

        READ on a version is enough to evaluate it: a missing right fails nothing, and :meth:`flush` tells of it.

        Args:
            part: what the model would get, for that line.
            otherwise: called in its place then.
        """

        def attempt() -> None:
            try:
                call()
            except MlflowException as error:
                if read_status(error) != 403:
                    raise
                otherwise()  # if it fails, both are repeated
                self.unwritten[part] = None

        self._records.add(what, attempt)

    def set_tags(self, values: Mapping[str, object]) -> None:
        """Set tags of the run, without secrets in addresses."""
        tags = [RunTag(name, hide_in_addresses(str(value))) for name, value in values.items()]
        self._records.add(f"the tags {', '.join(values)}", partial(self.client.log_batch, self.id, tags=tags))

    def delete_tags(self, names: Iterable[str]) -> None:
        """Delete tags of the run; missing ones are ignored."""

        def delete(name: str) -> None:
            with suppress_missing():
                self.client.delete_tag(self.id, name)

        for name in names:
            self._records.add(f"the deletion of the tag {name}", partial(delete, name))

    def set_version_tags(self, name: str, version: str, tags: Mapping[str, object]) -> None:
        """Set tags of a model version."""
        for key, value in tags.items():
            what = f"the tag {key} of {name} version {version}"
            self._add_at_model(what, "tags", partial(self.client.set_model_version_tag, name, version, key, str(value)))

    def set_version_line(self, name: str, version: str, begin: str, line: str) -> None:
        """Set a line of a model version's description, replacing the line with the same beginning."""

        def write() -> None:
            former = (self.client.get_model_version(name, version).description or "").split("\n\n")
            lines = [*(other for other in former if not other.startswith(begin)), f"{begin} {line}"]
            self.client.update_model_version(name, version, hide("\n\n".join(filter(None, lines))))

        self._add_at_model(f"the description of {name} version {version}", "description", write)

    def set_description(self, markdown: str) -> None:
        """Set the description that the UI shows with the run, without secrets."""
        self._description = markdown = hide(markdown)
        self.set_tags({MLFLOW_RUN_NOTE: markdown})

    def extend_description(self, markdown: str) -> None:
        """Add a paragraph to the description that this process has set."""
        self.set_description("\n\n".join(filter(None, [self._description, markdown])))

    def log_input(
        self, name: str, digest: str, context: str, rows: Mapping[str, int], columns: Mapping[str, str]
    ) -> None:
        """Log the data as an input of the run. MLflow stores 36 characters of a digest, the tag all of them.

        Args:
            columns: MLflow's type of each column.
        """
        name = hide_in_addresses(name)
        is_path = Path(name).is_absolute()
        dataset = MlflowDataset(
            name=Path(name).name[-500:],
            digest=digest[:32],
            source_type="local" if is_path else "code",
            source=json.dumps({"uri" if is_path else "name": name}),
            schema=json.dumps({"mlflow_colspec": [{"type": kind, "name": column} for column, kind in columns.items()]}),
            profile=json.dumps(dict(rows)),
        )
        inputs = [DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, context)])]
        self._records.add("the dataset", partial(self.client.log_inputs, self.id, datasets=inputs))
        self.set_tags({DATA_SOURCE: name, DATA_DIGEST: digest})

    def log_training_data(self, data: Dataset) -> None:
        """Log a training's data and the number of rows in each part."""
        self.log_input(data.source, data.digest, "training", data.counts, data.columns)
        self.set_tags({DATA_ROWS: data.summary})

    def log_training_rows(self, rows: pd.DataFrame) -> None:
        """Log the table of the data's rows, without inputs: evaluations find seen rows by it."""
        path = self.folder / ROWS
        write_safely(path, lambda to: rows.to_parquet(to, index=False))
        self.log_artifact(path, DATA_FOLDER)

    def log_environment(self, versions: Mapping[str, str], machine: Mapping[str, str]) -> None:
        """Log package versions and the machine, which equal bits depend on, as a file and as two tags."""
        for name, values in ((VERSIONS, versions), (MACHINE, machine)):
            self.set_tags({name: ", ".join(f"{key} {value}" for key, value in values.items())})
        self.log_dict({VERSIONS: dict(versions), MACHINE: dict(machine)}, ENVIRONMENT)

    def log_model_input(self, model_id: str) -> None:
        """Log a model as an input of the run."""
        models = [LoggedModelInput(model_id)]
        self._add_at_model(
            "the model's link", "link to this run", partial(self.client.log_inputs, self.id, models=models)
        )

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Log a file in ``self.folder`` as an artifact."""
        self._files.add(path.name, partial(self.client.log_artifact, self.id, str(path), folder))

    def log_dict(self, value: object, name: str) -> None:
        """Log a dictionary or list as a JSON artifact."""
        (self.folder / name).write_text(hide_in_addresses(json.dumps(value, indent=2)))
        self.log_artifact(self.folder / name)

    def log_figure(self, figure: "Figure", name: str) -> None:
        """Log a figure as an artifact."""
        figure.savefig(self.folder / name, dpi=100)
        self.log_artifact(self.folder / name)

    def log_table(self, table: pd.DataFrame, name: str) -> None:
        """Log a table that the UI shows as a table, as MlflowClient.log_table does, without appending."""
        table.to_json(self.folder / name, orient="split", index=False)
        self.log_artifact(self.folder / name)
        self.set_tags({MLFLOW_LOGGED_ARTIFACTS: json.dumps([{"path": name, "type": "table"}])})

    def flush(self, patience: float = PATIENCE, *, bound: float = BOUND) -> None:
        """Wait until all queued calls are made; more can be queued afterwards.

        Args:
            patience: seconds without a success after which no call starts.
            bound: seconds without a success after which a call in progress is no longer waited for.

        Raises:
            StoreFailed: naming what was not logged.
        """
        start, before = time.monotonic(), len(self.missing)
        for queue in (self._records, self._files):
            self.missing += queue.drain(patience, start, bound)
        if missing := self.missing[before:]:
            raise StoreFailed(f"not everything could be logged; missing in run {self.id}: {'; '.join(missing)}")
        if self.unwritten:
            parts = ", ".join(self.unwritten)
            say(f"the model may only be read (403): it gets no {parts}; all is in run {self.id}")
            self.unwritten.clear()

    def close(self, keep: bool = False) -> None:
        """Remove ``folder``, unless something was not logged or ``keep`` is set."""
        self._records.end()
        self._files.end()
        if self.missing:
            warn(f"files that were not logged are kept in {self.folder}")
        elif not keep:
            shutil.rmtree(self.folder, ignore_errors=True)
