"""Read a store page by page, and tell what is missing from what cannot be read."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import mlflow
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException

from tracked.runs.outbox import with_retries


def search_runs(experiment_ids: list[str], condition: str) -> Iterable[Run]:
    """Search runs, deleted ones too."""
    search = partial(
        mlflow.MlflowClient().search_runs, experiment_ids, condition, run_view_type=ViewType.ALL, max_results=1000
    )
    return pages("reading the runs", search)


def pages(what: str, search: Callable[..., Any]) -> Iterable[Any]:
    """Yield the results of a search, page by page."""
    token: str | None = None
    while token != "":
        page = with_retries(what, partial(search, page_token=token))
        yield from page
        token = page.token or ""


def is_missing(error: BaseException) -> bool:
    """Whether a store says that something does not exist. A server with users says 403 of what may exist."""
    return isinstance(error, MlflowException) and error.error_code == "RESOURCE_DOES_NOT_EXIST"


def get_or_none(what: str, call: Callable[[], Any]) -> Any:
    """Make a call with retries; None if what it reads does not exist.

    Raises:
        RunFailed: if the store keeps failing, or does not tell this user.
    """

    def attempt() -> Any:
        try:
            return call()
        except MlflowException as error:
            if is_missing(error):
                return None
            raise

    return with_retries(what, attempt)


def exists(run_id: str = "", model_id: str = "") -> bool:
    """Whether a store has a run, deleted or not, or a stored model that is not deleted.

    Raises:
        RunFailed: if the store keeps failing, or does not tell this user.
    """
    client = mlflow.MlflowClient()
    call = partial(client.get_run, run_id) if run_id else partial(client.get_logged_model, model_id)
    return get_or_none(f"looking for {run_id or model_id}", call) is not None
