"""Which version a promotion compares with which, and on which rows. Reads only."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracked.console.errors import UserError
from tracked.experiment import Experiment
from tracked.models import champions, evaluation, loader
from tracked.models.loader import DownloadedModel
from tracked.runs import evaluations, registry
from tracked.runs.queries import MlflowRun
from tracked.runs.registry import StoredModel
from tracked.runs.schema import CHAMPION, ROWS_DIGEST


@dataclass(frozen=True, eq=False)
class Contest:
    """A version, the champion that it is compared with, and the rows of the comparison.

    ``current`` is the version that has the alias; empty if none has. ``champion`` is the current one or, if the alias
    is unset, the last one that still exists. It is None where nothing is compared: the version itself is the current
    or last champion (``again``), or the model never had one. ``rows_digest`` identifies the rows; ``subject`` and
    ``models`` (by version) serve to make a missing evaluation.
    """

    version: StoredModel
    current: str
    champion: StoredModel | None = None
    again: bool = False
    rows_digest: str = ""
    subject: evaluation.Subject | None = None
    models: Mapping[str, DownloadedModel] | None = None


def set_up_contest(owner: Experiment, version: StoredModel, parameters: Any, folder: Path) -> Contest:
    """Find the champion and the rows to compare a version on; download both models unless their evaluations exist.

    Args:
        parameters: promote's; ``data`` is auto for the test part of the data that ``version`` was trained on.
        folder: for the downloaded models.

    Raises:
        UserError: if the experiment finds that the two cannot be compared, or an evaluation is missing and its data
            cannot be found.
    """
    current, before = champions.find_champions(version.name)
    defender = current or (before or [""])[-1]
    if defender in ("", version.version):
        return Contest(version, current, again=bool(defender))
    champion = registry.find(f"models:/{version.name}/{defender}")
    require_comparable(owner, version, champion)
    if parameters.data == "auto":
        own = evaluations.find_for_model(
            owner, version, "params.data = 'auto'", f"tags.{ROWS_DIGEST} != ''", evaluations.IS_WHOLE
        )
        if own and find_evaluation(owner, champion, own.data.tags[ROWS_DIGEST]):
            return Contest(version, current, champion, rows_digest=own.data.tags[ROWS_DIGEST])
    models = {stored.version: loader.download(owner, stored, folder / stored.version) for stored in (version, champion)}
    subject = evaluation.find_subject(owner, version, models[version.version].metadata, parameters)
    return Contest(version, current, champion, False, subject.part.rows_digest, subject, models)


def require_comparable(owner: Experiment, version: StoredModel, champion: StoredModel) -> None:
    """Refuse a contest that the experiment cannot decide, by what is stored with both models.

    Raises:
        UserError: with the experiment's reason.
    """
    reserved = {*loader.reserved_metadata(owner)}
    own, others = (
        {name: value for name, value in stored.metadata.items() if name not in reserved}
        for stored in (version, champion)
    )
    if reason := owner.explain_incomparable(own, others):
        raise UserError(
            f"model: {version.title} cannot be compared with version {champion.version}, the {CHAMPION}: {reason}"
        )


def find_evaluation(owner: Experiment, stored: StoredModel, rows_digest: str) -> MlflowRun | None:
    """Find the newest evaluation of exactly this model on the rows, in a format that tells which rows it has seen."""
    return evaluations.find_for_model(owner, stored, f"tags.{ROWS_DIGEST} = '{rows_digest}'", evaluations.IS_WHOLE)
