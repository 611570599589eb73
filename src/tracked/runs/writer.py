"""All that is said to an MLflow run.

Runs go where MLflow's own rules put them: neither the tracking URI nor the experiment is set here. What is said of a
run never stops the work: it is queued, delivered by threads and tried again; what is missing at the end fails the run.
"""

import json
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

import mlflow
import pandas as pd
from matplotlib.figure import Figure
from mlflow.entities import Dataset as MlflowDataset
from mlflow.entities import DatasetInput, InputTag, LoggedModelInput, Metric, Param, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_LOGGED_ARTIFACTS, MLFLOW_RUN_NOTE

from tracked.console.errors import RunFailed
from tracked.console.lines import warn
from tracked.experiment import Dataset
from tracked.runs.connection import suppress_missing
from tracked.runs.outbox import BOUND, Outbox
from tracked.runs.schema import DATA_DIGEST, DATA_FOLDER, DATA_ROWS, DATA_SOURCE, MACHINE, VERSIONS
from tracked.training.files import ENVIRONMENT, ROWS, write_safely

PATIENCE = 60.0  # seconds without a success, after the work, before what is undelivered counts as missing


def escape_markdown(text: str) -> str:
    """A text in one line of Markdown that shows it as it is, in a table's cell too."""
    return re.sub(r"([\\`*\[\]<>|~&]|(?<!\w)_|_(?!\w))", r"\\\1", " ".join(text.split()))


def read_environment(tags: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Of the facts with these names, those that :meth:`Run.log_environment` has told in a run's tags."""
    # A version has no blank; a machine's facts may have, and commas.
    begin = re.compile(rf", (?=(?:{'|'.join(map(re.escape, names))}) )")
    told = [*tags.get(VERSIONS, "").split(", "), *begin.split(tags.get(MACHINE, ""))]
    found = dict(part.split(" ", 1) for part in told if " " in part)
    return {name: value for name, value in found.items() if name in names}


class Run:
    """A run that is being written. Its methods queue what they are told and return at once; :meth:`flush` waits.

    ``folder`` is a place for files on their way; it stays on the disk when they did not arrive. What goes to the
    tracking store does not wait for what goes to the artifact store, which may be another server, or full.

    Args:
        experiment: the experiment's name, which a temporary folder's begins with.
        folder: another one than a temporary one.
    """

    def __init__(self, run_id: str, experiment: str, folder: Path | None = None) -> None:
        self.id = run_id
        self.client = mlflow.MlflowClient()
        self.folder = folder or Path(tempfile.mkdtemp(prefix=f"{experiment}-"))
        self.missing: list[str] = []
        self.milliseconds = 0  # the latest time that was said: the run does not end before it
        self.stop_reason = ""  # why the work of this run ended by itself, once that is known
        self._records, self._files = Outbox(), Outbox()

    def log_params(self, values: Mapping[str, str]) -> None:
        """Parameters of the run; each can be said once."""
        said = [Param(name, value) for name, value in values.items()]
        self._records.add("the parameters", partial(self.client.log_batch, self.id, params=said))

    def set_name(self, name: str) -> None:
        """The run's name."""
        self._records.add("the name", partial(self.client.update_run, self.id, name=name))

    def log_epoch(self, step: int, milliseconds: int, values: Mapping[str, float]) -> None:
        """An epoch's metrics, with the time at which it ended (UTC). Repeating adds no second point."""
        self.milliseconds = milliseconds
        self._points(f"the metrics of epoch {step}", values, milliseconds, step, None)

    def log_metrics(
        self, values: Mapping[str, float], milliseconds: int, step: int, model_id: str | None = None
    ) -> None:
        """Metrics with one value; with ``model_id`` they are also shown at that model."""
        self._points(f"the metrics {', '.join(values)}", values, milliseconds, step, model_id)

    def _points(
        self, what: str, values: Mapping[str, float], milliseconds: int, step: int, model_id: str | None
    ) -> None:
        points = [Metric(name, value, milliseconds, step, model_id=model_id) for name, value in values.items()]
        self._records.add(what, partial(self.client.log_batch, self.id, metrics=points))

    def set_tags(self, values: Mapping[str, object]) -> None:
        """Tags of the run."""
        tags = [RunTag(name, str(value)) for name, value in values.items()]
        self._records.add(f"the tags {', '.join(values)}", partial(self.client.log_batch, self.id, tags=tags))

    def delete_tags(self, names: Iterable[str]) -> None:
        """Take tags of the run away; one that is not there is not missed."""

        def delete(name: str) -> None:
            with suppress_missing():
                self.client.delete_tag(self.id, name)

        for name in names:
            self._records.add(f"the end of the tag {name}", partial(delete, name))

    def set_version_tags(self, name: str, version: str, tags: Mapping[str, object]) -> None:
        """Tags of a model version."""
        for key, value in tags.items():
            what = f"the tag {key} of {name} version {version}"
            self._records.add(what, partial(self.client.set_model_version_tag, name, version, key, str(value)))

    def set_version_line(self, name: str, version: str, begin: str, line: str) -> None:
        """A line of a model version's description, in place of a former one with the same beginning."""

        def write() -> None:
            former = (self.client.get_model_version(name, version).description or "").split("\n\n")
            lines = [*(other for other in former if not other.startswith(begin)), f"{begin} {line}"]
            self.client.update_model_version(name, version, "\n\n".join(filter(None, lines)))

        self._records.add(f"the description of {name} version {version}", write)

    def set_description(self, markdown: str) -> None:
        """The description that the UI shows with the run."""
        self.set_tags({MLFLOW_RUN_NOTE: markdown})

    def log_input(
        self, name: str, digest: str, context: str, rows: Mapping[str, int], columns: Mapping[str, str]
    ) -> None:
        """The data as an input of the run. MLflow keeps 36 characters of a digest; the tag has all of them.

        Args:
            columns: MLflow's type of each column.
        """
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
        """What a training learns from, and how its rows were divided."""
        self.log_input(data.source, data.digest, "training", data.counts, data.columns)
        self.set_tags({DATA_ROWS: data.summary})

    def log_training_rows(self, rows: pd.DataFrame) -> None:
        """What a training saw of each row, without inputs: later runs learn from it what the model knows."""
        path = self.folder / ROWS
        write_safely(path, lambda to: rows.to_parquet(to, index=False))
        self.log_artifact(path, DATA_FOLDER)

    def log_environment(self, versions: Mapping[str, str], machine: Mapping[str, str]) -> None:
        """Package versions and what equal bits depend on: as a file, and as two tags to read."""
        for name, facts in ((VERSIONS, versions), (MACHINE, machine)):
            self.set_tags({name: ", ".join(f"{key} {value}" for key, value in facts.items())})
        self.log_dict({VERSIONS: dict(versions), MACHINE: dict(machine)}, ENVIRONMENT)

    def log_model_input(self, model_id: str) -> None:
        """A logged model as an input of the run."""
        models = [LoggedModelInput(model_id)]
        self._records.add("the model's link", partial(self.client.log_inputs, self.id, models=models))

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """A file in ``self.folder`` as an artifact."""
        self._files.add(path.name, partial(self.client.log_artifact, self.id, str(path), folder))

    def log_dict(self, value: object, name: str) -> None:
        """A dictionary or list as an artifact."""
        (self.folder / name).write_text(json.dumps(value, indent=2))
        self.log_artifact(self.folder / name)

    def log_figure(self, figure: Figure, name: str) -> None:
        """A picture as an artifact."""
        figure.savefig(self.folder / name, dpi=100)
        self.log_artifact(self.folder / name)

    def log_table(self, table: pd.DataFrame, name: str) -> None:
        """A table as an artifact that the UI shows as one: what MlflowClient.log_table writes, which appends."""
        table.to_json(self.folder / name, orient="split", index=False)
        self.log_artifact(self.folder / name)
        self.set_tags({MLFLOW_LOGGED_ARTIFACTS: json.dumps([{"path": name, "type": "table"}])})

    def flush(self, patience: float = PATIENCE, *, bound: float = BOUND) -> None:
        """Wait until all that was said is stored; more can be said afterwards.

        Args:
            patience: seconds without a success after which no call to MLflow is begun.
            bound: seconds without a success after which a call that is being made is no longer waited for.

        Raises:
            RunFailed: naming what could not be stored.
        """
        begun, before = time.monotonic(), len(self.missing)
        for queue in (self._records, self._files):
            self.missing += queue.drain(patience, begun, bound)
        if missing := self.missing[before:]:
            raise RunFailed(f"MLflow could not be told everything; missing in run {self.id}: {'; '.join(missing)}")

    def close(self, keep: bool = False) -> None:
        """Remove ``folder``, unless something did not arrive or it is to be kept."""
        self._records.end()
        self._files.end()
        if self.missing:
            warn(f"files that did not arrive are kept in {self.folder}")
        elif not keep:
            shutil.rmtree(self.folder, ignore_errors=True)
