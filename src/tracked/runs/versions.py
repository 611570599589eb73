"""Find the model versions that trainings have registered."""

from collections.abc import Sequence
from functools import partial

import mlflow
from mlflow.entities.model_registry import ModelVersion

from tracked.runs.outbox import with_retries
from tracked.runs.queries import MlflowRun
from tracked.runs.run_parameters import read_parameters
from tracked.runs.schema import OF_VERSIONS, REGISTERED

AT_ONCE = 100  # runs of one query


def find_versions(run_id: str) -> list[ModelVersion]:
    """Find the model versions that a training has registered, also where the registered model was renamed.

    Copies, and versions that users made from the run, are left out.
    """
    return list(filter(_is_own, mlflow.MlflowClient().search_model_versions(f"run_id = '{run_id}'")))


def _is_own(version: ModelVersion) -> bool:
    # A copy has the same tags, and a version as its source.
    return set(version.tags) >= OF_VERSIONS and (version.source or "").count("/") == 1


def find_versions_by_run(run_ids: Sequence[str]) -> dict[str, list[ModelVersion]]:
    """Find the model versions of each run, as :func:`find_versions`.

    Raises:
        RunFailed: if the store keeps failing.
    """
    by_run: dict[str, list[ModelVersion]] = {run_id: [] for run_id in run_ids}
    client = mlflow.MlflowClient()
    for start in range(0, len(run_ids), AT_ONCE):
        some = ", ".join(f"'{run_id}'" for run_id in run_ids[start : start + AT_ONCE])
        token: str | None = None
        while token != "":
            call = partial(client.search_model_versions, f"run_id IN ({some})", page_token=token)
            page = with_retries("reading the versions of the trainings", call)
            for version in filter(_is_own, page):
                by_run[str(version.run_id)].append(version)
            token = page.token or ""
    return by_run


def model_ids(versions: Sequence[ModelVersion]) -> set[str]:
    """The model ids of versions from :func:`find_versions`."""
    return {(one.source or "").removeprefix("models:/") for one in versions}


def name_versions(run: MlflowRun, versions: Sequence[ModelVersion]) -> str:
    """Name a training's versions: by number, and by name where the model was renamed.

    A deleted version is marked: its number may be another model's.
    """
    own = read_parameters(run).get("model_name", "")
    names = [str(item.version) if item.name == own else f"{item.name} {item.version}" for item in versions]
    registered = run.data.tags.get(REGISTERED, "")
    return ", ".join(names) or (f"{registered} (deleted)" if registered else "")
