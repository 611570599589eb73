"""A promotion: both versions' predictions of the same reviews, the gate, the move, and what is said of it where."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imdb_conv1d import champions, evaluation, evaluations, gate, registry
from imdb_conv1d.config import PromoteParameters
from imdb_conv1d.console import RunFailed, Signals, counted, say
from imdb_conv1d.registry import Fetched, Stored
from imdb_conv1d.tracking import Run
from imdb_conv1d.trainings import Recorded

LEAK = "test_texts_in_training"
Outcome = Literal["promoted", "kept", "unchanged", "overtaken"]


@dataclass(frozen=True, eq=False)
class Contest:
    """A version, the champion, and the reviews to compare them on.

    ``champion`` is None if there is none; ``holder`` is the version that has the alias, empty where none has it, as
    when the champion was deleted: then the last one that still exists is the champion. ``rows_digest`` names the
    reviews; it is empty where nothing is to be compared. ``subject`` and the ``models``, by version, are at hand where
    an evaluation is lacking.
    """

    version: Stored
    champion: Stored | None
    holder: str
    rows_digest: str = ""
    subject: evaluation.Subject | None = None
    models: Mapping[str, Fetched] | None = None


def contest(version: Stored, data: str, folder: Path) -> Contest:
    """What has to be compared with what; writes nothing.

    Args:
        data: the parameter; auto is the test part of what ``version`` was trained on.
        folder: where models may lie that have to be evaluated.

    Raises:
        UserError: if an evaluation is lacking and the data for it is not at hand.
    """
    holder, last = champions.present(version.name), champions.last(version.name)
    if last in ("", version.version):
        return Contest(version, version if last else None, holder)
    champion = registry.find(f"models:/{version.name}/{last}")
    if data == "auto":
        own = evaluations.of_version(version.name, version.version, "params.data = 'auto'", "tags.rows_digest != ''")
        if own and _evaluation(champion, own.data.tags["rows_digest"]):
            return Contest(version, champion, holder, own.data.tags["rows_digest"])
    models = {stored.version: registry.fetch(stored, folder / stored.version) for stored in (version, champion)}
    subject = evaluation.subject(version, models[version.version].record, data)
    return Contest(version, champion, holder, subject.rows_digest, subject, models)


def settle(run: Run, found: Contest, parameters: PromoteParameters, signals: Signals) -> tuple[Outcome, str]:
    """Let the gate decide, move the alias, and queue the figures; returns the outcome and a sentence on it.

    Overtaken means that nothing is moved, since another version has become the champion meanwhile.
    """
    version, champion = found.version, found.champion
    if champion is version and found.holder:
        return "unchanged", f"Unchanged: {version.title} is the {champions.CHAMPION} already."
    sentence, promoted = f"{version.title} is the first {champions.CHAMPION}", True
    if champion is version:
        sentence = f"{version.title} is the {champions.CHAMPION} again, which no version was"
    elif champion:
        promoted, why = _judged(run, found, champion, parameters, signals)
        verb = "replaces" if promoted else "does not replace"
        sentence = f"{version.title} {verb} version {champion.version} as {champions.CHAMPION}: {why}"
    if not promoted:
        return "kept", f"Kept: {sentence}."
    run.settle()  # what decided is stored before anything moves
    signals.hold_to_the_end()
    moved = champions.promote(version.name, version.version, found.holder)
    return ("promoted", f"Promoted: {sentence}.") if moved else ("overtaken", "")


def _judged(
    run: Run, found: Contest, champion: Stored, parameters: PromoteParameters, signals: Signals
) -> tuple[bool, str]:
    """Whether the version passes, and why."""
    recorded = [_evaluated(found, stored, parameters.log_texts, signals) for stored in (found.version, champion)]
    for name, one in zip(("evaluation_run_id", "champion_evaluation_run_id"), recorded, strict=True):
        run.tags({name: one.info.run_id})
    ours, theirs = (one.data.metrics.get(LEAK) for one in recorded)
    if ours is None:
        return (
            False,
            "whether it was trained on some of these test texts is not known, so they cannot tell how good it is",
        )
    if ours:
        return False, f"it was trained on {ours:,.0f} of these test texts, so they cannot tell how good it is"
    first, second = (evaluations.predictions(one, run.folder) for one in recorded)
    if not evaluations.same_rows(first, second):
        raise RunFailed(
            f"the evaluations {' and '.join(one.info.run_id for one in recorded)} are not of the same reviews"
        )
    run.tags({"rows_digest": found.rows_digest})
    decided = evaluations.of_verb("promote", f"tags.rows_digest = '{found.rows_digest}'", "tags.decision != ''")
    uses = len({one.info.run_id for one in decided} | {run.id})
    decision = gate.decide(
        first["label"], first["probability"], second["probability"], parameters.margin, parameters.confidence
    )
    figures = {
        "log_loss_difference": decision.difference,
        "log_loss_upper": decision.upper,
        "test_reviews": float(decision.rows),
        "decisions_on_these_reviews": float(uses),
    }
    run.metrics(figures, round(time.time() * 1000), step=0)
    leak = f"; the {champions.CHAMPION} was trained on {theirs:,.0f} of them, to its advantage" if theirs else ""
    if theirs is None:
        leak = f"; whether the {champions.CHAMPION} was trained on some of them is not known"
    used = f"; these reviews have decided {counted(uses, 'promotion')} so far"
    return decision.promoted, f"{decision.sentence}{leak}{used}"


def _evaluated(found: Contest, stored: Stored, log_texts: bool, signals: Signals) -> Recorded:
    """A version's newest evaluation on the reviews; it is made if there is none."""
    there = _evaluation(stored, found.rows_digest)
    if there is None and found.subject and found.models:
        say(f"evaluating {stored.title}")
        model = found.models[stored.version]
        subject = found.subject.for_another(model.record)
        told = {"model": stored.uri, "data": "auto" if subject.own_test_part else subject.source.name}
        evaluation.run(stored, model, subject, told | {"log_texts": str(log_texts).lower()}, log_texts, signals)
        there = _evaluation(stored, found.rows_digest)
    if there is None:
        raise RunFailed(f"the evaluation of {stored.title} on these reviews is gone")
    return there


def _evaluation(stored: Stored, rows_digest: str) -> Recorded | None:
    return evaluations.of_version(stored.name, stored.version, f"tags.rows_digest = '{rows_digest}'")


def tell(run: Run, found: Contest, outcome: Outcome, sentence: str) -> None:
    """Queue the outcome at the run and at both versions."""
    version, champion = found.version, found.champion
    run.tags({"decision": outcome, "model_name": version.name, "model_version": version.version})
    run.describe(sentence)
    if outcome == "unchanged":
        return
    against = champion.version if champion else "none"
    run.tags({"champion_version": against})
    said = {"promotion": outcome, "promotion_against": against, "promotion_run_id": run.id}
    run.version(version.name, version.version, said)
    run.version_line(version.name, version.version, "Promotion:", sentence)
    if champion:
        told = "replaced" if outcome == "promoted" else "kept"
        said = {"challenge": told, "challenge_by": version.version, "challenge_run_id": run.id}
        run.version(champion.name, champion.version, said)
        run.version_line(champion.name, champion.version, "Challenge:", sentence)
