"""Ask a server for the rights that a verb needs, before its work.

A server checks a right before it reads a request. So a request without a field that it requires is answered with 403
where the right is missing, and with 400 where it is not; neither leaves anything behind. A database knows no rights,
and another kind of server may check them later: then nothing is refused here.
"""

import os
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import mlflow
from mlflow.entities import Experiment as MlflowExperiment
from mlflow.exceptions import MlflowException

from tracked.console.errors import UserError
from tracked.console.lines import say, warn
from tracked.runs.connection import RUN_ID_SETTING, ask, brief_calls, registry_uri, tracking_uri
from tracked.runs.credentials import explain_unknown, name_user, read_status
from tracked.runs.queries import MlflowRun

API = "/api/2.0/mlflow"
NAME_SETTING, ID_SETTING = "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"
EDIT = "EDIT for this user"
NO_RUN = {"start_time": "never"}  # what no server takes


@dataclass(frozen=True)
class Place:
    """The MLflow experiment in which a run begins. ``id`` is None if it does not exist yet."""

    id: str | None
    name: str


def require_run(run: MlflowRun | None = None, parameter: str = RUN_ID_SETTING) -> Place:
    """Require the rights to begin a run where MLflow's settings say, or to write to a run, with its artifacts.

    Args:
        parameter: what has named the run.

    Raises:
        UserError: if a right is missing.
    """
    who = name_user(tracking_uri())
    if run is not None:
        if _lacks("/runs/set-tag", {"run_id": run.info.run_id}):
            raise UserError(
                f"{parameter}: {who} may not write to run {run.info.run_id} (403); allowed: a run in an experiment "
                f"with {EDIT}"
            )
        return Place(run.info.experiment_id, "of the run")
    setting, place = _place_setting(), find_place()
    if place.id is None:
        if _lacks("/experiments/create", {}):
            raise UserError(f"{setting}: {who} may not make experiment {place.name!r} (403); allowed: one with {EDIT}")
    elif not _may_begin(place.id):
        more = "" if setting == NAME_SETTING else f" as {NAME_SETTING}"
        raise UserError(
            f"{setting}: {who} may not begin a run in experiment {place.name!r} (403); allowed: an experiment with "
            f"{EDIT}, or a new name{more}"
        )
    return place


def choose_place(wanted: MlflowExperiment, own: MlflowRun | None) -> Place:
    """Choose the MLflow experiment of a run about trainings: theirs, or where they may only be read, one's own.

    Args:
        wanted: the trainings'.
        own: the run that ``mlflow run`` has made.

    Raises:
        UserError: if a run can begin in neither.
    """
    if _may_begin(wanted.experiment_id):
        return Place(wanted.experiment_id, wanted.name)
    who = name_user(tracking_uri())
    try:
        chosen = require_run(own)
    except UserError:
        raise UserError(
            f"{NAME_SETTING}: {who} may read experiment {wanted.name!r}, but not begin a run there (403); allowed: "
            f"another experiment, with {EDIT}, or a new name"
        ) from None
    say(f"experiment {wanted.name!r} is read only for {who}: the run begins in experiment {chosen.name!r}")
    return chosen


def require_new_version(name: str, place: Place, alias: str) -> None:
    """Require the rights to store a model in an MLflow experiment, and to register it under a name with an alias.

    Args:
        place: where the model is stored.

    Raises:
        UserError: if a right is missing.
    """
    if place.id is not None and _lacks("/logged-models", {"experiment_id": place.id, "tags": 0}):
        raise UserError(
            f"{NAME_SETTING}: {name_user(tracking_uri())} may not store a model in experiment {place.name!r} (403); "
            f"allowed: an experiment with {EDIT}"
        )
    who, status = name_user(registry_uri()), _find_model(name)
    if status == 404:
        if _lacks("/registered-models/create", {}, registry_uri()):
            raise UserError(
                f"model_name: {who} may not make the registered model {name!r} (403); allowed: one with {EDIT}"
            )
    elif status == 403 and _find_model(f"no-{uuid.uuid4().hex}") == 403:
        warn(
            f"model_name: the server does not tell {who} whether {name!r} is free (403); if it is another's, the "
            "version is refused at the end, and all that was trained is kept"
        )
    elif status == 403:
        raise UserError(
            f"model_name: {who} may not read {name!r} (403), which is another's; allowed: another name, or {EDIT}"
        )
    elif _lacks("/model-versions/create", {"name": name}, registry_uri()):
        raise UserError(
            f"model_name: {who} may not add a version to {name!r} (403), which is another's; allowed: another name, "
            f"or {EDIT}"
        )
    else:
        _require_alias(name, alias)


def require_alias(name: str, alias: str, parameter: str = "model_name") -> None:
    """Require the right to move an alias of a registered model, if there is one with this name.

    Args:
        parameter: what has named the model.

    Raises:
        UserError: if it is missing.
    """
    if _find_model(name) != 404:
        _require_alias(name, alias, parameter)


def _require_alias(name: str, alias: str, parameter: str = "model_name") -> None:
    if _lacks("/registered-models/alias", {"name": name, "alias": alias}, registry_uri()):
        raise UserError(
            f"{parameter}: {name_user(registry_uri())} may not move the alias {alias} of {name!r} (403); allowed: "
            f"{EDIT}, which its owner or an administrator gives"
        )


def _find_model(name: str) -> int:
    """Look for a registered model; returns the status: 404 if there is none, 403 if it may not be read."""
    return _ask("GET", f"/registered-models/get?name={quote(name, safe='')}", None, registry_uri())


def _may_begin(experiment_id: str) -> bool:
    """Whether runs can begin in an experiment, and their artifacts be written, as far as the server can be asked."""
    if _lacks("/runs/create", {"experiment_id": experiment_id} | NO_RUN):
        return False
    with suppress(MlflowException), brief_calls():
        location = urlsplit(mlflow.MlflowClient().get_experiment(experiment_id).artifact_location or "")
        if location.scheme == "mlflow-artifacts" and not location.netloc:  # else a store, or a server, of its own
            folder = quote(location.path.rstrip("/"))
            path = f"/mlflow-artifacts/mpu/create{folder}/{'0' * 32}/artifacts"
            return _ask("POST", path, {}, tracking_uri(), "/api/2.0") != 403
    return True


def find_place() -> Place:
    """Find the MLflow experiment in which a run begins, as MLflow's settings say."""
    client = mlflow.MlflowClient()
    name, number = os.environ.get(NAME_SETTING), os.environ.get(ID_SETTING)
    found: MlflowExperiment | None = None
    try:
        with brief_calls():
            found = client.get_experiment_by_name(name) if name else client.get_experiment(number or "0")
    except MlflowException as error:  # else of a name or an id that does not exist
        if read_status(error) == 403:
            who = name_user(tracking_uri())
            raise UserError(
                f"{_place_setting()}: {who} may not read experiment {name or number or '0'!r} (403), or there is none; "
                f"allowed: one with {EDIT}, or a new name as {NAME_SETTING}"
            ) from None
    if found and found.lifecycle_stage != "active":
        raise UserError(
            f"{_place_setting()}: no run can begin in experiment {found.name!r}, which is deleted; allowed: an "
            "experiment that exists and is not deleted"
        )
    if found:
        return Place(found.experiment_id, found.name)
    return Place(None, name) if name else Place(number or "0", number or "0")


def _place_setting() -> str:
    """The setting that names the MLflow experiment in which a run begins, or the one to set."""
    return ID_SETTING if os.environ.get(ID_SETTING) and not os.environ.get(NAME_SETTING) else NAME_SETTING


def _lacks(path: str, fields: Mapping[str, Any], address: str = "") -> bool:
    """Whether a request that lacks what it needs is refused for want of a right."""
    return _ask("POST", path, fields, address or tracking_uri()) == 403


def _ask(method: str, path: str, fields: Mapping[str, Any] | None, address: str, api: str = API) -> int:
    status = ask(address, method, f"{api}{path}", fields)
    if status == 401:
        raise UserError(explain_unknown(address))
    return status
