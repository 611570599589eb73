"""Whether a user sees all of a store: a server with users leaves out of its answers what one may not read."""

import os
from urllib.parse import urlsplit

import mlflow

from tracked.console.lines import one_line
from tracked.runs.connection import brief_calls

ADVICE = "an administrator's tidy looks at all"
CREDENTIALS = (
    "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4",
    "MLFLOW_TRACKING_CLIENT_CERT_PATH",
)  # fmt: skip
WORKSPACES = ("MLFLOW_WORKSPACE", "MLFLOW_ENABLE_WORKSPACES")
CURRENT_USER = "/api/2.0/mlflow/users/current"
DATABASES = ("", "file", "sqlite", "postgresql", "mysql", "mssql")


def explain_blindness() -> str:
    """Explain why this user may not see all runs and versions of a store; empty if nothing is hidden.

    A database hides nothing. A server of MLflow's basic-auth tells whether the user is an administrator. One without
    such an answer hides nothing from who gives no credentials.
    """
    if any(os.environ.get(name, "").lower() not in ("", "false", "0") for name in WORKSPACES):
        return "other workspaces of the server are not seen"
    for address in dict.fromkeys((mlflow.get_tracking_uri(), mlflow.get_registry_uri())):
        scheme = urlsplit(address).scheme.partition("+")[0]
        if scheme in DATABASES:
            continue
        if scheme not in ("http", "https"):
            return f"what a store of the kind {scheme!r} hides is not known"
        if reason := _ask(address):
            return reason
    return ""


def _ask(address: str) -> str:
    from mlflow.utils import credentials, rest_utils  # not of MLflow's documented interface

    try:
        host = credentials.get_default_host_creds(address)
        with brief_calls():
            answer = rest_utils.http_request(host, CURRENT_USER, "GET")
        if answer.status_code == 200:
            user = answer.json()["user"]
            return "" if user["is_admin"] is True else f"user {user['username']} may not read everything on the server"
        has_credentials = bool(host.username or host.token) or any(os.environ.get(name) for name in CREDENTIALS)
        if answer.status_code == 404 and not has_credentials:
            return ""
    except Exception as error:  # whatever a server answers, it does not say that nothing is hidden
        return f"the server does not tell what this user may read ({one_line(error)})"
    return "the server does not tell what this user may read"
