"""What a promotion compares with what; nothing is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tracked.experiment import Experiment
from tracked.models import champions, evaluation, loader
from tracked.models.loader import DownloadedModel
from tracked.runs import evaluations, registry
from tracked.runs.queries import MlflowRun
from tracked.runs.registry import StoredModel
from tracked.runs.schema import ROWS_DIGEST


@dataclass(frozen=True, eq=False)
class Contest:
    """A version, what it is compared with, and the rows for that.

    ``holder`` is the version that has the alias, empty where none has it. ``champion`` is what defends the place: the
    holder, or the last champion that still exists; None if nothing is to be compared, since the version itself is the
    holder or the last champion (``again``), or there never was one. ``rows_digest`` names the rows, ``subject`` and
    the ``models``, by version, are at hand where an evaluation is lacking.
    """

    version: StoredModel
    holder: str
    champion: StoredModel | None = None
    again: bool = False
    rows_digest: str = ""
    subject: evaluation.Subject | None = None
    models: Mapping[str, DownloadedModel] | None = None


def set_up_contest(owner: Experiment, version: StoredModel, data: str, folder: Path) -> Contest:
    """What has to be compared with what; writes nothing.

    Args:
        data: the parameter; auto is the test part of what ``version`` was trained on.
        folder: where models may lie that have to be evaluated.

    Raises:
        UserError: if an evaluation is lacking and the data for it is not at hand.
    """
    holder, before = champions.find_champions(version.name)
    defender = holder or (before or [""])[-1]
    if defender in ("", version.version):
        return Contest(version, holder, again=bool(defender))
    champion = registry.find(f"models:/{version.name}/{defender}")
    if data == "auto":
        own = evaluations.find_for_model(
            owner, version, "params.data = 'auto'", f"tags.{ROWS_DIGEST} != ''", evaluations.IS_WHOLE
        )
        if own and find_evaluation(owner, champion, own.data.tags[ROWS_DIGEST]):
            return Contest(version, holder, champion, rows_digest=own.data.tags[ROWS_DIGEST])
    models = {stored.version: loader.download(owner, stored, folder / stored.version) for stored in (version, champion)}
    subject = evaluation.find_subject(owner, version, models[version.version].metadata, data)
    return Contest(version, holder, champion, False, subject.part.rows_digest, subject, models)


def find_evaluation(owner: Experiment, stored: StoredModel, rows_digest: str) -> MlflowRun | None:
    """Find the newest evaluation of that very model on the rows, if it tells what the model had seen of them."""
    return evaluations.find_for_model(owner, stored, f"tags.{ROWS_DIGEST} = '{rows_digest}'", evaluations.IS_WHOLE)
