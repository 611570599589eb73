"""The alias champion: who has it, who had it before, and how it moves."""

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

ABSENT = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}  # MLflow's codes for a name, version or alias not there
KEPT = 100  # of them; a tag's length is limited


@contextmanager
def promotion_lock(owner: Experiment, name: str) -> Iterator[None]:
    """Keep this user's other promotions and rollbacks of the model on this host out, until all is decided and seen.

    Those of other users and hosts are kept out by :func:`promote` alone, which finds another champion.

    Raises:
        UserError: if there is no such model.
        RunFailed: if the registry keeps failing, or another promotion does not end.
    """
    # Not the registry's address, which has several spellings.
    made = _model(name).creation_timestamp
    with lock(owner.name, f"{name} of {made}", f"another promotion of {name}"):
        yield


def current_champion(name: str) -> str:
    """The version that is the champion now; empty if none is.

    Raises:
        RunFailed: if the registry keeps failing.
    """
    call = partial(mlflow.MlflowClient().get_model_version_by_alias, name, CHAMPION)
    version = _if_there(f"reading the {CHAMPION} of {name}", call)
    return str(version.version) if version else ""


def find_champions(name: str) -> tuple[str, list[str]]:
    """The version that is the champion now, empty if none is, and those before it, the last one still existing.

    Raises:
        UserError: if there is no such model.
        RunFailed: if the registry keeps failing.
    """
    past, current = _past(name), current_champion(name)
    return current, _before(name, past, current)


def require_not_withdrawn(version: StoredModel, uri: str) -> None:
    """Make sure that a version which a rollback has withdrawn comes back by its number alone.

    A promotion every night of what an alias names would undo each rollback.

    Raises:
        UserError: if one would; its number, given by hand, does.
        RunFailed: if the registry keeps failing.
    """
    call = partial(mlflow.MlflowClient().get_model_version, version.name, version.version)
    found = _if_there(f"reading {version.title}", call)
    tags = found.tags if found else {}
    # Earlier versions of this project have no such tag, and say it as the last event alone.
    withdrawn = tags.get(WITHDRAWN, str(tags.get(PROMOTION) == "withdrawn").lower()) == "true"
    if withdrawn and not re.fullmatch(r"models:/+[^/@]+/\d+", uri):
        raise UserError(
            f"model: {uri!r} is version {version.version}, which a rollback has withdrawn; allowed: {version.uri} to "
            "promote it all the same, or another version"
        )


def promote(name: str, version: str, former: str) -> bool:
    """Make a version the champion in place of ``former`` (empty: of none). False, and nothing moved, if that is no
    longer the champion: somebody on another host was faster.

    Raises:
        RunFailed: if the registry keeps failing, or another version was made the champion at the same moment.
    """
    current, before = find_champions(name)
    if current != former:
        return False
    _move(name, version)
    _remember(name, [*before, *filter(None, [former]), version])
    if (now := current_champion(name)) != version:
        raise RunFailed(
            f"version {version} of {name} was made the {CHAMPION}, and version {now or 'none'} took its place at the "
            "same moment, from another host; promote again to compare it with that one"
        )
    return True


def roll_back(name: str, before: list[str]) -> None:
    """Make the last one of the former champions the champion again, as :func:`find_champions` tells them.

    Those after it are forgotten, so that the next rollback goes further back.

    Raises:
        RunFailed: if the registry keeps failing.
    """
    _move(name, before[-1])
    _remember(name, before)


def log_outcome(
    owner: Experiment, run: Run, name: str, version: str, event: str, against: str, sentence: str,
    decision: Decision | None,
) -> None:  # fmt: skip
    """Queue what a promotion or a rollback was for one version, in place of what was said there before.

    Args:
        event: promoted, refused, replaced, defended, restored or withdrawn.
        against: the other version; empty if there is none.
    """
    said = {PROMOTION: event, PROMOTION_AGAINST: against or "none", PROMOTION_RUN_ID: run.id}
    digits = owner.terms.digits + 2
    said[fill(PROMOTION_DIFFERENCE, owner)] = f"{decision.difference:.{digits}f}" if decision else "none"
    said[fill(PROMOTION_UPPER, owner)] = f"{decision.upper:.{digits}f}" if decision else "none"
    if event in ("promoted", "restored", "withdrawn"):
        said[WITHDRAWN] = str(event == "withdrawn").lower()
    run.set_version_tags(name, version, said)
    run.set_version_line(name, version, "Promotion:", sentence)


def _before(name: str, past: list[str], current: str) -> list[str]:
    """The champions before the present one, without those at the end that are deleted.

    A champion by hand may be one of the former ones; then those after it do not count.
    """
    before = past[: len(past) - 1 - past[::-1].index(current)] if current in past else list(past)
    while before and (before[-1] == current or not _exists(name, before[-1])):
        before.pop()
    return before


def _model(name: str) -> RegisteredModel:
    found = _if_there(f"reading {name}", partial(mlflow.MlflowClient().get_registered_model, name))
    if found is None:
        raise refusal("model_name", name, "a model in the registry")
    return found


def _past(name: str) -> list[str]:
    with suppress(ValueError):
        found = json.loads(_model(name).tags.get(CHAMPIONS, "[]"))
        if isinstance(found, list):
            return [str(version) for version in found]
    return []


def _exists(name: str, version: str) -> bool:
    call = partial(mlflow.MlflowClient().get_model_version, name, version)
    return _if_there(f"reading version {version} of {name}", call) is not None


def _if_there(what: str, call: Callable[[], Result]) -> Result | None:
    """The answer to a question; None if the registry says that there is no such thing."""

    def ask() -> Result | None:
        try:
            return call()
        except MlflowException as error:
            if error.error_code in ABSENT:
                return None
            raise

    return with_retries(what, ask)


def _move(name: str, version: str) -> None:
    call = partial(mlflow.MlflowClient().set_registered_model_alias, name, CHAMPION, version)
    with_retries(f"making version {version} the {CHAMPION} of {name}", call)


def _remember(name: str, past: list[str]) -> None:
    """After the move: killed in between, the alias is right, and the last one told is the former champion."""
    call = partial(mlflow.MlflowClient().set_registered_model_tag, name, CHAMPIONS, json.dumps(past[-KEPT:]))
    with_retries(f"noting the champions of {name}", call)
