"""The alias champion of a registered model: the version that has it, the former champions, and its moves."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import mlflow
from mlflow.entities.model_registry import RegisteredModel
from mlflow.exceptions import MlflowException

from tracked.analysis.noninferiority import Decision
from tracked.console.errors import RunFailed, UserError
from tracked.console.locks import lock
from tracked.console.parameters import refusal
from tracked.experiment import Experiment
from tracked.runs.outbox import Result, with_retries
from tracked.runs.registry import StoredModel
from tracked.runs.schema import (
    CHAMPION,
    CHAMPIONS,
    PROMOTION,
    PROMOTION_AGAINST,
    PROMOTION_DIFFERENCE,
    PROMOTION_RUN_ID,
    PROMOTION_UPPER,
    WITHDRAWN,
    fill,
)
from tracked.runs.writer import Run

ABSENT = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}  # MLflow's codes for a missing name, version or alias
MAX_HISTORY = 100  # versions: MLflow limits the length of a tag


@contextmanager
def promotion_lock(owner: Experiment, name: str) -> Iterator[None]:
    """Keep out this user's other promotions and rollbacks of the model on this host until the outcome is logged.

    Other users and hosts are not kept out: there, :func:`promote` finds that the champion has changed.

    Raises:
        UserError: if the model does not exist.
        RunFailed: if the registry keeps failing, or another promotion does not end.
    """
    # The creation time tells registries apart; an address has several spellings.
    created = _model(name).creation_timestamp
    with lock(owner.name, f"{name} of {created}", f"another promotion of {name}"):
        yield


def current_champion(name: str) -> str:
    """Return the champion's version; empty if no version has the alias.

    Raises:
        RunFailed: if the registry keeps failing.
    """
    call = partial(mlflow.MlflowClient().get_model_version_by_alias, name, CHAMPION)
    version = _get_or_none(f"reading the alias {CHAMPION} of {name}", call)
    return str(version.version) if version else ""


def find_champions(name: str) -> tuple[str, list[str]]:
    """Return the champion's version, empty if none, and the former champions; the last of these still exists.

    Raises:
        UserError: if the model does not exist.
        RunFailed: if the registry keeps failing.
    """
    history, current = _read_history(name), current_champion(name)
    return current, _former(name, history, current)


def require_not_withdrawn(version: StoredModel, uri: str) -> None:
    """Refuse a version that a rollback withdrew, unless ``uri`` gives its number.

    Otherwise a nightly promotion of what an alias names would undo each rollback.

    Raises:
        UserError: if the version is withdrawn and ``uri`` does not give its number.
        RunFailed: if the registry keeps failing.
    """
    call = partial(mlflow.MlflowClient().get_model_version, version.name, version.version)
    registered = _get_or_none(f"reading {version.title}", call)
    tags = registered.tags if registered else {}
    # Earlier versions of this project set the tag of the last event only.
    withdrawn = tags.get(WITHDRAWN, str(tags.get(PROMOTION) == "withdrawn").lower()) == "true"
    if withdrawn and not re.fullmatch(r"models:/+[^/@]+/\d+", uri):
        raise UserError(
            f"model: {uri!r} is version {version.version}, which a rollback withdrew; to promote it anyway, give "
            f"{version.uri}"
        )


def promote(name: str, version: str, former: str) -> bool:
    """Move the alias from ``former`` (empty: no version has it) to ``version``.

    Returns:
        False, with nothing moved, if ``former`` is no longer the champion: another host was faster.

    Raises:
        RunFailed: if the registry keeps failing, or another host moved the alias at the same moment.
    """
    current, before = find_champions(name)
    if current != former:
        return False
    _move_alias(name, version)
    _write_history(name, [*before, *filter(None, [former]), version])
    if (now := current_champion(name)) != version:
        raise RunFailed(
            f"another host moved the {CHAMPION} of {name} to version {now or 'none'} just after version {version} got "
            "the alias; promote again to compare the two"
        )
    return True


def roll_back(name: str, champion: str, before: list[str]) -> None:
    """Make the last of the former champions, as :func:`find_champions` returns them, the champion again.

    Later champions leave the history, so that the next rollback goes one further back.

    Raises:
        RunFailed: if the registry keeps failing, or ``champion`` is no longer the champion; nothing is moved then.
    """
    if (current := current_champion(name)) != champion:
        raise RunFailed(f"the {CHAMPION} of {name} is now version {current or 'none'}; roll back again")
    _move_alias(name, before[-1])
    _write_history(name, before)


def log_outcome(
    owner: Experiment, run: Run, name: str, version: str, event: str, against: str, sentence: str,
    decision: Decision | None,
) -> None:  # fmt: skip
    """Queue the outcome of a promotion or a rollback for one version; it replaces the version's former outcome.

    Args:
        event: promoted, refused, replaced, defended, restored or withdrawn.
        against: the other version; empty for the first champion.
    """
    tags = {PROMOTION: event, PROMOTION_AGAINST: against or "none", PROMOTION_RUN_ID: run.id}
    digits = owner.terms.digits + 2
    tags[fill(PROMOTION_DIFFERENCE, owner)] = f"{decision.difference:.{digits}f}" if decision else "none"
    tags[fill(PROMOTION_UPPER, owner)] = f"{decision.upper:.{digits}f}" if decision else "none"
    if event in ("promoted", "restored", "withdrawn"):
        tags[WITHDRAWN] = str(event == "withdrawn").lower()
    run.set_version_tags(name, version, tags)
    run.set_version_line(name, version, "Promotion:", sentence)


def _former(name: str, history: list[str], current: str) -> list[str]:
    """Return the champions before the current one, without deleted versions at the end.

    If somebody gave the alias to a former champion by hand, the champions after that one do not count.
    """
    before = history[: len(history) - 1 - history[::-1].index(current)] if current in history else list(history)
    while before and (before[-1] == current or not _exists(name, before[-1])):
        before.pop()
    return before


def _model(name: str) -> RegisteredModel:
    model = _get_or_none(f"reading {name}", partial(mlflow.MlflowClient().get_registered_model, name))
    if model is None:
        raise refusal("model_name", name, "a model in the registry")
    return model


def _read_history(name: str) -> list[str]:
    with suppress(ValueError):
        history = json.loads(_model(name).tags.get(CHAMPIONS, "[]"))
        if isinstance(history, list):
            return [str(version) for version in history]
    return []


def _exists(name: str, version: str) -> bool:
    call = partial(mlflow.MlflowClient().get_model_version, name, version)
    return _get_or_none(f"reading version {version} of {name}", call) is not None


def _get_or_none(what: str, call: Callable[[], Result]) -> Result | None:
    """Make a call with retries; None if what it reads does not exist in the registry."""

    def attempt() -> Result | None:
        try:
            return call()
        except MlflowException as error:
            if error.error_code in ABSENT:
                return None
            raise

    return with_retries(what, attempt)


def _move_alias(name: str, version: str) -> None:
    call = partial(mlflow.MlflowClient().set_registered_model_alias, name, CHAMPION, version)
    with_retries(f"moving the alias {CHAMPION} of {name} to version {version}", call)


def _write_history(name: str, history: list[str]) -> None:
    """Store the champions, after the alias has moved.

    After a kill in between, the alias is right and the last version of the history is the former champion.
    """
    call = partial(mlflow.MlflowClient().set_registered_model_tag, name, CHAMPIONS, json.dumps(history[-MAX_HISTORY:]))
    with_retries(f"logging the champions of {name}", call)
