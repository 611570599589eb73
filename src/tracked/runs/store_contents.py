"""Read all that a store knows, and which record names which: what something names is not in nobody's way.

Names are looked for in every text of a record, in whatever tag, parameter, source or description. A name that is found
by mistake keeps something; a name that is not found may lose it.
"""

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import mlflow
from mlflow.entities import Experiment as MlflowExperiment
from mlflow.entities import LoggedModel, ViewType
from mlflow.entities.model_registry import ModelVersion
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE as DESCRIPTION

from tracked.runs.outbox import with_retries
from tracked.runs.queries import MlflowRun
from tracked.runs.schema import (
    CHAMPION_EVALUATION_RUN_ID,
    EVALUATION_RUN_ID,
    MODEL_ID,
    PARENT_RUN_ID,
    SOURCE_RUN_ID,
    TRAINING_RUN_ID,
    VERB,
    WINNER_RUN_ID,
)
from tracked.runs.store_pages import get_or_none, pages, search_runs

MlflowModel: TypeAlias = LoggedModel  # a stored model
NAME = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")  # of a run; of a stored model behind "m-"
NAMING_TAGS = (
    TRAINING_RUN_ID, SOURCE_RUN_ID, WINNER_RUN_ID, EVALUATION_RUN_ID, CHAMPION_EVALUATION_RUN_ID, PARENT_RUN_ID,
)  # fmt: skip
# Verbs whose tags name the models that they take; of other runs, search results lack the model inputs.
WITHOUT_MODEL = {"train", "find_rate", "search", "replay", "compare", "promote", "rollback", "unfinished", "tidy"}
ENDED = ("FINISHED", "FAILED", "KILLED")
AT_ONCE = 200  # runs that are read in one query
SKEW = 60_000  # milliseconds by which the clocks of clients may differ


@dataclass
class StoreContents:
    """What a store knew when it was read; :meth:`refresh` adds what has come since, and forgets nothing.

    Args:
        runs: of all experiments, deleted ones too, which may be restored.
        models: the stored ones that are not deleted.
        model_ids: of the stored models of each run, as keys, in the order in which they were read.
        versions: of all registered models, by name and number.
        named_by: the records that name an id: of a stored model without its "m-".
        seen_until: the newest start of a run, and the newest change of a version.
    """

    experiments: dict[str, MlflowExperiment] = field(default_factory=dict)
    runs: dict[str, MlflowRun] = field(default_factory=dict)
    models: dict[str, MlflowModel] = field(default_factory=dict)
    model_ids: dict[str, dict[str, None]] = field(default_factory=dict)
    versions: dict[tuple[str, str], ModelVersion] = field(default_factory=dict)
    named_by: dict[str, set[str]] = field(default_factory=dict)
    seen_until: list[int] = field(default_factory=lambda: [0, 0])

    def list_namers(self, one_id: str) -> set[str]:
        """List the other records that name a run or a stored model, as "run ID", "model ID", "version NAME 1" …"""
        return self.named_by.get(one_id.removeprefix("m-"), set())

    def models_of(self, run_id: str) -> list[MlflowModel]:
        """List the stored models that were logged at a run."""
        return [self.models[one] for one in self.model_ids.get(run_id, ()) if one in self.models]

    def add_run(self, run: MlflowRun) -> None:
        """Add a run, or what has become of it."""
        data, run_id = run.data, str(run.info.run_id)
        inputs = run.inputs.dataset_inputs if run.inputs else []
        texts = [*data.tags.values(), *data.params.values(), *(f"{one.dataset.source}" for one in inputs)]
        verb = data.tags.get(VERB)
        is_new = run_id not in self.runs or self.runs[run_id].info.status not in ENDED
        if verb not in WITHOUT_MODEL and MODEL_ID not in data.tags and is_new:
            call = partial(mlflow.MlflowClient().get_run, run_id)
            whole = with_retries(f"reading run {run_id}", call)
            texts += [one.model_id for one in (whole.inputs.model_inputs if whole.inputs else [])]
        self.runs[run_id] = run
        started = min(run.info.start_time or 0, round(time.time() * 1000))  # a client's clock may be fast
        self.seen_until[0] = max(self.seen_until[0], started)
        self.add_names(f"run {run_id}", texts, run_id)

    def add_model(self, model: MlflowModel) -> None:
        """Add a stored model."""
        self.models[model.model_id] = model
        self.model_ids.setdefault(f"{model.source_run_id}", {})[model.model_id] = None
        texts = [f"{model.source_run_id}", *(model.tags or {}).values(), *(model.params or {}).values()]
        self.add_names(f"model {model.model_id}", texts, model.model_id)
        for run_id in {f"{metric.run_id}" for metric in model.metrics or []} - {f"{model.source_run_id}"}:
            self.add_names(f"run {run_id}", [model.model_id], run_id)  # it has measured the model

    def forget_model(self, model_id: str) -> None:
        """Forget a stored model that was deleted, and what it has named: nobody restores it."""
        self.models.pop(model_id, None)
        for namers in self.named_by.values():
            namers.discard(f"model {model_id}")

    def add_version(self, version: ModelVersion) -> None:
        """Add a version; the files of a copy are its source's."""
        key = (str(version.name), str(version.version))
        # A version of a stored model lies where the model does. MLflow reads all versions to answer for one.
        model = self.models.get(f"{version.source}".removeprefix("models:/"))
        if model:
            texts = [model.artifact_location]
        elif key not in self.versions:
            location = partial(mlflow.MlflowClient().get_model_version_download_uri, *key)
            found = get_or_none(f"reading where {key[0]} version {key[1]} is", location)
            texts = [found or ""]  # a version that is deleted meanwhile has no files
        else:
            texts = []
        self.versions[key] = version
        self.seen_until[1] = max(self.seen_until[1], version.last_updated_timestamp or 0)
        texts += [f"{version.run_id} {version.source} {version.run_link} {version.description}"]
        texts += [f"{version.model_id}", *(version.tags or {}).values()]
        self.add_names(f"version {key[0]} {key[1]}", texts)

    def add_names(self, namer: str, texts: Iterable[str], own_id: str = "") -> None:
        """Add what a record names, but itself."""
        own = own_id.removeprefix("m-")
        for text in texts:
            for found in NAME.findall(text):
                if found != own:
                    self.named_by.setdefault(found, set()).add(namer)

    def read_experiments(self) -> None:
        """Read all MLflow experiments, deleted ones too: their runs may be restored."""
        search = partial(mlflow.MlflowClient().search_experiments, view_type=ViewType.ALL)
        for experiment in pages("reading the experiments", search):
            self.experiments[str(experiment.experiment_id)] = experiment
            self.add_names(f"experiment {experiment.experiment_id}", (experiment.tags or {}).values())

    def refresh(self, run_ids: Iterable[str], model_ids: Iterable[str]) -> None:
        """Read again some runs and stored models, and what has come to name them since; and what has not ended.

        Raises:
            RunFailed: if the store keeps failing.
        """
        self.read_experiments()
        of_runs = [*run_ids]
        of_models = self._refresh_models(of_runs, model_ids)
        conditions = [f"attributes.start_time >= {max(0, self.seen_until[0] - SKEW)}"]
        for run_id in of_runs:
            if run := get_or_none(f"reading run {run_id} again", partial(mlflow.MlflowClient().get_run, run_id)):
                self.add_run(run)
            else:
                self.runs.pop(run_id, None)
            conditions += [f"tags.`{tag}` = '{run_id}'" for tag in NAMING_TAGS]
        conditions += [f"tags.{MODEL_ID} = '{model_id}'" for model_id in of_models]
        conditions += [f"tags.`{DESCRIPTION}` LIKE '%{one}%'" for one in (*of_runs, *of_models)]
        running = [run_id for run_id, run in self.runs.items() if run.info.status not in ENDED]
        for start in range(0, len(running), AT_ONCE):
            ids = ", ".join(f"'{run_id}'" for run_id in running[start : start + AT_ONCE])
            conditions.append(f"attributes.run_id IN ({ids})")
        for condition in conditions:
            for run in search_runs([*self.experiments], condition):
                self.add_run(run)
        self._read_new_versions(of_runs, of_models)

    def _refresh_models(self, run_ids: Iterable[str], model_ids: Iterable[str]) -> set[str]:
        """Read again some stored models, and all of some runs, also those that were stored since; returns their ids."""
        found, client = set[str](), mlflow.MlflowClient()
        for run_id in run_ids:
            search = partial(client.search_logged_models, [*self.experiments], f"source_run_id = '{run_id}'")
            for model in pages(f"looking for models of run {run_id}", search):
                self.add_model(model)
                found.add(model.model_id)
        for model_id in {*model_ids} - found:
            call = partial(client.get_logged_model, model_id)
            if model := get_or_none(f"reading model {model_id} again", call):
                self.add_model(model)
            else:
                self.forget_model(model_id)
        return {*model_ids} | found

    def _read_new_versions(self, run_ids: Iterable[str], model_ids: Iterable[str]) -> None:
        """Read the versions that were made or changed since, and whenever those of some runs and stored models.

        The newest come first: those of a clock that is fast before all others.
        """
        since = min(self.seen_until[1], round(time.time() * 1000)) - SKEW
        search = partial(mlflow.MlflowClient().search_model_versions, max_results=100)
        for version in pages("reading the newest versions", search):
            if (version.last_updated_timestamp or 0) < since:
                break
            self.add_version(version)
        conditions = [f"run_id = '{run_id}'" for run_id in run_ids]
        conditions += [f"source_path LIKE '%{one.removeprefix('m-')}%'" for one in (*run_ids, *model_ids)]
        for condition in conditions:
            for version in pages(f"looking for versions with {condition}", partial(search, condition)):
                self.add_version(version)


def read() -> StoreContents:
    """Read a store: all of its experiments, runs, stored models, registered models and versions.

    Raises:
        RunFailed: if the store keeps failing.
    """
    view, client = StoreContents(), mlflow.MlflowClient()
    view.read_experiments()
    ids = [*view.experiments]
    for run in search_runs(ids, ""):
        view.add_run(run)
    for model in pages("reading the stored models", partial(client.search_logged_models, ids)):
        view.add_model(model)
    for registered in pages("reading the registered models", client.search_registered_models):
        texts = [f"{registered.description}", *(registered.tags or {}).values()]
        view.add_names(f"registered model {registered.name}", texts)
    for version in pages("reading the versions", partial(client.search_model_versions, max_results=1000)):
        view.add_version(version)
    return view


def tags_of(model: MlflowModel) -> Mapping[str, str]:
    """The tags of a stored model."""
    return model.tags or {}
