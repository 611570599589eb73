"""The connection to the tracking store and the registry: a check before any work, and time limits of calls."""

import os
import re
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import mlflow
from mlflow.exceptions import MlflowException

from tracked.console import collector
from tracked.console.errors import UserError
from tracked.console.lines import one_line
from tracked.runs.credentials import explain_unknown, name_user, read_status

ANSWER_SECONDS = 4  # time limit of the first call: a mistyped address is refused within ten seconds
ASK_PAUSE = 0.5  # seconds
PERMANENT = {
    "INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "INVALID_STATE",
    "PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED", "ENDPOINT_NOT_FOUND", "FEATURE_DISABLED",
}  # fmt: skip
REFUSED = (401, 403, 413)  # HTTP's: the server does not know the user, gives no right, or takes no file of this size
MODELS_SINCE = 3, 0  # the servers' version from which they have logged models
RUN_ID_SETTING = "MLFLOW_RUN_ID"
DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


def require_answers() -> None:
    """Require that the tracking store and the registry answer, before any work.

    Raises:
        UserError: if one of them does not.
    """
    # The outbox retries by itself: a single call need not take minutes, as with MLflow's defaults.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    # MLflow draws one where tqdm is installed, as it is with Optuna, and fails where its output cannot be written.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    address, name = "", "MLFLOW_TRACKING_URI"
    with brief_calls():
        try:
            address = mlflow.get_tracking_uri()
            _require_database(address)
            client = mlflow.MlflowClient()
            client.search_experiments(max_results=1)
            if mlflow.get_registry_uri() != address:
                address, name = mlflow.get_registry_uri(), "MLFLOW_REGISTRY_URI"
                _require_database(address)
                client.search_registered_models(max_results=1)
        except Exception as error:  # whatever a store raises, the work cannot begin
            if urlsplit(address).scheme in ("", "file") and is_permanent_error(error):
                # An mlflow command of an older version gives its own folder ./mlruns.
                raise UserError(
                    f"{name}: {address!r} is a folder of files, which this version of MLflow opens only with "
                    "MLFLOW_ALLOW_FILE_STORE=true; allowed: a server, or a database such as sqlite:///mlflow.db"
                ) from None
            if (status := read_status(error)) == 401:
                raise UserError(explain_unknown(address)) from None
            if status == 403:
                who = name_user(address)
                raise UserError(
                    f"{name}: {address!r} refuses {who} (403); allowed: a server with READ for it"
                ) from None
            if "CERTIFICATE_VERIFY_FAILED" in str(error):  # the text of a chain of errors, which names no setting
                raise UserError(
                    f"MLFLOW_TRACKING_SERVER_CERT_PATH: the certificate of {address!r} is of no authority that is "
                    "known here; allowed: the file with the certificate of its authority"
                ) from None
            reason = f"{address!r} does not answer ({one_line(error)})"
            raise UserError(f"{name}: {reason}; allowed: a server or a database that does") from None
    collector.go_on()  # a verb has imported MLflow and its store


def require_model_store() -> None:
    """Require that the servers can store a model, before any work. A server that names no version passes.

    Raises:
        UserError: if a server is older than ``MODELS_SINCE``.
    """
    # By address: one that is both is asked once, as the tracking store.
    names = {mlflow.get_registry_uri(): "MLFLOW_REGISTRY_URI"} | {mlflow.get_tracking_uri(): "MLFLOW_TRACKING_URI"}
    for address, name in names.items():
        version = _server_version(address)
        match = re.fullmatch(r"(\d{1,4})\.(\d{1,4})\S{0,30}", version)
        if match and (int(match[1]), int(match[2])) < MODELS_SINCE:
            least = ".".join(map(str, MODELS_SINCE))
            raise UserError(
                f"{name}: the server {address!r} is mlflow {version}, which cannot store a model; "
                f"allowed: a server of mlflow {least} or newer"
            )


def _server_version(address: str) -> str:
    """What a server answers at ``/version``; empty if that is nothing to go by, or it is no server."""
    try:
        answer = _request(address, "GET", "/version")
        return str(answer.text).strip() if answer is not None and answer.status_code == 200 else ""
    except Exception:  # the server has answered before
        return ""


def ask(address: str, method: str, path: str, fields: Mapping[str, Any] | None = None) -> int:
    """Make a request of a server; returns the status of its answer, 0 from a store that is no server.

    A connection that breaks is tried again, as one that was kept may be closed by now; all within a few seconds.

    Args:
        fields: sent as JSON; None for no body.

    Raises:
        UserError: if the server does not answer.
    """
    start = time.monotonic()
    try:
        while True:
            try:
                answer = _request(address, method, path, fields)
                break
            except Exception:
                if time.monotonic() - start > ANSWER_SECONDS / 2:
                    raise
                time.sleep(ASK_PAUSE)
    except Exception as error:  # whatever a connection raises, the work cannot begin
        name = "MLFLOW_TRACKING_URI" if address == tracking_uri() else "MLFLOW_REGISTRY_URI"
        reason = f"{address!r} does not answer ({one_line(error)})"
        raise UserError(f"{name}: {reason}; allowed: a server or a database that does") from None
    return 0 if answer is None else int(answer.status_code)


def _request(address: str, method: str, path: str, fields: Mapping[str, Any] | None = None) -> Any:
    """Make a request with the credentials that MLflow's settings give; None from a store that is no server."""
    if urlsplit(address).scheme not in ("http", "https"):
        return None
    from mlflow.utils import credentials, rest_utils  # not of MLflow's documented interface

    body = {} if fields is None else {"json": dict(fields)}
    with brief_calls():
        return rest_utils.http_request(
            credentials.get_default_host_creds(address), path, method, raise_on_status=False, **body
        )


def mlflow_run_id() -> str:
    """Read the id of the run that ``mlflow run``, or a user, has chosen for this process; empty for none."""
    return os.environ.get(RUN_ID_SETTING, "")


def forget_mlflow_run_id() -> None:
    """Take that choice back, as MLflow does once the run is active: it means this run and no other."""
    os.environ.pop(RUN_ID_SETTING, None)


def is_server() -> bool:
    """Whether the tracking store is a server, which may have users; a database has none."""
    return urlsplit(tracking_uri()).scheme in ("http", "https")


def tracking_uri() -> str:
    """The address of the tracking store."""
    return str(mlflow.get_tracking_uri())


def registry_uri() -> str:
    """The address of the model registry."""
    return str(mlflow.get_registry_uri())


@contextmanager
def brief_calls() -> Iterator[None]:
    """Let MLflow try a call once, for a few seconds."""
    with _settings(MLFLOW_HTTP_REQUEST_MAX_RETRIES="0", MLFLOW_HTTP_REQUEST_TIMEOUT=str(ANSWER_SECONDS)):
        yield


@contextmanager
def single_calls() -> Iterator[None]:
    """Keep MLflow from retrying: after a lost answer it would create a second run, or a second version."""
    with _settings(MLFLOW_HTTP_REQUEST_MAX_RETRIES="0"):
        yield


@contextmanager
def _settings(**values: str) -> Iterator[None]:
    former = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in former.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def is_permanent_error(error: BaseException | None) -> bool:
    """Whether a server will refuse a call however often it is repeated.

    MLflow's error codes decide, not HTTP's: MLflow reports a database that is short of connections as 400. Of a file
    that is sent, there is HTTP's status alone.
    """
    if isinstance(error, MlflowException):
        return error.error_code in PERMANENT
    return read_status(error) in REFUSED


@contextmanager
def suppress_missing() -> Iterator[None]:
    """Ignore errors that say that something does not exist."""
    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise


def _require_database(address: str) -> None:
    """Connect to a database server's port once: MLflow itself would try for minutes."""
    parts = urlsplit(address)
    port = DATABASE_PORTS.get(parts.scheme.partition("+")[0])
    if port and parts.hostname:
        socket.create_connection((parts.hostname, parts.port or port), ANSWER_SECONDS).close()
